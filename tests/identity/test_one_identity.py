"""One identity: every combination of a certificate, a token and a key, each of any standing, under `any` and `all`.

Two clients have all three kinds. `a` and `b` stand for a good credential of each; `?` for a good one that is nobody's
(a key that is nobody's is no good one); `x` for one that is no good; `-` for none. A certificate that is no good does
not get through the handshake, and one that was revoked has tests of its own.
"""

import hashlib
import itertools
import time

import msgspec
import pytest

from bench.mock.mint import KeyPair, TokenIssuer
from proxy.config.structs import Client, Issuer
from proxy.identity import base64url, jwks
from proxy.identity.authenticate import Directory, Presented
from proxy.identity.certificate import CertificateFacts
from proxy.identity.known import IssuerKeys, Known
from proxy.refusal import Refused

NOW = time.time()
ISSUER = TokenIssuer("https://issuer.example", KeyPair("1"), clock=lambda: NOW)
KNOWN = Known()
KNOWN.signing_keys["issuer"] = IssuerKeys(1, jwks.read(msgspec.json.encode(ISSUER.jwks)).keys)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def facts(name: str) -> CertificateFacts:
    return CertificateFacts(digest(name.encode()), "CN=CA", f"CN={name}", frozenset((f"spiffe://x/{name}",)))


CERTIFICATES = {"-": None, "a": facts("a"), "b": facts("b"), "?": facts("nobody")}
KEYS = {"-": (), "a": (b"key-of-a",), "b": (b"key-of-b",), "x": (b"no-key",)}
TOKENS = {
    "-": (),
    "a": (ISSUER.mint(azp="a"),),
    "b": (ISSUER.mint(azp="b"),),
    "?": (ISSUER.mint(azp="nobody"),),
    "x": (ISSUER.mint(azp="a", exp=1),),
}


def directory(require: str, kinds: str = "certificate token key") -> Directory:
    clients = tuple(
        msgspec.convert(
            {
                "name": name,
                "certificate": {"san_uri": [f"spiffe://x/{name}"]} if "certificate" in kinds else None,
                "token": {"issuer": "issuer", "client": name} if "token" in kinds else None,
                "key_hashes": [digest(f"key-of-{name}".encode())] if "key" in kinds else [],
                "require": require,
            },
            Client,
        )
        for name in "ab"
    )
    return Directory(clients, (Issuer(name="issuer", issuer=ISSUER.iss, audiences=(ISSUER.audience,)),))


def outcome(where: Directory, certificate: str, token: str, key: str) -> str:
    """`a token`: the client and what named it; or the reason, and the rule where that is a word."""
    presented = Presented(CERTIFICATES[certificate], KEYS[key], TOKENS[token])
    try:
        principal = where.authenticate(presented, KNOWN, NOW)
    except Refused as refused:
        reason = refused.reason
    else:
        return f"{principal.client} {principal.kind}"
    assert reason.terms.status == 401
    return reason.value


TABLE = """
    certificate, token, key; under "any", and under "all"

    - - -   no_credential           no_credential
    - - a   a key                   credential_missing
    - - b   b key                   credential_missing
    - - x   unknown_key             unknown_key
    - a -   a token                 credential_missing
    - a a   a token                 credential_missing
    - a b   credentials_disagree    credentials_disagree
    - a x   unknown_key             unknown_key
    - b -   b token                 credential_missing
    - b a   credentials_disagree    credentials_disagree
    - b b   b token                 credential_missing
    - b x   unknown_key             unknown_key
    - ? -   unknown_token_client    unknown_token_client
    - ? a   unknown_token_client    unknown_token_client
    - ? b   unknown_token_client    unknown_token_client
    - ? x   unknown_token_client    unknown_token_client
    - x -   invalid_token           invalid_token
    - x a   invalid_token           invalid_token
    - x b   invalid_token           invalid_token
    - x x   invalid_token           invalid_token
    a - -   a certificate           credential_missing
    a - a   a key                   credential_missing
    a - b   credentials_disagree    credentials_disagree
    a - x   unknown_key             unknown_key
    a a -   a token                 credential_missing
    a a a   a token                 a token
    a a b   credentials_disagree    credentials_disagree
    a a x   unknown_key             unknown_key
    a b -   credentials_disagree    credentials_disagree
    a b a   credentials_disagree    credentials_disagree
    a b b   credentials_disagree    credentials_disagree
    a b x   unknown_key             unknown_key
    a ? -   unknown_token_client    unknown_token_client
    a ? a   unknown_token_client    unknown_token_client
    a ? b   unknown_token_client    unknown_token_client
    a ? x   unknown_token_client    unknown_token_client
    a x -   invalid_token           invalid_token
    a x a   invalid_token           invalid_token
    a x b   invalid_token           invalid_token
    a x x   invalid_token           invalid_token
    b - -   b certificate           credential_missing
    b - a   credentials_disagree    credentials_disagree
    b - b   b key                   credential_missing
    b - x   unknown_key             unknown_key
    b a -   credentials_disagree    credentials_disagree
    b a a   credentials_disagree    credentials_disagree
    b a b   credentials_disagree    credentials_disagree
    b a x   unknown_key             unknown_key
    b b -   b token                 credential_missing
    b b a   credentials_disagree    credentials_disagree
    b b b   b token                 b token
    b b x   unknown_key             unknown_key
    b ? -   unknown_token_client    unknown_token_client
    b ? a   unknown_token_client    unknown_token_client
    b ? b   unknown_token_client    unknown_token_client
    b ? x   unknown_token_client    unknown_token_client
    b x -   invalid_token           invalid_token
    b x a   invalid_token           invalid_token
    b x b   invalid_token           invalid_token
    b x x   invalid_token           invalid_token
    ? - -   unknown_certificate     unknown_certificate
    ? - a   a key                   unknown_certificate
    ? - b   b key                   unknown_certificate
    ? - x   unknown_key             unknown_key
    ? a -   a token                 unknown_certificate
    ? a a   a token                 unknown_certificate
    ? a b   credentials_disagree    credentials_disagree
    ? a x   unknown_key             unknown_key
    ? b -   b token                 unknown_certificate
    ? b a   credentials_disagree    credentials_disagree
    ? b b   b token                 unknown_certificate
    ? b x   unknown_key             unknown_key
    ? ? -   unknown_token_client    unknown_token_client
    ? ? a   unknown_token_client    unknown_token_client
    ? ? b   unknown_token_client    unknown_token_client
    ? ? x   unknown_token_client    unknown_token_client
    ? x -   invalid_token           invalid_token
    ? x a   invalid_token           invalid_token
    ? x b   invalid_token           invalid_token
    ? x x   invalid_token           invalid_token
"""
ROWS = TABLE.splitlines()[3:]


