"""Tokens of issuers that exist only here: key pairs, what an issuer publishes of them, and what it signs.

For tests and the demo, which tell the mock what to publish (`MockControl.issuer`) and mint what clients carry. Every
part of a token can be anything: a header that lies, a payload that is no JSON, a signature by another's key.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from proxy.identity import base64url

_ALGORITHMS = get_default_algorithms()
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_Private: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
Claims: TypeAlias = Mapping[str, Any]


class KeyPair:
    """One key of an issuer. `alg` is what it signs with, unless a token is to say otherwise."""

    def __init__(self, kid: str | None, alg: str = "ES256", *, bits: int = 2048) -> None:
        self.kid = kid
        self.alg = alg
        self.private: _Private
        if alg in _CURVES:
            self.private = ec.generate_private_key(_CURVES[alg])
        elif alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as an issuer publishes it."""
        algorithm: Any = _ALGORITHMS[self.alg]
        entry: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        entry.pop("key_ops", None)
        return entry | {"use": "sig"} | ({} if self.kid is None else {"kid": self.kid})

    def signature(self, signed: bytes, alg: str | None = None) -> bytes:
        algorithm: Any = _ALGORITHMS[alg or self.alg]
        signature: bytes = algorithm.sign(signed, self.private)
        return signature

    def header(self, **more: Any) -> dict[str, Any]:
        """A header that tells the truth, but for what is given; None leaves a member out."""
        return _without_none({"alg": self.alg, "typ": "JWT", "kid": self.kid} | more)

    def token(self, header: Claims | bytes, payload: Claims | bytes, alg: str | None = None) -> bytes:
        signed = unsigned(header, payload)
        return signed + b"." + base64url.encode(self.signature(signed, alg))


class TokenIssuer:
    """An issuer: its name in tokens, its keys, of which the first signs, and what its tokens say; `clock` says when."""

    def __init__(
        self,
        iss: str,
        *keys: KeyPair,
        audience: str = "api://penstock",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.iss = iss
        self.keys = list(keys) or [KeyPair("1")]
        self.audience = audience
        self.clock = clock

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.jwk for key in self.keys]}

    def claims(self, **more: Any) -> dict[str, Any]:
        """Those of a good token for an hour, but for what is given; None leaves a claim out."""
        now = int(self.clock())
        usual = {"iss": self.iss, "aud": self.audience, "iat": now, "nbf": now, "exp": now + 3600, "azp": "app"}
        return _without_none(usual | more)

    def mint(self, *, key: KeyPair | None = None, header: Claims | None = None, **claims: Any) -> bytes:
        """A token by a key of this issuer, or by one that is given."""
        key = key or self.keys[0]
        return key.token(key.header(**(header or {})), self.claims(**claims))


def unsigned(header: Claims | bytes, payload: Claims | bytes) -> bytes:
    """The first two parts of a token; bytes stay as they are, JSON or not."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    return b".".join(map(base64url.encode, parts))


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
