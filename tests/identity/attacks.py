"""Tokens: the issuers that the tests have, honest tokens of theirs, and every known trick, by the rule it breaks.

The same table is run against the pure code and through a listener. A rule is what the audit record says of it: a word,
after the issuer's name as soon as that is known.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.mock.mint import KeyPair, TokenIssuer, unsigned
from proxy.config.structs import Client, Issuer, TokenMatch
from proxy.identity import base64url

TENANT_A, TENANT_B = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
CONTOSO_ISS, FABRIKAM_ISS = "https://login.contoso.example/v2.0", "https://fabrikam.example/"
ENTRA_ISS = "https://login.entra.example/{tenantid}/v2.0"

ISSUERS = (
    Issuer(
        name="contoso",
        issuer=CONTOSO_ISS,
        audiences=("api://penstock", "penstock"),
        algorithms=("RS256", "PS256", "ES256", "EdDSA"),
        required_claims={"tid": ("t1", "t2")},
        require_nbf=False,
    ),
    Issuer(
        name="fabrikam",
        issuer=FABRIKAM_ISS,
        audiences=("api://penstock",),
        algorithms=("ES256", "ES384"),
        types=("at+jwt",),
        client_claim=("client_id", "azp"),
        user_claim="sub",
    ),
    Issuer(name="entra", issuer=ENTRA_ISS, tenants=(TENANT_A, TENANT_B), audiences=("api://penstock",)),
)
CLIENTS = (
    Client(name="of-contoso", tenant="power", token=TokenMatch(issuer="contoso", client="app")),
    Client(name="of-fabrikam", token=TokenMatch(issuer="fabrikam", client="app")),
    Client(name="of-entra", token=TokenMatch(issuer="entra", client="app")),
)


class World:
    """The three issuers' keys, and tokens of theirs."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.rsa, self.ec, self.ed = KeyPair("rsa", "RS256"), KeyPair("ec"), KeyPair("ed", "EdDSA")
        self.fixed = KeyPair("fixed", "RS256")  # published with its alg
        self.shared, self.others_shared = KeyPair("shared"), KeyPair("shared")
        self.own, self.large = KeyPair("own"), KeyPair("large", "ES384")
        self.common, self.of_a = KeyPair("common"), KeyPair("of-a")
        self.contoso = TokenIssuer(CONTOSO_ISS, self.ec, self.rsa, self.ed, self.fixed, self.shared, clock=clock)
        self.fabrikam = TokenIssuer(FABRIKAM_ISS, self.own, self.others_shared, self.large, clock=clock)
        self.entra = TokenIssuer(ENTRA_ISS, self.common, self.of_a, clock=clock)

    def documents(self) -> dict[str, dict[str, Any]]:
        """What each issuer publishes, by its name in the configuration."""
        contoso, entra = self.contoso.jwks, self.entra.jwks
        contoso["keys"][3]["alg"] = "RS256"
        entra["keys"][0]["issuer"] = ENTRA_ISS
        entra["keys"][1]["issuer"] = ENTRA_ISS.replace("{tenantid}", TENANT_A)
        return {"contoso": contoso, "fabrikam": self.fabrikam.jwks, "entra": entra}

    def of_contoso(self, *, key: KeyPair | None = None, header: dict[str, Any] | None = None, **claims: Any) -> bytes:
        return self.contoso.mint(key=key, header=header, **{"tid": "t1", "oid": "user-1"} | claims)

    def of_fabrikam(self, *, key: KeyPair | None = None, header: dict[str, Any] | None = None, **claims: Any) -> bytes:
        return self.fabrikam.mint(key=key, header={"typ": "at+jwt"} | (header or {}), **{"sub": "user-2"} | claims)

    def of_entra(self, tenant: str, *, key: KeyPair | None = None, **claims: Any) -> bytes:
        return self.entra.mint(key=key, **{"iss": ENTRA_ISS.replace("{tenantid}", tenant), "tid": tenant} | claims)

    def payload(self, **claims: Any) -> dict[str, Any]:
        """The claims of a good token of contoso."""
        return self.contoso.claims(tid="t1", **claims)

    def raw(self, payload: bytes) -> bytes:
        """A token of contoso, rightly signed, around a payload as it is."""
        return self.ec.token(self.ec.header(), payload)


