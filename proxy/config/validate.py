"""What the types cannot say: references that lead nowhere, files that are not what they should be, rules that clash.

Offline: reads the files that are named and nothing else. Every check yields all it finds.
"""

import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from proxy.config.load import Problem
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import (
    Admin,
    Bounds,
    CertificateMatch,
    Client,
    ClientCertificates,
    Config,
    Credential,
    KeyVaultRef,
    SecretRef,
)
from proxy.identity.certificate import canonical_name
from proxy.metering.tokenizer import ENCODINGS
from proxy.policy.operations import OPERATIONS
from proxy.supervisor.sockets import parse_address

_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@ -]{0,127}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_NEVER_FORWARDED = frozenset(
    ("authorization", "api-key", "ocp-apim-subscription-key", "host", "content-length", "transfer-encoding")
    + ("connection", "cookie", "proxy-authorization", "expect", "upgrade", "te", "trailer", "accept-encoding")
)


def problems(config: Config) -> Iterator[Problem]:
    """Everything that is wrong with a configuration whose types are right."""
    yield from _listen(config)
    yield from _bounds(config.listen.bounds)
    yield from _client_certificates(config.listen.client_certificates)
    yield from _admin(config.admin)
    yield from _credentials(config.credentials)
    yield from _backends(config)
    yield from _models(config)
    yield from _clients(config)
    for name in config.forward.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _NEVER_FORWARDED:
            yield Problem("forward.headers", f"'{name}'", "name headers that are neither credentials nor framing")


def _listen(config: Config) -> Iterator[Problem]:
    listen = config.listen
    addresses = (listen.address,) if isinstance(listen.address, str) else listen.address
    for address in (*addresses,):
        yield from _address("listen.address", address)
    if not addresses:
        yield Problem("listen.address", "empty", 'give an address such as "0.0.0.0:8443"')
    yield from _address("listen.health.address", listen.health.address)
    if listen.workers < 0 or listen.workers > 1024:
        yield Problem("listen.workers", str(listen.workers), "give a number of processes, or 0 for one a core")
    yield from _pair("listen", listen.certificate, listen.private_key)
    for index, pair in enumerate(listen.certificates):
        yield from _pair(f"listen.certificates[{index}]", pair.certificate, pair.private_key)


def _address(key: str, address: str) -> Iterator[Problem]:
    try:
        parse_address(address)
    except ValueError as error:
        yield Problem(key, str(error), 'write it as "host:port" or "[::]:port"')


def _bounds(bounds: Bounds) -> Iterator[Problem]:
    for name in bounds.__struct_fields__:
        if getattr(bounds, name) <= 0:
            yield Problem(f"listen.bounds.{name}", "not more than nought", "every bound is positive")
    if bounds.json_body > bounds.body:
        yield Problem("listen.bounds.json_body", "larger than body", "give at most listen.bounds.body")


