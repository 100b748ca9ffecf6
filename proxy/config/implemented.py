"""What this build does not do yet. A restriction is never parsed and ignored: a key of these, set to anything but its
neutral value, keeps the gateway from starting.
"""

from collections.abc import Iterator

from proxy.config.load import Problem
from proxy.config.structs import Client, Config, KeyVaultRef

_REMEDY = "this build does not implement it yet: leave it out, or set its neutral value"


def unimplemented(config: Config) -> Iterator[Problem]:
    """Every key that is set and would have no effect."""
    for key, found in _set(config):
        yield Problem(key, found, _REMEDY)


def _set(config: Config) -> Iterator[tuple[str, str]]:
    listen, certificates = config.listen, config.listen.client_certificates
    if config.issuers:
        yield "issuers", "set"
    if listen.trusted_proxies:
        yield "listen.trusted_proxies", "set"
    if isinstance(listen.certificate, KeyVaultRef):
        yield "listen.certificate.key_vault", "set"
    for index, pair in enumerate(listen.certificates):
        if isinstance(pair.certificate, KeyVaultRef):
            yield f"listen.certificates[{index}].certificate.key_vault", "set"
    if certificates.crls:
        yield "listen.client_certificates.crls", "set"
    if certificates.ocsp != "off":
        yield "listen.client_certificates.ocsp", f'"{certificates.ocsp}"'
    if certificates.revocation != "off":
        yield "listen.client_certificates.revocation", f'"{certificates.revocation}"'
    if certificates.resumption:
        yield "listen.client_certificates.resumption", "true"
    if config.state.redis is not None:
        yield "state.redis", "set"
    if config.audit.required:
        yield "audit.required", "true"
    if config.audit.user == "hash":
        yield "audit.user", '"hash"'
    if config.audit.webhook is not None:
        yield "audit.webhook", "set"
    for name, credential in config.credentials.items():
        if credential.kind not in ("managed_identity", "client_secret", "api_key"):
            yield f"credentials.{name}.kind", f'"{credential.kind}"'
    for index, client in enumerate(config.clients):
        yield from _of_client(f"clients[{index}]", client)


def _of_client(key: str, client: Client) -> Iterator[tuple[str, str]]:
    if client.token is not None:
        yield f"{key}.token", "set"
    if client.keys:
        yield f"{key}.keys", "true"
    if client.require != "any":
        yield f"{key}.require", f'"{client.require}"'
    if client.on_disconnect != "cancel":
        yield f"{key}.on_disconnect", f'"{client.on_disconnect}"'
    if client.limits.tokens_per_day is not None:
        yield f"{key}.limits.tokens_per_day", "set"
    if client.limits.priority != "interactive":
        yield f"{key}.limits.priority", f'"{client.limits.priority}"'
    for index, grant in enumerate(client.grants):
        for name in ("scopes", "roles", "groups", "users"):
            if getattr(grant, name):
                yield f"{key}.grants[{index}].{name}", "set"
        for name in ("max_tokens", "streaming"):
            if getattr(grant, name) is not None:
                yield f"{key}.grants[{index}].{name}", "set"
