"""What the types cannot say: references that lead nowhere, files that are not what they should be, rules that clash.

Offline: reads the files and variables that are named, and nothing else. Every check yields all it finds.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address

from proxy.config import (
    backends,
    credentials,
    grants,
    issuers,
    models,
    outbound,
    pem,
    revocation,
    rotation,
    routes,
    routing,
    structs,
    upstream,
)
from proxy.config.address import HOST, is_network
from proxy.config.names import named, secret, unique
from proxy.config.overlap import clashes
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Admin, Client, ClientCertificates, Config
from proxy.config.walk import walk
from proxy.identity.certificate import canonical_name
from proxy.identity.fronting import HEADERS
from proxy.supervisor.sockets import parse_address

_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")
_SERIAL = re.compile(r"[0-9a-fA-F]{1,2}(:?[0-9a-fA-F]{1,2}){0,31}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_NEVER_FORWARDED = frozenset(
    ("authorization", "api-key", "ocp-apim-subscription-key", "host", "content-length", "transfer-encoding")
    + ("connection", "keep-alive", "proxy-connection", "cookie", "proxy-authorization", "expect", "upgrade", "te")
    + ("trailer", "accept-encoding", "content-encoding")
    + tuple(HEADERS)
)

_FROM_NOUGHT = frozenset(
    (
        (structs.Listen, "workers"),
        (structs.Bounds, "failure_delay"),
        (structs.Audit, "keep"),
        (structs.Deployment, "priority"),
        (structs.Deployment, "canary"),
        (structs.Routing, "slow_start"),
        (structs.Issuer, "leeway"),
        (structs.RetryBudget, "ratio"),
        (structs.RetryBudget, "at_least"),
        (structs.Queueing, "wait"),
        (structs.HealthProbes, "every"),
        (structs.Upstream, "warm"),
    )
)
"""The numbers that may be 0; every other one is more."""

_MOST = {(structs.Listen, "workers"): 1024, (structs.Deployment, "weight"): 1_000_000, (structs.Upstream, "warm"): 64}
_MOST_OF_ALL = 1 << 53

_APART = {
    "key_hashes": "give each a key of its own",
    "token": "give each a client of its own",
    "certificate": "give each an issuer, a name or a thumbprint that the other has not",
}
"""How two clients are told apart, by the credential they share."""


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    """Everything that is wrong at `now` with a configuration whose types are right."""
    yield from _numbers(config)
    yield from _listen(config, now)
    yield from _client_certificates(config.listen.client_certificates, now)
    yield from _admin(config.admin, now)
    yield from _made_at_first_start(config)
    yield from outbound.problems(config.audit)
    yield from credentials.problems(config, now)
    yield from backends.problems(config, now)
    yield from upstream.problems(config)
    yield from models.problems(config)
    yield from routing.problems(config.routing)
    yield from unique("issuers", (issuer.name for issuer in config.issuers))
    for index, issuer in enumerate(config.issuers):
        yield from named(f"issuers[{index}].name", issuer.name)
    yield from issuers.problems(config, now)
    yield from _clients(config)
    yield from _forward(config)
    yield from rotation.problems(config, now)


def _numbers(config: Config) -> Iterator[Problem]:
    for key, table, name, value in walk(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least = 0 if (type(table), name) in _FROM_NOUGHT else None
        most = _MOST.get((type(table), name), _MOST_OF_ALL)
        if value < 0 or (value == 0 and least is None):
            yield Problem(key, f"{value:g}", "give 0 or more" if least == 0 else "give more than 0")
        elif value > most:
            yield Problem(key, "too large a number", f"give at most {most}")


# Addresses and files.


def _listen(config: Config, now: datetime) -> Iterator[Problem]:
    listen = config.listen
    addresses = (listen.address,) if isinstance(listen.address, str) else listen.address
    if not addresses:
        yield Problem("listen.address", "empty", 'give an address such as "0.0.0.0:8443"')
    placed = [("listen.address", address) for address in addresses]
    placed += [("listen.health.address", listen.health.address), ("admin.address", config.admin.address)]
    for key, address in placed:
        yield from _address(key, address)
    taken = Counter(address for _, address in placed if not address.endswith(":0"))
    yield from (
        Problem(
            "listen.address", f"{quoted(address)} is given {count} times", "listen, health and admin need their own"
        )
        for address, count in taken.items()
        if count > 1
    )
    if listen.bounds.json_body > listen.bounds.body:
        yield Problem("listen.bounds.json_body", "larger than listen.bounds.body", "give at most as much")
    for index, network in enumerate(listen.trusted_proxies):
        if not is_network(network):
            yield Problem(f"listen.trusted_proxies[{index}]", quoted(network), 'give a network such as "10.0.0.0/8"')
    if listen.trusted_proxies and listen.client_certificates.mode == "off":
        yield Problem(
            "listen.trusted_proxies",
            'set, while listen.client_certificates.mode is "off"',
            'set that to "optional" or "required": a proxy proves itself by its own certificate',
        )
    if isinstance(listen.certificate, str):
        yield from pem.pair("listen", listen.certificate, listen.private_key, now)
    for index, pair in enumerate(listen.certificates):
        if isinstance(pair.certificate, str):
            yield from pem.pair(f"listen.certificates[{index}]", pair.certificate, pair.private_key, now)


def _address(key: str, address: str) -> Iterator[Problem]:
    try:
        host, _ = parse_address(address)
        if not HOST.fullmatch(host):
            ip_address(host)
    except ValueError:
        yield Problem(key, quoted(address), 'give an address and a port: "127.0.0.1:8443", "[::]:8443"')


def _client_certificates(settings: ClientCertificates, now: datetime) -> Iterator[Problem]:
    key = "listen.client_certificates"
    if settings.mode != "off" and not settings.roots:
        yield Problem(f"{key}.roots", "missing", f'mode "{settings.mode}" needs the roots clients are issued under')
    if settings.mode == "off":
        for name in ("roots", "intermediates", "crls"):
            if getattr(settings, name):
                yield Problem(f"{key}.{name}", 'set, while mode is "off"', 'set mode to "optional" or "required"')
    for path in settings.roots:
        yield from pem.roots(f"{key}.roots", path, now)
    for path in settings.intermediates:
        yield from pem.intermediates(f"{key}.intermediates", path, now)
    yield from revocation.problems(key, settings, now)


def _admin(admin: Admin, now: datetime) -> Iterator[Problem]:
    given = [name for name in ("certificate", "private_key", "roots") if getattr(admin, name)]
    missing = [name for name in ("certificate", "private_key", "roots") if name not in given]
    if missing and (given or not _loopback(admin.address)):
        why = f"{given[0]} is set" if given else f"{admin.address} is not loopback"
        for name in missing:
            yield Problem(f"admin.{name}", "missing", f"{why}: give certificate, private_key and roots")
    if admin.certificate is not None and admin.private_key is not None:
        yield from pem.pair("admin", admin.certificate, admin.private_key, now)
    for path in admin.roots:
        yield from pem.roots("admin.roots", path, now)


def _loopback(address: str) -> bool:
    try:
        host, _ = parse_address(address)
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# Secrets.


def _made_at_first_start(config: Config) -> Iterator[Problem]:
    """Secrets whose files need not be there yet."""
    made = (("admin.token", config.admin.token), ("state.pepper", config.state.pepper), ("audit.key", config.audit.key))
    for key, ref in made:
        if ref.file is None or ref.env is not None:
            yield from secret(key, ref)


# Clients.


def _clients(config: Config) -> Iterator[Problem]:
    clients = config.clients
    yield from unique("clients", (client.name for client in clients))
    for index, client in enumerate(clients):
        key = f"clients[{index}]"
        yield from named(f"{key}.name", client.name)
        if client.tenant is not None:
            yield from named(f"{key}.tenant", client.tenant)
        yield from _proofs(key, client, config)
        yield from grants.problems(key, client, config)
        yield from routes.problems(key, client, config)
    for first, second, field in clashes(clients):
        yield Problem(
            f"clients[{second}].{field}",
            f"{quoted(clients[second].name)} and {quoted(clients[first].name)} (clients[{first}]) "
            "could be named by one credential",
            _APART[field],
        )


def _proofs(key: str, client: Client, config: Config) -> Iterator[Problem]:
    if client.certificate is None and not client.key_hashes and client.token is None and not client.keys:
        yield Problem(key, f"{quoted(client.name)} has no credential", "give it certificate, token, keys or key_hashes")
    digests = [entry.lower() for entry in client.key_hashes]
    for index, entry in enumerate(client.key_hashes):
        if not _HASH.fullmatch(entry):
            yield Problem(
                f"{key}.key_hashes[{index}]", "no hash", 'give "sha256:" and 64 hex digits: penstock keys hash'
            )
        elif digests.index(entry.lower()) < index:
            yield Problem(f"{key}.key_hashes[{index}]", "given twice", "leave one out")
    match = client.certificate
    if match is None:
        return
    if config.listen.client_certificates.mode == "off":
        yield Problem(
            f"{key}.certificate",
            'set, while listen.client_certificates.mode is "off"',
            'set that to "optional" or "required": nobody can show a certificate',
        )
    if not any(getattr(match, field) for field in match.__struct_fields__):
        yield Problem(f"{key}.certificate", "empty", one_of(match.__struct_fields__))
    for index, entry in enumerate(match.thumbprints):
        if not _HASH.fullmatch(entry):
            yield Problem(f"{key}.certificate.thumbprints[{index}]", quoted(entry), 'give "sha256:" and 64 hex digits')
    for index, entry in enumerate(match.serials):
        if not _SERIAL.fullmatch(entry):
            yield Problem(
                f"{key}.certificate.serials[{index}]", quoted(entry), "give hex digits, such as 0a1b or 0a:1b"
            )
    if match.serials and match.issuer is None:
        yield Problem(f"{key}.certificate.issuer", "missing", "a serial is one issuer's own: name the issuer")
    for field in ("issuer", "subject"):
        name = getattr(match, field)
        if name is not None and not _distinguished(name):
            yield Problem(
                f"{key}.certificate.{field}", quoted(name), 'give it in RFC 4514 form: "CN=Devices CA,O=Contoso"'
            )


def _distinguished(name: str) -> bool:
    try:
        return bool(canonical_name(name))
    except ValueError:
        return False


def _forward(config: Config) -> Iterator[Problem]:
    for name in config.forward.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _NEVER_FORWARDED:
            yield Problem("forward.headers", quoted(name), "name headers that are neither credentials nor framing")
    for name in config.forward.query:
        if not _PARAMETER.fullmatch(name):
            yield Problem("forward.query", quoted(name), "name parameters by letters, digits and . _ ~ -")
