"""What a worker has been told about credentials beside its configuration, and what it may ask.

A snapshot changes when the configuration does; signing keys, client keys and the standing of certificates change by
themselves. The supervisor fetches and tells them, a worker decides with what it has been told. What it has not been
told it asks for once, and the answer is remembered. Plain data; no I/O.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from proxy.identity.key import KeyedHash
from proxy.refusal import Reason


class SigningKey(msgspec.Struct, frozen=True):
    """One public key of an issuer (RFC 7517). `jwk` is its JSON, cut down to what a public key has."""

    kid: str | None
    jwk: bytes


class IssuerKeys(msgspec.Struct, frozen=True):
    """The keys an issuer signs with. `version` changes with each set that differs from the one before."""

    version: int
    keys: tuple[SigningKey, ...]


class ClientKey(msgspec.Struct, frozen=True):
    """A key that was issued to a client. `id` is safe to record; `expires` is Unix time, infinite for never."""

    id: str
    client: str
    expires: float
    revoked: bool = False


class CertificateVerdict(msgspec.Struct, frozen=True):
    """What is known of a client certificate that TLS has verified.

    `until` is the Unix time up to which it holds; after that it is asked for again. `reason` is for the audit record.
    """

    thumbprint: str
    status: Literal["good", "revoked", "refused", "unknown"]
    until: float
    reason: str = ""


class AskKeys(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A token names a key that is not among its issuer's. One question, whatever keys tokens make up."""

    issuer: str

    @property
    def about(self) -> str:
        return f"keys:{self.issuer}"


class AskCertificate(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A certificate was presented that there is no verdict on. `chain` is DER, the leaf first, its root last."""

    thumbprint: str
    chain: tuple[bytes, ...]

    @property
    def about(self) -> str:
        return f"certificate:{self.thumbprint}"


class Settled(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The answer to a question, after the knowledge itself was told. Not `available`: its source is out."""

    about: str
    available: bool


Question = AskKeys | AskCertificate


class Undecided(Exception):
    """What a decision rests on is not known here yet. `otherwise` and `rule` are what it is refused with if it stays
    so.
    """

    def __init__(self, question: Question, otherwise: Reason, rule: str | None = None) -> None:
        super().__init__(question.about)
        self.question = question
        self.otherwise = otherwise
        self.rule = rule or question.about


_CERTIFICATES = 20_000


class Known:
    """What one worker knows at present. `client_keys` are by keyed digest, the rest by name and thumbprint.

    `keys_used` is when each issued key was last accepted (Unix time by id), since that was last told.
    """

    def __init__(self) -> None:
        self.signing_keys: dict[str, IssuerKeys] = {}
        self.client_keys: dict[bytes, ClientKey] = {}
        self.key_hash: KeyedHash | None = None
        self.keys_used: dict[str, float] = {}
        self.certificates: dict[str, CertificateVerdict] = {}

    def issued_key(self, key: bytes) -> ClientKey | None:
        """Whose key this is, whatever has become of it. The look-up tells nothing: nobody can choose a keyed digest."""
        return None if self.key_hash is None else self.client_keys.get(self.key_hash.digest(key))

    def learn(self, verdicts: Iterable[CertificateVerdict]) -> None:
        """Take what is new of certificates; past the bound the oldest is forgotten, and asked for again if need be."""
        known = self.certificates
        for verdict in verdicts:
            known.pop(verdict.thumbprint, None)
            known[verdict.thumbprint] = verdict
        while len(known) > _CERTIFICATES:
            del known[next(iter(known))]
