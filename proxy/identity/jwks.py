"""An issuer's signing keys, out of its JWKS document (RFC 7517), and made ready to verify with. Pure.

Only public keys that are for signatures come through, cut down to what a public key has. A symmetric key, or one whose
private half is published, is no key of anybody's; a document without any good key is refused as a whole.
"""

from typing import Any, NamedTuple

import msgspec
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.identity import base64url
from proxy.identity.json_object import NotStrict, read_object
from proxy.identity.known import SigningKey

DOCUMENT = 256 << 10
"""Bytes a document may have."""
_KEYS = 64
_KID = 256
_RSA_BITS = range(2048, 8193)
_EXPONENT_BITS = 33  # 65537 has 17; a large one makes every verification slow
_RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}
_EDWARDS = {"Ed25519": 32, "Ed448": 57}
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


class BadKeys(Exception):
    """A document that gives no keys. `fact` is one clean clause."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class KeySet(NamedTuple):
    """`skipped` says, for each entry that is not among `keys`, why."""

    keys: tuple[SigningKey, ...]
    skipped: tuple[str, ...]


class PublicKey(NamedTuple):
    """`algorithms` are those that the key's type, curve and `alg` leave. `issuer` is the issuer it is for, where the
    document says so (Entra does, for keys that several issuers share).
    """

    kid: str | None
    algorithms: frozenset[str]
    key: Any
    issuer: str | None


class _Unfit(Exception):
    """An entry that is no signing key; the message says why."""


def read(document: bytes) -> KeySet:
    """The signing keys of a document. Raises `BadKeys`."""
    if len(document) > DOCUMENT:
        raise BadKeys(f"the document has more than {DOCUMENT} bytes")
    try:
        entries = read_object(document).get("keys")
    except NotStrict:
        raise BadKeys("the document is not a JSON object") from None
    if not isinstance(entries, list):
        raise BadKeys("the document has no list of keys")
    if len(entries) > _KEYS:
        raise BadKeys(f"the document has more than {_KEYS} keys")
    keys: list[SigningKey] = []
    skipped: list[str] = []
    for entry in entries:
        try:
            keys.append(_cut_down(entry))
        except _Unfit as unfit:
            skipped.append(str(unfit))
    if not keys:
        raise BadKeys("the document has no public signing key")
    return KeySet(tuple(keys), tuple(skipped))


def load(key: SigningKey) -> PublicKey:
    """A key out of `read`, ready. Raises `ValueError` for what it cannot have given."""
    try:
        return _load(read_object(key.jwk))
    except (_Unfit, NotStrict):
        raise ValueError("not a signing key") from None


def _cut_down(entry: object) -> SigningKey:
    if not isinstance(entry, dict):
        raise _Unfit("not an object")
    loaded = _load(entry)
    kept = ("kty", "crv", "n", "e", "x", "y", "alg", "kid", "issuer")
    return SigningKey(loaded.kid, msgspec.json.encode({name: entry[name] for name in kept if name in entry}))


def _load(entry: dict[str, Any]) -> PublicKey:
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KID and kid.isprintable()):
        raise _Unfit("its kid is not a short text")
    if not _PRIVATE.isdisjoint(entry):
        raise _Unfit("a symmetric or private key")
    if entry.get("use", "sig") != "sig":
        raise _Unfit("not for signatures")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unfit("not for verifying")
    algorithms, key = _public(entry)
    alg = entry.get("alg")
    if alg is not None:
        algorithms &= {alg} if isinstance(alg, str) else set()
        if not algorithms:
            raise _Unfit("its alg does not fit its type")
    issuer = entry.get("issuer")
    if issuer is not None and not (isinstance(issuer, str) and len(issuer) <= 1024):
        raise _Unfit("its issuer is not a text")
    return PublicKey(kid, algorithms, key, issuer)


def _public(entry: dict[str, Any]) -> tuple[frozenset[str], Any]:
    """The algorithms a key's type is for, and the key. Raises `_Unfit`."""
    kind, curve = entry.get("kty"), str(entry.get("crv"))
    try:
        if kind == "RSA":
            modulus, exponent = _bytes(entry, "n"), _bytes(entry, "e")
            if int.from_bytes(modulus).bit_length() not in _RSA_BITS:
                raise _Unfit("an RSA key of a size that is not taken")
            if int.from_bytes(exponent).bit_length() > _EXPONENT_BITS:
                raise _Unfit("an RSA key with too large an exponent")
            return _RSA, RSAAlgorithm.from_jwk({name: entry[name] for name in ("kty", "n", "e")})
        if kind == "EC" and curve in _CURVES:
            algorithm, size = _CURVES[curve]
            if len(_bytes(entry, "x")) != size or len(_bytes(entry, "y")) != size:
                raise _Unfit("an EC key of the wrong size")
            return frozenset((algorithm,)), ECAlgorithm.from_jwk({n: entry[n] for n in ("kty", "crv", "x", "y")})
        if kind == "OKP" and curve in _EDWARDS:
            if len(_bytes(entry, "x")) != _EDWARDS[curve]:
                raise _Unfit("an OKP key of the wrong size")
            return frozenset(("EdDSA",)), OKPAlgorithm.from_jwk({name: entry[name] for name in ("kty", "crv", "x")})
    except (ValueError, InvalidKeyError):  # a point that is on no curve, an exponent that is none
        raise _Unfit("not a key of its type") from None
    raise _Unfit("of a type that is not taken")


def _bytes(entry: dict[str, Any], name: str) -> bytes:
    value = entry.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise _Unfit(f"its {name} is not base64url")
    try:
        return base64url.decode(value.encode("ascii"))
    except ValueError:
        raise _Unfit(f"its {name} is not base64url") from None
