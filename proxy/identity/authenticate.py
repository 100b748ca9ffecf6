"""From presented credentials to one principal, or a refusal.

Four rules (design: one identity). Any credential that is presented and invalid is a 401, whatever the others say.
Credentials that name different clients are a 401. A valid certificate that matches no client is ignored when another
credential decides, and a 401 when it stands alone. Of a client that requires all of its credentials, each kind that it
has must be there, and nothing is ignored.

Pure: what was presented is compared with the snapshot and with what is known, at a time that is given. Where that is
not enough, `Undecided` says whom to ask.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable

import msgspec

from proxy.config.structs import Client, Issuer
from proxy.frozen import Frozen
from proxy.identity import key as form
from proxy.identity.certificate import CertificateFacts, matches
from proxy.identity.known import AskKeys, ClientKey, Known, Undecided
from proxy.identity.principal import CredentialKind, Principal
from proxy.identity.remembered import Remembered
from proxy.identity.token import TokenFault, UnknownKey, Verifier, parse, verifiers
from proxy.refusal import Reason, Refused

_TOKEN_PREFIX = b"eyJ"
"""How every JWT begins: `{"` in base64url (RFC 7519 section 3). A key is told from a token by this alone."""


_MISTYPED = "Access denied: the key is mistyped or incomplete."
"""What its checksum tells anyone, so it may be said."""


class Presented(msgspec.Struct):
    """The credentials of one request, as they came."""

    certificate: CertificateFacts | None = None
    keys: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()

    @property
    def fingerprint(self) -> str | None:
        """What may be recorded of the one that counts most: a token, a key, a certificate."""
        for credential in (*self.tokens, *self.keys):
            return _fingerprint(hashlib.sha256(credential).hexdigest())
        return self.certificate.thumbprint if self.certificate is not None else None


class _Named(Frozen, frozen=True):
    """A token that was verified: whom it names, until when, with which of its issuer's keys, for which certificate."""

    principal: Principal
    until: float
    issuer: str
    version: int
    certificate: str | None


def split_bearer(value: bytes) -> tuple[bytes | None, bytes | None]:
    """`(key, token)` of an `Authorization` header's value; one of them is None. Raises `Refused`."""
    scheme, _, rest = value.partition(b" ")
    credential = rest.strip()
    if scheme.lower() != b"bearer" or not credential or b" " in credential:
        raise Refused(Reason.UNSUPPORTED_CREDENTIAL, "authorization scheme")
    return (None, credential) if credential.startswith(_TOKEN_PREFIX) else (credential, None)


