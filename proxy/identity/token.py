"""Access tokens: JSON Web Tokens (RFC 7519, RFC 8725) of the issuers that are configured. Pure; time is an argument.

A token goes down this list, and the first thing that is wrong refuses it, under one word for the audit record:

    its size and its three parts → the header → the payload as JSON → `iss`, which chooses the issuer → the algorithm,
    as that issuer's list has it → the key, by `kid`, among that issuer's alone → the signature → the claims

Nothing in a token says how it is to be verified: whatever would (`jku`, `jwk`, `x5u`, `crit`, …) refuses it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from jwt.algorithms import get_default_algorithms

from proxy.config.structs import Issuer
from proxy.identity import base64url, jwks
from proxy.identity.json_object import NotStrict, read_object
from proxy.identity.known import IssuerKeys

ALGORITHMS = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
)  # fmt: skip
"""All that an issuer's list may name: signatures by public keys, and none else."""

TENANT = "{tenantid}"
"""Stands in an issuer's template for each of its tenants (Entra's documents spell it so)."""

_TOKEN = 16 << 10
_HEADER = 2 << 10
_STEERING = ("jku", "jwk", "x5u", "x5c", "crit", "zip", "enc", "b64", "cty")
"""Header members that would have a token choose its key, its encoding or its rules, or hold another one."""
_USUAL_TYPES = frozenset(("jwt", "at+jwt"))
"""Where an issuer's list demands none: other kinds of tokens (RFC 8725 section 3.11) are not for access."""
_YEAR_10000 = 253_402_300_800
_TEXT = 512
_ENTRIES = 1_000
_VERIFY = {name: algorithm.verify for name, algorithm in get_default_algorithms().items() if name in ALGORITHMS}


class TokenFault(Exception):
    """A token that is refused. `word` is of a fixed set, and safe to record."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class UnknownKey(Exception):
    """The token names a key that is not among its issuer's, as far as these are known."""


class Parsed(NamedTuple):
    """A token of the right form. Nothing in it is true yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


class Verified(msgspec.Struct, frozen=True):
    """What a good token says. `until` is the Unix time at which it is no longer good; `certificate` the thumbprint of
    the client certificate that it is bound to (RFC 8705 section 3.1).
    """

    client: str
    user: str | None
    scopes: frozenset[str]
    roles: frozenset[str]
    groups: frozenset[str]
    until: float
    certificate: str | None


def parse(token: bytes) -> Parsed:
    """Raises `TokenFault`."""
    if len(token) > _TOKEN:
        raise TokenFault("size")
    parts = token.split(b".")
    if len(parts) == 5:
        raise TokenFault("encrypted")
    if len(parts) != 3:
        raise TokenFault("shape")
    if len(parts[0]) > _HEADER:
        raise TokenFault("header_size")
    header = _object(parts[0], "header")
    for name in _STEERING:
        if name in header:
            raise TokenFault(f"header_{name}")
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise TokenFault("alg")
    claims = _object(parts[1], "payload")
    try:
        signature = base64url.decode(parts[2])
    except ValueError:
        raise TokenFault("signature_encoding") from None
    return Parsed(header, claims, token[: -len(parts[2]) - 1], signature)


class _Ready:
    """An issuer's keys, made ready when they have changed; one for all tenants of a template."""

    def __init__(self) -> None:
        self._version = -1
        self._keys: list[jwks.PublicKey] = []

    def keys(self, told: IssuerKeys) -> list[jwks.PublicKey]:
        if told.version != self._version:
            self._keys = [jwks.load(key) for key in told.keys]
            self._version = told.version
        return self._keys