def test_the_table_is_whole() -> None:
    every = itertools.product(CERTIFICATES, TOKENS, KEYS)
    assert [tuple(row.split()[:3]) for row in ROWS] == list(every)


@pytest.mark.parametrize("require", ["any", "all"])
def test_one_identity(require: str) -> None:
    where = directory(require)
    for line in ROWS:
        certificate, token, key = line.split()[:3]
        expected = line[12:36].strip() if require == "any" else line[36:].strip()
        for _ in range(2):
            assert outcome(where, certificate, token, key) == expected, line


@pytest.mark.parametrize(
    ("kinds", "good"),
    [("certificate token", ("a", "a", "-")), ("certificate key", ("a", "-", "a")), ("token key", ("-", "a", "a"))],
)
def test_two_kinds_of_which_all_are_required(kinds: str, good: tuple[str, str, str]) -> None:
    where = directory("all", kinds)
    assert outcome(where, *good).startswith("a ")
    for index, state in enumerate(good):
        if state == "-":
            continue
        for other in "-b":
            changed = (*good[:index], other, *good[index + 1 :])
            assert outcome(where, *changed) == ("credential_missing" if other == "-" else "credentials_disagree")


@pytest.mark.parametrize("kinds", ["certificate", "token", "key"])
def test_one_kind_of_which_all_are_required(kinds: str) -> None:
    shown = ["a" if kind == kinds else "-" for kind in ("certificate", "token", "key")]
    assert outcome(directory("all", kinds), *shown) == f"a {kinds}"


@pytest.mark.parametrize(
    ("shown", "result"), [("a", "a token"), ("-", "invalid_token"), ("b", "invalid_token"), ("?", "invalid_token")]
)
def test_a_token_bound_to_a_certificate(shown: str, result: str) -> None:
    """RFC 8705 section 3: whoever stole the token has not got the certificate's key."""
    bound = base64url.encode(hashlib.sha256(b"a").digest()).decode()
    token = ISSUER.mint(azp="a", cnf={"x5t#S256": bound})
    for require in ("any", "all"):
        where = directory(require, "certificate token")
        for certificate in ("a", shown):  # the first is remembered, and helps the second to nothing
            presented = Presented(CERTIFICATES[certificate], (), (token,))
            try:
                principal = where.authenticate(presented, KNOWN, NOW)
            except Refused as refused:
                found = refused.reason.value
            else:
                found = f"{principal.client} {principal.kind}"
        assert found == result


def test_a_bound_token_and_a_certificate_that_is_nobodys() -> None:
    """It proves that the token is its bearer's own; whose, the token says."""
    bound = base64url.encode(hashlib.sha256(b"nobody").digest()).decode()
    token = ISSUER.mint(azp="a", cnf={"x5t#S256": bound})
    principal = directory("any").authenticate(Presented(CERTIFICATES["?"], (), (token,)), KNOWN, NOW)
    assert (principal.client, principal.kind) == ("a", "token")