class Honest(NamedTuple):
    name: str
    client: str
    token: bytes
    user: str | None = None


def honest(w: World) -> Iterator[Honest]:
    """Tokens that are all right, each in a way of its own."""
    now = int(w.payload()["iat"])
    yield Honest("es256", "of-contoso", w.of_contoso(), "user-1")
    yield Honest("rs256", "of-contoso", w.of_contoso(key=w.rsa), "user-1")
    yield Honest("ps256", "of-contoso", w.rsa.token(w.rsa.header(alg="PS256"), w.payload(), "PS256"))
    yield Honest("eddsa", "of-contoso", w.of_contoso(key=w.ed), "user-1")
    yield Honest("a key with its alg", "of-contoso", w.of_contoso(key=w.fixed), "user-1")
    yield Honest("a kid that another issuer has too", "of-contoso", w.of_contoso(key=w.shared), "user-1")
    yield Honest("that other issuer's", "of-fabrikam", w.of_fabrikam(key=w.others_shared), "user-2")
    yield Honest("no typ", "of-contoso", w.of_contoso(header={"typ": None}), "user-1")
    yield Honest("a demanded typ", "of-fabrikam", w.of_fabrikam(header={"typ": "AT+JWT"}), "user-2")
    yield Honest("typ in full", "of-fabrikam", w.of_fabrikam(header={"typ": "application/at+jwt"}), "user-2")
    yield Honest(
        "no kid, and one key it can be", "of-fabrikam", w.of_fabrikam(key=w.large, header={"kid": None}), "user-2"
    )
    yield Honest(
        "members nobody knows", "of-contoso", w.of_contoso(header={"x5t": "a", "nonce": "b"}, more={"a": [1]}), "user-1"
    )
    yield Honest("a list of audiences", "of-contoso", w.of_contoso(aud=["other", "penstock"]), "user-1")
    yield Honest(
        "dates with fractions", "of-contoso", w.of_contoso(exp=now + 60.5, nbf=now - 0.5, iat=now - 0.25), "user-1"
    )
    yield Honest("just expired, within leeway", "of-contoso", w.of_contoso(exp=now - 5), "user-1")
    yield Honest("a fast clock, within leeway", "of-contoso", w.of_contoso(nbf=now + 20, iat=now + 20), "user-1")
    yield Honest("no nbf and no iat", "of-contoso", w.of_contoso(nbf=None, iat=None), "user-1")
    yield Honest("no user", "of-contoso", w.of_contoso(oid=None))
    yield Honest("a required claim among many", "of-contoso", w.of_contoso(tid=["t0", "t2"]), "user-1")
    yield Honest("the first client claim", "of-fabrikam", w.of_fabrikam(client_id="app", azp="other"), "user-2")
    yield Honest("a tenant of many", "of-entra", w.of_entra(TENANT_A))
    yield Honest("another", "of-entra", w.of_entra(TENANT_B))
    yield Honest("by a key of its tenant's own", "of-entra", w.of_entra(TENANT_A, key=w.of_a))


class Attack(NamedTuple):
    name: str
    rule: str
    token: bytes
    reason: str = "invalid_token"


def attacks(w: World) -> list[Attack]:
    return [
        Attack(*row)
        for rows in (_algorithms, _headers, _shapes, _keys, _signatures, _issuers, _audiences, _times, _claims)
        for row in rows(w)
    ]


Rows = Iterator[tuple[str, str, bytes] | tuple[str, str, bytes, str]]


