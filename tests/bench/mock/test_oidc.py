"""The mock's issuers: documents a real reader takes, tokens a real verifier takes, and what goes wrong with both."""

from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest

from bench.mock.mint import KeyPair, TokenIssuer
from bench.mock.process import MockProcess
from tests.bench.mock.raw import Client, request


def get(mock: MockProcess, root: Path, path: str) -> tuple[int, bytes]:
    with Client(mock.issuers, root) as client:
        response = client.ask(request(path, method="GET", host=urlsplit(mock.issuers).netloc))
        return response.status, response.body


@pytest.mark.parametrize("alg", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_tokens_verify_by_what_is_published(alg: str) -> None:
    issuer = TokenIssuer("https://issuer", KeyPair("k", alg))
    key = jwt.PyJWKSet.from_dict(issuer.jwks)["k"]
    assert jwt.decode(issuer.mint(), key.key, algorithms=[alg], audience=issuer.audience)["azp"] == "app"
    assert "d" not in issuer.keys[0].jwk


def test_documents(mock: MockProcess, root: Path) -> None:
    issuer = TokenIssuer(f"{mock.issuers}/contoso", KeyPair("1"))
    mock.issuer("contoso", issuer.jwks)
    status, document = get(mock, root, "/contoso/.well-known/openid-configuration")
    assert (status, f'"issuer":"{issuer.iss}"'.encode() in document) == (200, True)
    assert b'"kid":"1"' in get(mock, root, "/contoso/keys")[1]
    mock.issuer("contoso", TokenIssuer(issuer.iss, KeyPair("2")).jwks, {"issuer": "https://elsewhere"})
    assert b'"kid":"2"' in get(mock, root, "/contoso/keys")[1]
    assert b'"issuer":"https://elsewhere"' in get(mock, root, "/contoso/.well-known/openid-configuration")[1]
    assert get(mock, root, "/fabrikam/keys")[0] == 404
    mock.fault("malformed", instance="issuer:contoso")
    assert get(mock, root, "/contoso/keys")[1].startswith(b"<html>")
    mock.clear()
    assert len(mock.received("issuer:contoso")) == 5
    assert mock.received() == []
