"""Every certificate that can run out on the gateway: what the configuration names, and what clients have shown.

The configuration's are read when it is loaded. A client's is known once it was shown in a handshake that succeeded and
the configuration says whose it is. Times are Unix times, and come as arguments.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.config.structs import Config, KeyVaultRef
from proxy.identity.certificate import thumbprint
from proxy.identity.crl import Crl
from proxy.messages import ServerCertificate

_BUNDLE = 16
"""Certificates in one file past which it is a public trust store, whose keeper replaces what runs out in it."""
_SHOWN_AT_MOST = 1_000
_DAY = 86_400.0
_SUBJECT = 200

Use = Literal["server", "client root", "intermediate", "admin", "trust", "shown", "client", "CRL"]


class Tracked(NamedTuple):
    """One certificate and its end. `name`: where the configuration has it, or whose it is.

    A CRL is one too: it ends when its next update is due, `subject` is its issuer, and `begins` counts.
    """

    name: str
    use: Use
    subject: str
    fingerprint: str
    ends: float
    client: str | None = None
    begins: float = 0.0


def configured(config: Config, held: Mapping[KeyVaultRef, ServerCertificate]) -> list[Tracked]:
    """The certificates the configuration names, each once, at the first place that names it.

    `held` has what was fetched. A file that cannot be read is left out: who loads it says so.
    """
    found: dict[str, Tracked] = {}
    for name, use, source in _places(config):
        try:
            pem = held[source].chain if isinstance(source, KeyVaultRef) else Path(source).read_bytes()
            members = x509.load_pem_x509_certificates(pem)
        except (KeyError, OSError, ValueError):
            continue
        if len(members) > _BUNDLE:
            continue
        for number, member in enumerate(members, 1):
            tracked = _tracked(name if number == 1 else f"{name} #{number}", use, member, None)
            found.setdefault(tracked.fingerprint, tracked)
    return list(found.values())


def _places(config: Config) -> Iterator[tuple[str, Use, str | KeyVaultRef]]:
    listen, admin = config.listen, config.admin
    yield "listen.certificate", "server", listen.certificate
    for index, pair in enumerate(listen.certificates):
        yield f"listen.certificates[{index}]", "server", pair.certificate
    clients = listen.client_certificates
    for index, path in enumerate(clients.roots):
        yield f"listen.client_certificates.roots[{index}]", "client root", path
    for index, path in enumerate(clients.intermediates):
        yield f"listen.client_certificates.intermediates[{index}]", "intermediate", path
    if admin.certificate is not None:
        yield "admin.certificate", "admin", admin.certificate
    for index, path in enumerate(admin.roots):
        yield f"admin.roots[{index}]", "admin", path
    shown = [(f"backends.{backend.name}.client_certificate", backend.client_certificate) for backend in config.backends]
    shown += [(f"credentials.{name}.certificate", each.certificate) for name, each in config.credentials.items()]
    for name, certificate in shown:
        if certificate is not None:
            yield name, "shown", certificate
    trusts = [(f"backends.{backend.name}.ca", backend.ca) for backend in config.backends]
    trusts += [(f"issuers.{issuer.name}.ca", issuer.ca) for issuer in config.issuers]
    trusts += [(f"credentials.{name}.ca", credential.ca) for name, credential in config.credentials.items()]
    trusts.append(("key_vault.ca", config.key_vault.ca))
    for name, ca in trusts:
        if ca is not None:
            yield name, "trust", ca


def listed(held: Mapping[str, Iterable[Crl]]) -> list[Tracked]:
    """The CRLs that are held, by their sources."""
    return [
        Tracked(
            f"CRL {source}",
            "CRL",
            crl.issuer.rfc4514_string()[:_SUBJECT],
            f"sha256:{crl.fingerprint.hex()}",
            crl.next_update,
            begins=crl.this_update,
        )
        for source, crls in held.items()
        for crl in crls
    ]


class _Shown(NamedTuple):
    tracked: Tracked
    seen: float


class ShownCertificates:
    """The certificates clients have shown: of too many, those that end first."""

    def __init__(self, most: int = _SHOWN_AT_MOST) -> None:
        self._most = most
        self._shown: dict[str, _Shown] = {}

    def __len__(self) -> int:
        return len(self._shown)

    def note(self, client: str, der: bytes, now: float) -> None:
        """A certificate was shown at `now`, and is this client's. Raises `ValueError` for what is no certificate."""
        key = thumbprint(der)
        known = self._shown.get(key)
        if known is not None and known.tracked.client == client:
            self._shown[key] = known._replace(seen=now)
            return
        tracked = _tracked(f"client {client}", "client", x509.load_der_x509_certificate(der), client)
        self._shown[key] = _Shown(tracked, now)
        if len(self._shown) > self._most:
            del self._shown[max(self._shown, key=lambda each: self._shown[each].tracked.ends)]

    def keep(self, clients: Iterable[str]) -> None:
        """Forget those of clients that are not among these."""
        kept = frozenset(clients)
        self._shown = {key: shown for key, shown in self._shown.items() if shown.tracked.client in kept}

    def tracked(self, now: float) -> list[Tracked]:
        """Those in use: neither gone for a day, nor replaced for a day by one of the same subject that ends later."""
        self._shown = {key: shown for key, shown in self._shown.items() if shown.tracked.ends > now - _DAY}
        newest: dict[tuple[str | None, str], _Shown] = {}
        for shown in self._shown.values():
            owner = shown.tracked.client, shown.tracked.subject
            if owner not in newest or newest[owner].tracked.ends < shown.tracked.ends:
                newest[owner] = shown
        return [
            shown.tracked
            for shown in self._shown.values()
            if shown.seen > newest[shown.tracked.client, shown.tracked.subject].seen - _DAY
        ]


def _tracked(name: str, use: Use, certificate: x509.Certificate, client: str | None) -> Tracked:
    return Tracked(
        name,
        use,
        certificate.subject.rfc4514_string()[:_SUBJECT],
        thumbprint(certificate.public_bytes(Encoding.DER)),
        certificate.not_valid_after_utc.timestamp(),
        client,
    )