def _algorithms(w: World) -> Rows:
    for spelling in ("none", "None", "NONE", "nOnE", "none "):
        yield f"alg {spelling!r}, unsigned", "alg", unsigned({"alg": spelling, "typ": "JWT"}, w.payload()) + b"."
    yield "alg none, signed all the same", "alg", w.of_contoso(header={"alg": "none"})
    for value in ("", "rs256", "RS256 ", "RS1", "ES256K", "dir", ["RS256"], 256, True, {"a": 1}):
        yield f"alg {value!r}", "alg", w.rsa.token({"alg": value, "kid": "rsa"}, w.payload(), "RS256")
    yield "no alg", "alg", w.rsa.token({"kid": "rsa"}, w.payload(), "RS256")
    pem = w.rsa.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = w.rsa.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    secrets = {"PEM": pem, "DER": der, "JWK": json.dumps(w.rsa.jwk).encode(), "modulus": w.rsa.jwk["n"].encode()}
    for form, secret in secrets.items():
        yield f"the public key's {form} as HMAC secret", "alg", _hmac(w, "HS256", hashlib.sha256, secret)
    yield "HS384 by the public key", "alg", _hmac(w, "HS384", hashlib.sha384, pem)
    yield "HS512 by the public key", "alg", _hmac(w, "HS512", hashlib.sha512, pem)
    yield "HS256 by nothing", "alg", _hmac(w, "HS256", hashlib.sha256, b"")
    yield "an algorithm that is not listed", "contoso:alg", w.rsa.token(w.rsa.header(alg="RS512"), w.payload(), "RS512")
    yield "one that another issuer lists", "contoso:alg", w.large.token(w.large.header(), w.payload())
    yield "RS256 over an EC key", "contoso:key_type", w.rsa.token(w.rsa.header(kid="ec"), w.payload())
    yield "ES256 over an RSA key", "contoso:key_type", w.ec.token(w.ec.header(kid="rsa"), w.payload())
    yield "EdDSA over an EC key", "contoso:key_type", w.ed.token(w.ed.header(kid="ec"), w.payload())
    yield (
        "PS256 by a key for RS256",
        "contoso:key_type",
        w.fixed.token(w.fixed.header(alg="PS256"), w.payload(), "PS256"),
    )
    yield "ES256 by a P-384 key", "fabrikam:key_type", w.of_fabrikam(header={"kid": "large"})


def _hmac(w: World, alg: str, digest: Any, secret: bytes) -> bytes:
    signed = unsigned({"alg": alg, "typ": "JWT", "kid": "rsa"}, w.payload())
    return signed + b"." + base64url.encode(hmac.new(secret, signed, digest).digest())


def _headers(w: World) -> Rows:
    mine = KeyPair("mine")
    steering: list[tuple[str, Any]] = [
        ("jku", "https://attacker.example/keys"), ("jwk", mine.jwk), ("x5u", "https://attacker.example/x"),
        ("x5c", ["MIIB"]), ("crit", ["exp"]), ("crit", ["http://attacker.example/unknown"]), ("crit", []),
        ("zip", "DEF"), ("enc", "A128GCM"), ("b64", False), ("cty", "JWT"),
    ]  # fmt: skip
    for name, value in steering:
        yield f"{name} {str(value)[:20]}", f"header_{name}", mine.token(mine.header(**{name: value}), w.payload())
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "application/logout+jwt"):
        yield f"typ {kind}", "contoso:typ", w.of_contoso(header={"typ": kind})
    yield "typ a number", "contoso:typ", w.of_contoso(header={"typ": 1})
    yield "typ that the issuer's list has not", "fabrikam:typ", w.of_fabrikam(header={"typ": "JWT"})
    yield "no typ where one is demanded", "fabrikam:typ", w.of_fabrikam(header={"typ": None})
    yield "alg twice", "header_duplicate", w.ec.token(b'{"alg":"none","alg":"ES256","kid":"ec"}', w.payload())
    yield "kid twice", "header_duplicate", w.ec.token(b'{"alg":"ES256","kid":"ec","kid":"rsa"}', w.payload())
    yield (
        "kid twice, once escaped",
        "header_duplicate",
        w.ec.token(b'{"alg":"ES256","kid":"ec","\\u006bid":"x"}', w.payload()),
    )
    yield "a header that ends early", "header_json", w.ec.token(b'{"alg":"ES256"', w.payload())
    yield "a header with more behind it", "header_json", w.ec.token(b'{"alg":"ES256","kid":"ec"}{}', w.payload())
    yield "a header that is not UTF-8", "header_json", w.ec.token(b'{"alg":"ES256","kid":"\xff"}', w.payload())
    yield "a nested header", "header_nesting", w.ec.token(b'{"alg":' + b"[" * 700 + b"]" * 700 + b"}", w.payload())
    yield "a large header", "header_size", w.of_contoso(header={"x": "y" * 4_000})
    yield "a header with padding", "header_encoding", _part(w, 0, lambda part: part + b"=")