class Verifier:
    """One issuer's rules. `iss` is its name in tokens, with `tenant` in the template's place if it has one."""

    def __init__(self, issuer: Issuer, iss: str, tenant: str | None = None, ready: _Ready | None = None) -> None:
        self.issuer = issuer
        self.tenant = tenant
        self._iss = iss
        self._ready = ready or _Ready()
        self._types = frozenset(_type(entry) for entry in issuer.types)
        self._leeway = float(issuer.leeway)
        self._required = {
            name: frozenset((allowed,) if isinstance(allowed, str) else allowed)
            for name, allowed in issuer.required_claims.items()
        }

    def verify(self, parsed: Parsed, keys: IssuerKeys | None, now: float) -> Verified:
        """What the token says, if it is good. Raises `TokenFault`, or `UnknownKey` where newer keys may help."""
        alg = self._judge_header(parsed.header)
        key = self._key(parsed, alg, keys)
        try:
            good = _VERIFY[alg](parsed.signed, key, parsed.signature)
        except ValueError:
            good = False
        if not good:
            raise TokenFault("signature")
        return self._judge_claims(parsed.claims, now)

    def _judge_header(self, header: dict[str, Any]) -> str:
        alg: str = header["alg"]
        if alg not in self.issuer.algorithms:
            raise TokenFault("alg")
        kind = header.get("typ")
        if kind is None:
            if self._types:
                raise TokenFault("typ")
        elif not isinstance(kind, str) or _type(kind) not in (self._types or _USUAL_TYPES):
            raise TokenFault("typ")
        return alg

    def _key(self, parsed: Parsed, alg: str, keys: IssuerKeys | None) -> Any:
        """The one key of the issuer that the token names, if it is for `alg`."""
        kid = parsed.header.get("kid")
        if "kid" in parsed.header and not isinstance(kid, str):
            raise TokenFault("kid")
        if keys is None:
            raise UnknownKey
        ready = self._ready.keys(keys)
        named = ready if kid is None else [key for key in ready if key.kid == kid]
        if not named:
            raise UnknownKey
        fitting = [key for key in named if alg in key.algorithms]
        if not fitting:
            raise TokenFault("key_type")
        if len(fitting) > 1:
            raise TokenFault("kid")
        (key,) = fitting
        # Keys that many tenants' issuers share say whose they are, and another's proves nothing here.
        if self.tenant is not None and (key.issuer or self._iss).replace(TENANT, self.tenant) != self._iss:
            raise TokenFault("key_issuer")
        return key.key

    def _judge_claims(self, claims: dict[str, Any], now: float) -> Verified:
        issuer = self.issuer
        if self.tenant is not None and claims.get("tid") != self.tenant:
            raise TokenFault("tid")
        if _texts(claims, "aud").isdisjoint(issuer.audiences):
            raise TokenFault("aud")
        until = self._judge_times(claims, now)
        for name, allowed in self._required.items():
            if _texts(claims, name, word="required_claim").isdisjoint(allowed):
                raise TokenFault("required_claim")
        client = _first(claims, issuer.client_claim, "client")
        if client is None:
            raise TokenFault("client")
        return Verified(
            client=client,
            user=_first(claims, issuer.user_claim, "user"),
            scopes=_scopes(claims),
            roles=_texts(claims, "roles"),
            groups=_texts(claims, "groups"),
            until=until,
            certificate=_bound_to(claims),
        )

    def _judge_times(self, claims: dict[str, Any], now: float) -> float:
        """`exp`, `nbf` and `iat` (RFC 7519 section 4.1); until when the token is good."""
        expires, begins, issued = (_date(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            raise TokenFault("exp")
        if now >= expires + self._leeway:
            raise TokenFault("expired")
        if begins is None:
            if self.issuer.require_nbf:
                raise TokenFault("nbf")
        elif now < begins - self._leeway:
            raise TokenFault("not_yet_valid")
        if issued is not None and now < issued - self._leeway:
            raise TokenFault("issued_in_future")
        return expires + self._leeway


def verifiers(issuers: Iterable[Issuer]) -> dict[str, Verifier]:
    """By the `iss` that tokens have: one for each issuer, for each tenant of one that is a template."""
    found: dict[str, Verifier] = {}
    for issuer in issuers:
        if TENANT not in issuer.issuer:
            found[issuer.issuer] = Verifier(issuer, issuer.issuer)
        ready = _Ready()
        for tenant in issuer.tenants:
            iss = issuer.issuer.replace(TENANT, tenant)
            found[iss] = Verifier(issuer, iss, tenant, ready)
    return found


def _object(part: bytes, where: str) -> dict[str, Any]:
    try:
        return read_object(base64url.decode(part))
    except NotStrict as error:
        raise TokenFault(f"{where}_{error.word}") from None
    except ValueError:
        raise TokenFault(f"{where}_encoding") from None


def _type(text: str) -> str:
    """A media type as it is compared: without case, and without the prefix that may be left out (RFC 7515 4.1.9)."""
    return text.lower().removeprefix("application/")


def _date(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate, which may have a fraction; None where there is none."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_10000:
        raise TokenFault(name)
    return float(value)


def _is_text(value: object) -> bool:
    """A text that can be compared, recorded and shown as it is."""
    return isinstance(value, str) and 0 < len(value) <= _TEXT and value.isprintable()


def _texts(claims: dict[str, Any], name: str, *, word: str | None = None) -> frozenset[str]:
    """A claim that is a text or a list of texts; none where it is absent."""
    if name not in claims:
        return frozenset()
    value = claims[name]
    entries = value if isinstance(value, list) else [value]
    if len(entries) > _ENTRIES or not all(map(_is_text, entries)):
        raise TokenFault(word or name)
    return frozenset(entries)


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scp` (Entra, Okta) and `scope` (RFC 9068 section 2.2.3): texts of names with spaces between, or lists."""
    found: set[str] = set()
    for name in ("scp", "scope"):
        if claims.get(name) == "":
            continue
        for text in _texts(claims, name, word="scope"):
            found.update(text.split())
    return frozenset(found)


def _first(claims: dict[str, Any], names: str | tuple[str, ...], word: str) -> str | None:
    """The first claim of these that is present."""
    for name in (names,) if isinstance(names, str) else names:
        if name in claims:
            value = claims[name]
            if not _is_text(value):
                raise TokenFault(word)
            return str(value)
    return None


def _bound_to(claims: dict[str, Any]) -> str | None:
    """The thumbprint in `cnf` (RFC 8705 section 3.1). A proof of another kind cannot be checked here: refused."""
    if "cnf" not in claims:
        return None
    match claims["cnf"]:
        case {"x5t#S256": str(text), **rest} if not rest:
            try:
                digest = base64url.decode(text.encode("ascii", "replace"))
            except ValueError:
                digest = b""
            if len(digest) == 32:
                return "sha256:" + digest.hex()
    raise TokenFault("cnf")