def _pair(key: str, certificate: str | KeyVaultRef, private_key: str | None) -> Iterator[Problem]:
    if isinstance(certificate, KeyVaultRef):
        return
    chain = yield from _certificates(f"{key}.certificate", certificate)
    if private_key is None:
        yield Problem(f"{key}.private_key", "missing", "name the PEM file with the certificate's key")
        return
    try:
        secret = load_pem_private_key(Path(private_key).read_bytes(), password=None)
    except OSError as error:
        yield Problem(f"{key}.private_key", f"{private_key} cannot be read ({error.strerror})", "name a readable file")
        return
    except (ValueError, TypeError):
        yield Problem(f"{key}.private_key", f"{private_key} holds no private key", "give PEM without a passphrase")
        return
    if chain and _public(secret.public_key()) != _public(chain[0].public_key()):
        yield Problem(f"{key}.private_key", f"{private_key} is not the certificate's key", "give the pair that match")


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _certificates(key: str, path: str) -> Generator[Problem, None, list[x509.Certificate]]:
    """Yields problems, returns the certificates in the file."""
    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        yield Problem(key, f"{path} cannot be read ({error.strerror})", "name a readable file")
        return []
    except ValueError:
        yield Problem(key, f"{path} holds no certificate", "give PEM")
        return []
    now = datetime.now(UTC)
    for certificate in found:
        if certificate.not_valid_after_utc < now:
            yield Problem(key, f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it")
    return found


def _client_certificates(settings: ClientCertificates) -> Iterator[Problem]:
    key = "listen.client_certificates"
    if settings.mode != "off" and not settings.roots:
        yield Problem(
            f"{key}.roots", "missing", f'mode "{settings.mode}" needs the roots that clients are issued under'
        )
    for path in settings.roots:
        for certificate in (yield from _certificates(f"{key}.roots", path)):
            if not _is_authority(certificate) or certificate.issuer != certificate.subject:
                yield Problem(
                    f"{key}.roots",
                    f"{path} is not a self-signed authority",
                    "only roots end a path: list the root here",
                )
    for path in settings.intermediates:
        for certificate in (yield from _certificates(f"{key}.intermediates", path)):
            if certificate.issuer == certificate.subject:
                yield Problem(f"{key}.intermediates", f"{path} is self-signed", "list it under roots, if it is one")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _admin(admin: Admin) -> Iterator[Problem]:
    yield from _address("admin.address", admin.address)
    if admin.token.env is not None or admin.token.file is None:
        yield from _secret("admin.token", admin.token)
    if not _loopback(admin.address) and not (admin.certificate and admin.private_key and admin.roots):
        yield Problem(
            "admin.address", f"{admin.address} is not loopback", "set admin.certificate, private_key and roots as well"
        )
    if admin.certificate is not None:
        yield from _pair("admin", admin.certificate, admin.private_key)
    for path in admin.roots:
        yield from _certificates("admin.roots", path)


def _loopback(address: str) -> bool:
    try:
        host, _ = parse_address(address)
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _secret(key: str, ref: SecretRef) -> Iterator[Problem]:
    try:
        resolve(ref)
    except SecretMissing as error:
        yield Problem(key, str(error), 'give { env = "NAME" } or { file = "path" } with the secret there')


def _credentials(credentials: dict[str, Credential]) -> Iterator[Problem]:
    for name, credential in credentials.items():
        key = f"credentials.{name}"
        if credential.kind == "api_key":
            if credential.key is None:
                yield Problem(f"{key}.key", "missing", 'give { env = "NAME" } or { file = "path" }')
            else:
                yield from _secret(f"{key}.key", credential.key)
        if credential.kind == "client_secret":
            for field in ("tenant_id", "client_id", "secret"):
                if getattr(credential, field) is None:
                    yield Problem(f"{key}.{field}", "missing", "a client secret needs it")
            if credential.secret is not None:
                yield from _secret(f"{key}.secret", credential.secret)
        if credential.ca is not None:
            yield from _certificates(f"{key}.ca", credential.ca)


def _backends(config: Config) -> Iterator[Problem]:
    yield from _unique("backends", (backend.name for backend in config.backends))
    for index, backend in enumerate(config.backends):
        key = f"backends[{index}]"
        yield from _named(f"{key}.name", backend.name)
        if not _NAME.fullmatch(backend.region):
            yield Problem(f"{key}.region", f"'{backend.region}'", "use letters, digits, '.', '_' and '-'")
        try:
            url = urlsplit(backend.url)
            whole = url.scheme == "https" and url.hostname and url.path in ("", "/") and url.port != 0
        except ValueError:
            whole = False
        if not whole or url.query or url.fragment or url.username or url.password or not backend.url.isascii():
            yield Problem(f"{key}.url", f"'{backend.url}'", 'give "https://" and a host, and nothing after it')
        if backend.credential not in config.credentials:
            yield Problem(f"{key}.credential", f"'{backend.credential}' is not defined", _one_of(config.credentials))
        if backend.ca is not None:
            yield from _certificates(f"{key}.ca", backend.ca)


def _models(config: Config) -> Iterator[Problem]:
    backends = {backend.name for backend in config.backends}
    yield from _unique("models", (model.name for model in config.models))
    for index, model in enumerate(config.models):
        key = f"models[{index}]"
        yield from _named(f"{key}.name", model.name)
        if not model.deployments:
            yield Problem(f"{key}.deployments", "empty", "name at least one")
        if model.tokenizer is not None and model.tokenizer not in ENCODINGS:
            yield Problem(f"{key}.tokenizer", f"'{model.tokenizer}'", _one_of(ENCODINGS))
        yield from _unique(f"{key}.deployments", (f"{d.backend}/{d.deployment}" for d in model.deployments))
        for number, deployment in enumerate(model.deployments):
            if deployment.backend not in backends:
                yield Problem(f"{key}.deployments[{number}].backend", f"'{deployment.backend}'", _one_of(backends))
            if deployment.weight < 1:
                yield Problem(f"{key}.deployments[{number}].weight", str(deployment.weight), "give 1 or more")
            if not deployment.deployment:
                yield Problem(f"{key}.deployments[{number}].deployment", "empty", "name the deployment in Azure")


def _clients(config: Config) -> Iterator[Problem]:
    yield from _unique("clients", (client.name for client in config.clients))
    for index, client in enumerate(config.clients):
        key = f"clients[{index}]"
        yield from _named(f"{key}.name", client.name)
        yield from _proofs(key, client, config)
        yield from _grants(key, client, config)
        for field in ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrent_requests"):
            value = getattr(client.limits, field)
            if value is not None and value < 1:
                yield Problem(f"{key}.limits.{field}", str(value), "give 1 or more, or leave it out for no limit")
        known = {backend.region for backend in config.backends}
        for region in client.regions:
            if region not in known:
                yield Problem(f"{key}.regions", f"no backend is in '{region}'", _one_of(known))
    yield from _ambiguous(config.clients)


def _proofs(key: str, client: Client, config: Config) -> Iterator[Problem]:
    if client.certificate is None and not client.key_hashes and client.token is None and not client.keys:
        yield Problem(key, f"client '{client.name}' has no credential", "give it certificate or key_hashes")
    for entry in client.key_hashes:
        if not _HASH.fullmatch(entry):
            yield Problem(
                f"{key}.key_hashes", "not a hash", 'give "sha256:" and 64 hex digits, from penstock keys hash'
            )
    match = client.certificate
    if match is None:
        return
    if config.listen.client_certificates.mode == "off":
        yield Problem(f"{key}.certificate", "set", 'listen.client_certificates.mode is "off": nobody can present one')
    if not any(getattr(match, field) for field in match.__struct_fields__):
        yield Problem(f"{key}.certificate", "empty", "give at least one field to match")
    for entry in match.thumbprints:
        if not _HASH.fullmatch(entry):
            yield Problem(f"{key}.certificate.thumbprints", "not a thumbprint", 'give "sha256:" and 64 hex digits')
    for field in ("issuer", "subject"):
        name = getattr(match, field)
        if name is not None:
            try:
                canonical_name(name)
            except ValueError:
                yield Problem(f"{key}.certificate.{field}", f"'{name}'", 'write it as RFC 4514: "CN=…,O=…"')


def _grants(key: str, client: Client, config: Config) -> Iterator[Problem]:
    names = [model.name for model in config.models]
    for index, grant in enumerate(client.grants):
        at = f"{key}.grants[{index}]"
        for operation in grant.operations:
            if operation != "*" and operation not in OPERATIONS:
                yield Problem(f"{at}.operations", f"'{operation}'", _one_of([*OPERATIONS, "*"]))
        for pattern in grant.models:
            if not any(fnmatchcase(name, pattern) for name in names):
                yield Problem(f"{at}.models", f"no model matches '{pattern}'", _one_of(names))
        for field in ("models", "operations"):
            if not getattr(grant, field):
                yield Problem(f"{at}.{field}", "empty", "a grant without it allows nothing")


def _ambiguous(clients: tuple[Client, ...]) -> Iterator[Problem]:
    """A credential that could be two clients' is neither's: found here, before it is met."""
    for (one, first), (other, second) in combinations(enumerate(clients), 2):
        if {entry.lower() for entry in first.key_hashes} & {entry.lower() for entry in second.key_hashes}:
            yield Problem(f"clients[{other}].key_hashes", f"shared with clients[{one}]", "give each client its own key")
        if first.certificate and second.certificate and _overlap(first.certificate, second.certificate):
            yield Problem(
                f"clients[{other}].certificate",
                f"a certificate could match clients[{one}] as well",
                "make the two exclusive: a thumbprint, a SAN or a subject each",
            )


def _overlap(one: CertificateMatch, other: CertificateMatch) -> bool:
    """Whether all that one demands, the other's certificates can meet, by what the other demands of the same kind."""
    return _implied(one, other) or _implied(other, one)


def _implied(wide: CertificateMatch, narrow: CertificateMatch) -> bool:
    demanded = [field for field in wide.__struct_fields__ if getattr(wide, field)]
    return bool(demanded) and all(_values(wide, field) & _values(narrow, field) for field in demanded)


def _values(match: CertificateMatch, field: str) -> set[str]:
    value = getattr(match, field)
    return {entry.lower() for entry in ((value,) if isinstance(value, str) else value or ())}


def _named(key: str, name: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        yield Problem(key, f"{name[:40]!r}", "use letters, digits and . _ : @ - (at most 128)")


def _unique(key: str, names: Iterable[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(key, f"'{name}' is there {count} times", "names are unique")


def _one_of(names: Iterable[str]) -> str:
    known = sorted(names)
    return f"one of: {', '.join(known)}" if known else "define it first"