def _shapes(w: World) -> Rows:
    good = w.of_contoso()
    first, second, third = good.split(b".")
    yield "one part", "shape", first
    yield "two parts", "shape", first + b"." + second
    yield "four parts", "shape", good + b"." + third
    yield "a dot too many", "shape", good + b"."
    yield "an encrypted token", "encrypted", b".".join((first, b"", second, third, third))
    yield "a large token", "size", w.of_contoso(groups=["g" * 100] * 150)
    yield "a huge token", "size", first + b"." + b"a" * 40_000 + b"." + third
    yield "no payload", "payload_json", w.raw(b"")
    yield "a token within a token", "payload_json", w.raw(good)
    yield "a payload that is a list", "payload_json", w.raw(b"[1]")
    yield "a payload that is a text", "payload_json", w.raw(b'"text"')
    yield "a payload with a byte order mark", "payload_json", w.raw(b"\xef\xbb\xbf" + json.dumps(w.payload()).encode())
    yield "a payload in UTF-16", "payload_json", w.raw(json.dumps(w.payload()).encode("utf-16"))
    yield "a payload with more behind it", "payload_json", w.raw(json.dumps(w.payload()).encode() + b"x")
    yield "a payload cut short", "payload_json", w.raw(json.dumps(w.payload()).encode()[:-1])
    yield "a nested payload", "payload_nesting", w.raw(b'{"a":' * 1_000 + b"1" + b"}" * 1_000)
    yield "a payload with stray bits", "payload_encoding", first + b"." + base64url.encode(b"{}")[:-1] + b"R." + third
    yield "a payload of another alphabet", "payload_encoding", _part(w, 1, lambda part: part + b"+/+/")


def _keys(w: World) -> Rows:
    yield "no kid, and many it could be", "contoso:kid", w.of_contoso(header={"kid": None})
    wrong: tuple[object, ...] = (1, ["ec"], {"a": 1}, True)
    for kid in wrong:
        yield f"kid {kid!r}", "contoso:kid", w.of_contoso(header={"kid": kid})
    yield "kid null", "contoso:kid", w.ec.token(b'{"alg":"ES256","kid":null}', w.payload())
    for name in (
        "../../../../dev/null",
        "' UNION SELECT 'k",
        "EC",
        "ec ",
        "",
        "ec\u0000",
        "https://attacker.example/k",
        "{kid}",
    ):
        yield f"kid {name!r}", "contoso:kid_unknown", w.of_contoso(header={"kid": name})
    yield "a key of another issuer", "contoso:kid_unknown", w.of_contoso(key=w.own)
    yield "another issuer's key of the same kid", "contoso:signature", w.of_contoso(key=w.others_shared)
    yield "the same, the other way", "fabrikam:signature", w.of_fabrikam(key=w.shared)
    yield "a key that nobody published", "contoso:signature", w.of_contoso(key=KeyPair("ec"))
    yield "a key of one tenant for another", "entra:key_issuer", w.of_entra(TENANT_B, key=w.of_a)


def _signatures(w: World) -> Rows:
    yield "no signature", "contoso:signature", _part(w, 2, lambda part: b"")
    yield "a bit of it changed", "contoso:signature", _signature(w, lambda s: bytes((s[0] ^ 1,)) + s[1:])
    yield "cut short", "contoso:signature", _signature(w, lambda s: s[:-1])
    yield "half of it", "contoso:signature", _signature(w, lambda s: s[:32])
    yield "longer", "contoso:signature", _signature(w, lambda s: s + b"\0")
    yield "twice", "contoso:signature", _signature(w, lambda s: s + s)
    yield "of noughts", "contoso:signature", _signature(w, lambda s: bytes(64))
    yield "in DER", "contoso:signature", _signature(w, lambda s: encode_dss_signature(*_numbers(s)))
    yield "its halves changed about", "contoso:signature", _signature(w, lambda s: s[32:] + s[:32])
    yield "of an RSA key, of noughts", "contoso:signature", _signature(w, lambda s: bytes(256), w.rsa)
    yield "of an RSA key, of ones", "contoso:signature", _signature(w, lambda s: b"\xff" * 256, w.rsa)
    yield "of RS256 for PS256", "contoso:signature", w.rsa.token(w.rsa.header(alg="PS256"), w.payload(), "RS256")
    yield "of an Edwards key, of noughts", "contoso:signature", _signature(w, lambda s: bytes(64), w.ed)
    yield "of an Edwards key, with a larger S", "contoso:signature", _signature(w, _larger, w.ed)
    first, second, third = w.of_contoso().split(b".")
    changed = base64url.encode(json.dumps(w.payload(roles=["admin"])).encode())
    yield "of another payload", "contoso:signature", b".".join((first, changed, third))
    other = base64url.encode(json.dumps(w.ec.header(extra=1)).encode())
    yield "of another header", "contoso:signature", b".".join((other, second, third))
    yield "spelled with padding", "signature_encoding", b".".join((first, second, third + b"=="))
    yield "spelled with stray bits", "signature_encoding", _part(w, 2, _stray)
    yield "spelled in the other alphabet", "signature_encoding", _part(w, 2, lambda part: b"+/" + part[2:])
    yield "with a star in it", "signature_encoding", _part(w, 2, lambda part: part[:40] + b"*" + part[40:])


