"""The real credentials of azure-identity against the mock's token endpoints, and what instances make of the tokens."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import ClientSecretCredential, CredentialUnavailableError, ManagedIdentityCredential

from bench.mock.identity import Tokens
from bench.mock.process import MockProcess
from tests.bench.mock.raw import CHAT, MESSAGES, Client, Response, request

SCOPE = "https://cognitiveservices.azure.com/.default"
CLIENT_ID = "6f1c0000-0000-0000-0000-000000000001"
METADATA = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://cognitiveservices.azure.com"


@pytest.fixture
def imds(mock: MockProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentityCredential]:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", mock.identity)
    with ManagedIdentityCredential(retry_total=0) as credential:
        yield credential


def application(mock: MockProcess, root: Path, secret: str = "the-secret", **more: Any) -> ClientSecretCredential:
    return ClientSecretCredential(
        "00000000-0000-0000-0000-00000000000a",
        more.pop("client_id", CLIENT_ID),
        secret,
        authority=mock.entra,
        disable_instance_discovery=True,
        connection_verify=str(root),
        retry_total=0,
        **more,
    )


def ask(mock: MockProcess, root: Path, token: str) -> Response:
    with Client(mock.urls["swc"], root) as client:
        return client.ask(
            request(CHAT.format("gpt-4o"), {"messages": MESSAGES}, api_key="", authorization=f"Bearer {token}")
        )


def metadata(mock: MockProcess, target: str = METADATA, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(mock.identity).netloc, timeout=10)
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_managed_identity(mock: MockProcess, root: Path, imds: ManagedIdentityCredential) -> None:
    token = imds.get_token(SCOPE)
    assert ask(mock, root, token.token).status == 200
    (asked,) = mock.received("identity")
    assert ("metadata", "true") in [(name, value.lower()) for name, value in asked["headers"]]
    assert mock.received() != [], "only the request to the instance"
    assert [entry["instance"] for entry in mock.received()] == ["swc"]


def test_a_user_assigned_identity_and_one_that_is_not_there(
    mock: MockProcess, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", mock.identity)
    with ManagedIdentityCredential(client_id=CLIENT_ID, retry_total=0) as mine:
        assert ask(mock, root, mine.get_token(SCOPE).token).status == 200
    with (
        ManagedIdentityCredential(client_id="another", retry_total=0) as other,
        pytest.raises(CredentialUnavailableError),
    ):
        other.get_token(SCOPE)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (METADATA, {"Metadata": "true"}, 200),
        (METADATA, {}, 400),
        (METADATA, {"Metadata": "false"}, 400),
        (METADATA.partition("&")[0], {"Metadata": "true"}, 400),
        (METADATA.replace("api-version", "version"), {"Metadata": "true"}, 400),
        ("/metadata/instance", {"Metadata": "true"}, 404),
    ],
)
def test_what_the_metadata_endpoint_demands(
    mock: MockProcess, target: str, headers: dict[str, str], status: int
) -> None:
    got, body = metadata(mock, target, **headers)
    assert got == status
    if status == 200:
        assert int(body["expires_on"]) - int(body["not_before"]) == int(body["expires_in"]) == 3600
        assert body["resource"] == "https://cognitiveservices.azure.com"
    else:
        assert body["error"]


def test_client_secret(mock: MockProcess, root: Path) -> None:
    with application(mock, root) as credential:
        assert ask(mock, root, credential.get_token(SCOPE).token).status == 200


@pytest.mark.parametrize("wrong", [{"secret": "another"}, {"client_id": "another"}])
def test_who_cannot_prove_itself(mock: MockProcess, root: Path, wrong: dict[str, str]) -> None:
    with application(mock, root, **wrong) as credential, pytest.raises(ClientAuthenticationError, match="AADSTS"):
        credential.get_token(SCOPE)


def test_a_token_of_another_audience_is_refused(mock: MockProcess, root: Path) -> None:
    with application(mock, root) as credential:
        assert ask(mock, root, credential.get_token("https://vault.azure.net/.default").token).status == 401


def test_a_revoked_token_is_refused(mock: MockProcess, root: Path, imds: ManagedIdentityCredential) -> None:
    token = imds.get_token(SCOPE).token
    mock.tokens(revoke=True)
    assert ask(mock, root, token).status == 401


def test_tokens_expire() -> None:
    tokens = Tokens(60.0)
    token, expires = tokens.issue("https://cognitiveservices.azure.com", 1000.0)
    assert expires == 1060.0
    assert tokens.valid(token, 1059.0)
    assert not tokens.valid(token, 1060.0)
    assert not tokens.valid(token + "x", 1000.0)
    tokens.life = 10.0
    assert tokens.issue("https://ai.azure.com/", 2000.0)[1] == 2010.0
    assert tokens.issued == 2


@pytest.mark.parametrize("mode", ["down", "error", "throttle"])
def test_the_metadata_endpoint_fails(mock: MockProcess, imds: ManagedIdentityCredential, mode: Any) -> None:
    mock.identity_mode(mode)
    with pytest.raises((CredentialUnavailableError, ClientAuthenticationError)):
        imds.get_token(SCOPE)
    mock.identity_mode("ok")
    with ManagedIdentityCredential(retry_total=0) as anew:  # MSAL keeps an error for a minute, and gives it again
        assert anew.get_token(SCOPE).token


@pytest.mark.parametrize("mode", ["down", "error", "throttle"])
def test_entra_fails(mock: MockProcess, root: Path, mode: Any) -> None:
    mock.identity_mode(mode)
    with (
        application(mock, root) as credential,
        pytest.raises((ClientAuthenticationError, ServiceRequestError, ServiceResponseError, ValueError)),
    ):
        credential.get_token(SCOPE)
    mock.identity_mode("ok")
    with application(mock, root) as credential:
        assert credential.get_token(SCOPE).token


def test_a_throttled_metadata_endpoint_is_tried_again(mock: MockProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", mock.identity)
    mock.fault("throttle", instance="identity", times=1)
    with ManagedIdentityCredential() as credential:
        assert credential.get_token(SCOPE).token
    assert [entry["status"] for entry in mock.received("identity")] == [429, 200]


def test_a_slow_metadata_endpoint_answers_at_last(mock: MockProcess, imds: ManagedIdentityCredential) -> None:
    mock.identity_mode("slow", delay=0.2)
    assert imds.get_token(SCOPE).token
    mock.clear()


def test_a_metadata_endpoint_that_hangs_is_left(mock: MockProcess) -> None:
    mock.fault("hang", instance="identity")
    connection = http.client.HTTPConnection(urlsplit(mock.identity).netloc, timeout=0.2)
    connection.request("GET", METADATA, headers={"Metadata": "true"})
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    (entry,) = mock.await_received(lambda found: found[-1]["ended"] is not None, instance="identity")
    assert (entry["ended"], entry["status"]) == ("client_gone", None)
