"""What is wrong with how the gateway is to prove itself to backends: what each kind needs and makes use of."""

from collections.abc import Iterator
from datetime import datetime

from proxy.config import pem
from proxy.config.address import https_fault
from proxy.config.names import named, secret
from proxy.config.problem import Problem, within
from proxy.config.structs import Config, Credential, Table

_USED = {
    "managed_identity": frozenset(("client_id", "scope")),
    "client_secret": frozenset(("client_id", "tenant_id", "secret", "authority", "scope", "ca")),
    "api_key": frozenset(("key",)),
}
"""What a kind of credential makes use of."""

_NEEDED = {"client_secret": ("tenant_id", "client_id", "secret"), "api_key": ("key",)}


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    for name, credential in config.credentials.items():
        yield from _credential(within("credentials", name), name, credential, now)


def _credential(key: str, name: str, credential: Credential, now: datetime) -> Iterator[Problem]:
    yield from named(key, name)
    used = _USED.get(credential.kind)
    if used is None:
        return  # one that this build does not implement
    for field in _NEEDED.get(credential.kind, ()):
        if getattr(credential, field) is None:
            yield Problem(f"{key}.{field}", "missing", f'kind "{credential.kind}" needs it')
    for field in credential.__struct_fields__:
        if field not in used and field != "kind" and getattr(credential, field) != _default(Credential, field):
            yield Problem(f"{key}.{field}", "set", f'kind "{credential.kind}" makes no use of it: leave it out')
    for field in ("key", "secret"):
        ref = getattr(credential, field)
        if ref is not None and field in used:
            yield from secret(f"{key}.{field}", ref)
    if credential.authority is not None and "://" in credential.authority:
        fault = https_fault(credential.authority)
        if fault is not None:
            yield Problem(f"{key}.authority", fault, 'give "https://" and a host')
    if credential.ca is not None:
        yield from pem.trust(f"{key}.ca", credential.ca, now)


def _default(kind: type[Table], field: str) -> object:
    defaults = kind.__struct_defaults__
    return dict(zip(kind.__struct_fields__[-len(defaults) :], defaults, strict=True)).get(field)