def _issuers(w: World) -> Rows:
    yield "no iss", "iss", w.of_contoso(iss=None)
    for iss in (
        CONTOSO_ISS + "/", CONTOSO_ISS.upper(), CONTOSO_ISS[:-1], CONTOSO_ISS + ".attacker.example", FABRIKAM_ISS[:-1],
        CONTOSO_ISS.replace("https", "http"), " " + CONTOSO_ISS, CONTOSO_ISS + "\u0000", "contoso", "", [CONTOSO_ISS],
        1, True, {"iss": CONTOSO_ISS}, ENTRA_ISS,
        ENTRA_ISS.replace("{tenantid}", "cccccccc-0000-0000-0000-000000000003"),
        ENTRA_ISS.replace("{tenantid}", TENANT_A.upper()), ENTRA_ISS.replace("{tenantid}", f"{TENANT_A}/../{TENANT_B}"),
    ):  # fmt: skip
        yield f"iss {iss!r}", "iss", w.of_contoso(iss=iss)
    yield "another issuer's name", "fabrikam:typ", w.of_contoso(iss=FABRIKAM_ISS)
    yield "tid of another tenant", "entra:tid", w.of_entra(TENANT_A, tid=TENANT_B)
    yield "no tid", "entra:tid", w.of_entra(TENANT_A, tid=None)
    yield "tid a list", "entra:tid", w.of_entra(TENANT_A, tid=[TENANT_A])


def _audiences(w: World) -> Rows:
    yield "no aud", "contoso:aud", w.of_contoso(aud=None)
    for aud in (
        "api://other", "api://penstock-evil", "api://pen", "API://PENSTOCK", "api://penstock/", "", [], {}, 1, True,
        ["api://other"], ["api://penstock", 1], [["api://penstock"]], {"api://penstock": 1}, "api://penstock other",
    ):  # fmt: skip
        yield f"aud {aud!r}", "contoso:aud", w.of_contoso(aud=aud)
    yield "aud null", "contoso:aud", w.raw(_with(w, "aud", "null"))


def _times(w: World) -> Rows:
    now = int(w.payload()["iat"])
    yield "no exp", "contoso:exp", w.of_contoso(exp=None)
    for exp in (str(now + 60), True, [now + 60], {"a": 1}, -1, 10**18, 1e300, 10**400):
        yield f"exp {str(exp)[:20]}", "contoso:exp", w.of_contoso(exp=exp)
    for text in ("1e400", "null", "-1e400"):
        yield f"exp {text}", "contoso:exp", w.raw(_with(w, "exp", text))
    for text in ("NaN", "Infinity", "-Infinity", "9" * 6_000, "0x7fffffff", "1_000"):
        yield f"exp {text[:10]}", "payload_json", w.raw(_with(w, "exp", text))
    yield "expired", "contoso:expired", w.of_contoso(exp=now - 60)
    yield "expired long ago", "contoso:expired", w.of_contoso(exp=0)
    yield "not yet valid", "contoso:not_yet_valid", w.of_contoso(nbf=now + 600)
    dates: tuple[object, ...] = (str(now), True, [], 1e300, -5)
    for nbf in dates:
        yield f"nbf {nbf!r}", "contoso:nbf", w.of_contoso(nbf=nbf)
    yield "no nbf where one is demanded", "fabrikam:nbf", w.of_fabrikam(nbf=None)
    yield "issued in the future", "contoso:issued_in_future", w.of_contoso(iat=now + 600)
    for iat in dates:
        yield f"iat {iat!r}", "contoso:iat", w.of_contoso(iat=iat)