class Directory:
    """All clients of a snapshot, by what they may present. What it has verified it remembers, within bounds."""

    def __init__(
        self,
        clients: Iterable[Client],
        issuers: Iterable[Issuer] = (),
        *,
        remembered: int = 10_000,
        verified_by: Callable[[Iterable[Issuer]], dict[str, Verifier]] = verifiers,
    ) -> None:
        self._clients = {client.name: client for client in clients}
        self._by_key = {
            digest.removeprefix("sha256:").lower(): client
            for client in self._clients.values()
            for digest in client.key_hashes
        }
        self._by_token = {
            (client.token.issuer, client.token.client): client
            for client in self._clients.values()
            if client.token is not None
        }
        self._with_certificate = [client for client in self._clients.values() if client.certificate is not None]
        self._demanded = {c.name: _kinds(c) for c in self._clients.values() if c.require == "all"}
        self._verifiers = verified_by(issuers)
        self._certificates: Remembered[str, Client | None] = Remembered(remembered)
        self._tokens: Remembered[bytes, _Named] = Remembered(remembered)

    def authenticate(self, presented: Presented, known: Known, now: float) -> Principal:
        """The one principal all credentials agree on; `now` is Unix time.

        Raises `Refused`, always with status 401, or `Undecided`.
        """
        facts = presented.certificate
        found: Principal | None = None
        for token in presented.tokens:
            found = _agreed(found, self._of_token(token, facts, known, now))
        for key in presented.keys:
            found = _agreed(found, self._of_key(key, known, now))
        client = self._of_certificate(facts) if facts is not None else None
        if facts is None:
            if found is None:
                raise Refused(Reason.NO_CREDENTIAL, "none presented")
        elif client is not None:
            by_certificate = Principal(client.name, client.tenant, "certificate", facts.thumbprint)
            found = _agreed(found, by_certificate)
        elif found is None or found.client in self._demanded:
            raise Refused(Reason.UNKNOWN_CERTIFICATE, facts.thumbprint)
        assert found is not None
        if found.client in self._demanded:
            self._demand_all(found.client, presented)
        return found

    def client_of(self, facts: CertificateFacts) -> str | None:
        """The name of the one client a certificate is matched to."""
        client = self._of_certificate(facts)
        return None if client is None else client.name

    def _demand_all(self, client: str, presented: Presented) -> None:
        shown = (("certificate", presented.certificate), ("token", presented.tokens), ("key", presented.keys))
        missing = self._demanded[client] - {kind for kind, credential in shown if credential}
        if missing:
            raise Refused(Reason.CREDENTIAL_MISSING, " and ".join(sorted(missing)))

    def _of_token(self, token: bytes, facts: CertificateFacts | None, known: Known, now: float) -> Principal:
        """Verified once; a repeat costs a hash and a look-up, until the token ends or its issuer's keys change."""
        digest = hashlib.sha256(token).digest()
        named = self._tokens.get(digest)
        if named is None or now >= named.until or not _still_signed(named, known):
            named = self._verified(token, digest, known, now)
            self._tokens.put(digest, named)
        if named.certificate is not None and (facts is None or facts.thumbprint != named.certificate):
            raise Refused(Reason.INVALID_TOKEN, f"{named.issuer}:certificate_binding")
        return named.principal

    def _verified(self, token: bytes, digest: bytes, known: Known, now: float) -> _Named:
        try:
            parsed = parse(token)
            iss = parsed.claims.get("iss")
            verifier = self._verifiers.get(iss) if isinstance(iss, str) else None
            if verifier is None:
                raise TokenFault("iss")
        except TokenFault as fault:
            raise Refused(Reason.INVALID_TOKEN, fault.word) from None
        name = verifier.issuer.name
        keys = known.signing_keys.get(name)
        try:
            says = verifier.verify(parsed, keys, now)
        except TokenFault as fault:
            raise Refused(Reason.INVALID_TOKEN, f"{name}:{fault.word}") from None
        except UnknownKey:
            raise Undecided(AskKeys(name), Reason.INVALID_TOKEN, f"{name}:kid_unknown") from None
        client = self._by_token.get((name, says.client))
        if client is None:
            raise Refused(Reason.UNKNOWN_TOKEN_CLIENT, name)
        assert keys is not None
        principal = Principal(
            client.name, client.tenant, "token", _fingerprint(digest.hex()), says.user, says.scopes, says.roles,
            says.groups,
        )  # fmt: skip
        return _Named(principal, says.until, name, keys.version, says.certificate)

    def _of_key(self, key: bytes, known: Known, now: float) -> Principal:
        ours = key.startswith(form.PREFIX)
        if ours:
            issued = known.issued_key(key)
            if issued is not None:
                return self._of_issued(issued, known, now)
        digest = hashlib.sha256(key).hexdigest()
        client = self._by_key.get(digest)
        # The look-up leaks at most where two digests differ, which says nothing about a key; the comparison is exact.
        if client is None or not any(
            hmac.compare_digest(entry.removeprefix("sha256:").lower(), digest) for entry in client.key_hashes
        ):
            if ours and not form.is_whole(key):
                raise Refused(Reason.UNKNOWN_KEY, "key_checksum", message=_MISTYPED)
            raise Refused(Reason.UNKNOWN_KEY, _fingerprint(digest))
        return Principal(client.name, client.tenant, "key", _fingerprint(digest))

    def _of_issued(self, issued: ClientKey, known: Known, now: float) -> Principal:
        client = self._clients.get(issued.client)
        if issued.revoked:
            raise Refused(Reason.REVOKED_KEY, issued.id)
        if now >= issued.expires:
            raise Refused(Reason.EXPIRED_KEY, issued.id)
        if client is None or not client.keys:
            raise Refused(Reason.UNKNOWN_KEY, f"{issued.id}: its client takes no keys")
        known.keys_used[issued.id] = now
        return Principal(client.name, client.tenant, "key", issued.id)

    def _of_certificate(self, facts: CertificateFacts) -> Client | None:
        if facts.thumbprint in self._certificates:
            return self._certificates.get(facts.thumbprint)
        candidates = [c for c in self._with_certificate if c.certificate is not None and matches(facts, c.certificate)]
        # A certificate that could be two clients' is neither's.
        client = candidates[0] if len(candidates) == 1 else None
        self._certificates.put(facts.thumbprint, client)
        return client


def _agreed(found: Principal | None, another: Principal) -> Principal:
    """The first of two that name one client. Raises `Refused`."""
    if found is None:
        return another
    if found.client != another.client:
        raise Refused(Reason.CREDENTIALS_DISAGREE, f"{found.kind} and {another.kind} of different clients")
    return found


def _kinds(client: Client) -> frozenset[CredentialKind]:
    """The kinds of credentials that a client has."""
    has: dict[CredentialKind, bool] = {
        "certificate": client.certificate is not None,
        "token": client.token is not None,
        "key": client.keys or bool(client.key_hashes),
    }
    return frozenset(kind for kind, there in has.items() if there)


def _still_signed(named: _Named, known: Known) -> bool:
    keys = known.signing_keys.get(named.issuer)
    return keys is not None and keys.version == named.version


def _fingerprint(digest: str) -> str:
    return f"sha256:{digest[:12]}"
