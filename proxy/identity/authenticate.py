"""From presented credentials to one principal, or a refusal.

Three rules, in this order (design: one identity): any credential that is presented and invalid is a 401, whatever the
others say; credentials that name different clients are a 401; a valid certificate that matches no client is ignored
when another credential decides, and a 401 when it stands alone. Pure: keys are hashed and looked up, nothing more.
"""

import hashlib
import hmac
from collections.abc import Iterable

import msgspec

from proxy.config.structs import Client
from proxy.identity.certificate import CertificateFacts, matches
from proxy.identity.principal import Principal
from proxy.refusal import Reason, Refused

_TOKEN_PREFIX = b"eyJ"
"""How every JWT begins: `{"` in base64url (RFC 7519 section 3). A key is told from a token by this alone."""


class Presented(msgspec.Struct):
    """The credentials of one request, as they came."""

    certificate: CertificateFacts | None = None
    keys: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()


def split_bearer(value: bytes) -> tuple[bytes | None, bytes | None]:
    """`(key, token)` of an `Authorization` header's value; one of them is None. Raises `Refused`."""
    scheme, _, rest = value.partition(b" ")
    credential = rest.strip()
    if scheme.lower() != b"bearer" or not credential or b" " in credential:
        raise Refused(Reason.UNSUPPORTED_CREDENTIAL, "authorization scheme")
    return (None, credential) if credential.startswith(_TOKEN_PREFIX) else (credential, None)


class Directory:
    """All clients of a snapshot, by what they may present."""

    def __init__(self, clients: Iterable[Client], *, remembered: int = 10_000) -> None:
        self._clients = {client.name: client for client in clients}
        self._by_key = {
            digest.removeprefix("sha256:").lower(): client
            for client in self._clients.values()
            for digest in client.key_hashes
        }
        self._with_certificate = [client for client in self._clients.values() if client.certificate is not None]
        self._certificates: dict[str, Client | None] = {}
        self._remembered = remembered

    def authenticate(self, presented: Presented) -> Principal:
        """The one principal all credentials agree on. Raises `Refused`, always with status 401."""
        if presented.tokens:
            raise Refused(Reason.UNSUPPORTED_CREDENTIAL, "no issuer is configured")
        found: Principal | None = None
        for key in presented.keys:
            principal = self._of_key(key)
            if found is not None and found.client != principal.client:
                raise Refused(Reason.CREDENTIALS_DISAGREE, "keys of different clients")
            found = principal
        facts = presented.certificate
        if facts is None:
            if found is None:
                raise Refused(Reason.NO_CREDENTIAL, "none presented")
            return found
        client = self._of_certificate(facts)
        if client is None:
            if found is None:
                raise Refused(Reason.UNKNOWN_CERTIFICATE, facts.thumbprint)
            return found
        if found is not None:
            if found.client != client.name:
                raise Refused(Reason.CREDENTIALS_DISAGREE, "certificate and key of different clients")
            return found
        return Principal(client.name, client.tenant, "certificate", facts.thumbprint)

    def _of_key(self, key: bytes) -> Principal:
        digest = hashlib.sha256(key).hexdigest()
        client = self._by_key.get(digest)
        # The look-up leaks at most where two digests differ, which says nothing about a key; the comparison is exact.
        if client is None or not any(
            hmac.compare_digest(entry.removeprefix("sha256:").lower(), digest) for entry in client.key_hashes
        ):
            raise Refused(Reason.UNKNOWN_KEY, f"sha256:{digest[:12]}")
        return Principal(client.name, client.tenant, "key", f"sha256:{digest[:12]}")

    def _of_certificate(self, facts: CertificateFacts) -> Client | None:
        if facts.thumbprint in self._certificates:
            return self._certificates[facts.thumbprint]
        candidates = [c for c in self._with_certificate if c.certificate is not None and matches(facts, c.certificate)]
        # A certificate that could be two clients' is neither's.
        client = candidates[0] if len(candidates) == 1 else None
        if len(self._certificates) >= self._remembered:
            self._certificates.clear()
        self._certificates[facts.thumbprint] = client
        return client