def _claims(w: World) -> Rows:
    yield "a claim twice", "payload_duplicate", w.raw(_with(w, "azp", '"other","azp":"app"'))
    yield "exp twice", "payload_duplicate", w.raw(_with(w, "exp", '1,"exp":9999999999'))
    yield "a claim twice, deep within", "payload_duplicate", w.raw(_with(w, "x", '{"a":[{"b":1,"b":2}]}'))
    yield "a claim twice, once escaped", "payload_duplicate", w.raw(_with(w, "x", '1,"\\u0061zp":"other"'))
    yield "a required claim missing", "contoso:required_claim", w.of_contoso(tid=None)
    for tid in ("t3", "T1", ["t3"], [], 1, True, {"t1": 1}):
        yield f"a required claim {tid!r}", "contoso:required_claim", w.of_contoso(tid=tid)
    yield "no client", "contoso:client", w.of_contoso(azp=None, appid="app")
    for client in (1, ["app"], {"a": 1}, "", True, "a" * 600, "app\u0000", "app\n", "\ud800", "app\u202e"):
        yield f"client {client!r}"[:30], "contoso:client", w.of_contoso(azp=client)
    yield "a client nobody knows", "contoso", w.of_contoso(azp="other"), "unknown_token_client"
    yield "another issuer's client", "contoso", w.of_contoso(azp="APP"), "unknown_token_client"
    for user in (1, ["u"], "", "u\r\nx"):
        yield f"user {user!r}", "contoso:user", w.of_contoso(oid=user)
    for scope in (1, {"a": 1}, [1], [["a"]], True):
        yield f"scp {scope!r}", "contoso:scope", w.of_contoso(scp=scope)
        yield f"scope {scope!r}", "contoso:scope", w.of_contoso(scope=scope)
    yield "roles a number", "contoso:roles", w.of_contoso(roles=1)
    yield "roles with numbers among them", "contoso:roles", w.of_contoso(roles=["a", 1])
    yield "groups an object", "contoso:groups", w.of_contoso(groups={"g": 1})
    yield "more groups than can be", "contoso:groups", w.of_contoso(groups=["g"] * 1_500)
    for confirmation in (
        1, "x", {}, {"jwk": KeyPair("k").jwk}, {"jkt": "a"}, {"x5t#S256": 1}, {"x5t#S256": "short"},
        {"x5t#S256": base64.b64encode(b"\xff" * 32).decode()}, {"x5t#S256": _digest(b"x"), "jkt": "a"},
    ):  # fmt: skip
        yield f"cnf {str(confirmation)[:20]}", "contoso:cnf", w.of_contoso(cnf=confirmation)
    bound = w.of_contoso(cnf={"x5t#S256": _digest(b"of nobody here")})
    yield "bound to a certificate that is not there", "contoso:certificate_binding", bound


def _digest(data: bytes) -> str:
    return base64url.encode(hashlib.sha256(data).digest()).decode()


def _with(w: World, name: str, value: str) -> bytes:
    """A good payload, with one claim's value as it is written."""
    others = json.dumps({claim: v for claim, v in w.payload().items() if claim != name})
    return f'{others[:-1]}, "{name}": {value}}}'.encode()


def _part(w: World, index: int, change: Any) -> bytes:
    parts = w.of_contoso().split(b".")
    parts[index] = change(parts[index])
    return b".".join(parts)


def _signature(w: World, change: Any, key: KeyPair | None = None) -> bytes:
    first, second, third = w.of_contoso(key=key).split(b".")
    return b".".join((first, second, base64url.encode(change(base64url.decode(third)))))


def _numbers(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32]), int.from_bytes(signature[32:])


def _larger(signature: bytes) -> bytes:
    """S plus the group's order: the same point, another spelling (RFC 8032 section 5.1.7)."""
    order = (1 << 252) + 27742317777372353535851937790883648493
    return signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")


def _stray(part: bytes) -> bytes:
    """The last of 86 characters has four bits that say nothing."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1 :][:1]
