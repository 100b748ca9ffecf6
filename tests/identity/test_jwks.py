"""JWKS documents: public signing keys come through, cut down to what is public; nothing else does, whatever it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mock.mint import KeyPair
from proxy.identity import jwks

EC, RSA, ED = KeyPair("ec").jwk, KeyPair("rsa", "RS256").jwk, KeyPair("ed", "EdDSA").jwk
SMALL = KeyPair("small", "RS256", bits=1024).jwk


def read(*entries: object) -> jwks.KeySet:
    return jwks.read(json.dumps({"keys": entries}).encode())


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (EC, {"ES256"}),
        (KeyPair("k", "ES384").jwk, {"ES384"}),
        (KeyPair("k", "ES512").jwk, {"ES512"}),
        (ED, {"EdDSA"}),
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (RSA | {"alg": "PS256"}, {"PS256"}),
        (RSA | {"use": "sig", "key_ops": ["verify"], "x5c": ["MIIB"], "x5t": "a", "unknown": {"a": 1}}, None),
        ({name: value for name, value in EC.items() if name not in ("use", "kid")}, {"ES256"}),
    ],
)
def test_signing_keys(entry: dict[str, Any], algorithms: set[str] | None) -> None:
    (key,), skipped = read(entry)
    assert skipped == ()
    assert key.kid == entry.get("kid")
    assert set(json.loads(key.jwk)) <= {"kty", "crv", "n", "e", "x", "y", "alg", "kid", "issuer"}
    loaded = jwks.load(key)
    assert algorithms is None or set(loaded.algorithms) == algorithms


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"},
        {"kty": "oct", "kid": "s"},
        EC | {"d": "AAAA"},
        RSA | {"d": "AAAA"},
        RSA | {"p": "AAAA", "q": "AAAA"},
        EC | {"k": "AAAA"},
        RSA | {"use": "enc"},
        RSA | {"use": 1},
        RSA | {"key_ops": ["encrypt"]},
        RSA | {"key_ops": []},
        RSA | {"key_ops": "verify"},
        RSA | {"alg": "HS256"},
        RSA | {"alg": "ES256"},
        RSA | {"alg": "none"},
        RSA | {"alg": 1},
        RSA | {"alg": "RSA-OAEP"},
        SMALL,
        RSA | {"n": RSA["n"] * 8},
        RSA | {"n": RSA["n"] + "="},
        RSA | {"n": 1},
        RSA | {"e": RSA["n"]},
        RSA | {"e": "AA"},
        {"kty": "RSA"},
        EC | {"crv": "secp256k1"},
        EC | {"crv": "P-384"},
        EC | {"crv": ["P-256"]},
        EC | {"x": EC["y"], "y": EC["y"]},
        EC | {"x": "AAAA"},
        EC | {"kty": "ec"},
        ED | {"crv": "X25519"},
        ED | {"x": "AAAA"},
        EC | {"kid": 1},
        EC | {"kid": ""},
        EC | {"kid": "a\nb"},
        EC | {"kid": "a" * 300},
        EC | {"issuer": 1},
        {},
        [],
        None,
        "key",
    ],
)
def test_what_is_no_signing_key_is_left_out(entry: object) -> None:
    keys, skipped = read(entry, ED)
    assert [key.kid for key in keys] == ["ed"]
    assert len(skipped) == 1
    with pytest.raises(jwks.BadKeys):
        read(entry)


@pytest.mark.parametrize(
    "document",
    [
        b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":null}', b"null", b"\xff",
        b'{"keys":NaN}', b'{"keys":[],"keys":[]}', b'{"keys":' + b"[" * 9_000, b" " * (jwks.DOCUMENT + 1),
        json.dumps({"keys": [EC] * 65}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_document(document: bytes) -> None:
    with pytest.raises(jwks.BadKeys) as caught:
        jwks.read(document)
    assert caught.value.fact.isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_give_keys_or_a_clean_refusal(document: bytes) -> None:
    with pytest.raises(jwks.BadKeys):
        jwks.read(document)
