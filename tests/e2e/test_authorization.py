"""Each bound of a grant through the real listener: what is refused, by which rule on record, and what is sent on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.mock.mint import TokenIssuer
from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.commands.explain import Given, explain
from proxy.config.load import load
from tests.e2e.gateway import Gateway, config_text, gateway, hashed

CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
V1 = "/openai/v1/chat/completions"

BOUNDS = {
    "tokens": "max_tokens = 32",
    "choices": "max_choices = 2",
    "streams": 'streaming = "required"',
    "whole": 'streaming = "forbidden"',
    "toolless": 'tools = "forbidden"',
    "blind": 'images = "forbidden"',
    "deaf": 'audio = "forbidden"',
}
"""A client for each bound, which has that bound on chat with gpt-4o, and none on anything else."""


PEOPLE = """[[clients]]
name = "people"
token = { issuer = "grants", client = "app" }
[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions"]
scopes = ["chat.read", "chat.write"]
groups = ["engineers"]
[[clients.grants]]
models = ["embed"]
operations = ["embeddings"]
users = ["ann", "bob"]
[[clients.grants]]
models = ["slow"]
operations = ["*"]
roles = ["operator"]
"""


def clients() -> str:
    return PEOPLE + "\n".join(
        f"""[[clients]]
name = "{name}"
key_hashes = ["{hashed("key-of-" + name)}"]
[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions"]
{bound}
[[clients.grants]]
models = ["embed"]
operations = ["embeddings"]
"""
        for name, bound in BOUNDS.items()
    )


@pytest.fixture(scope="module")
def issuer(mock: MockProcess) -> TokenIssuer:
    return TokenIssuer(f"{mock.issuers}/grants")


@pytest.fixture(scope="module")
def bounded(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess, issuer: TokenIssuer
) -> Iterator[Gateway]:
    mock.clear()
    mock.issuer("grants", issuer.jwks)
    more = f"""[[issuers]]
name = "grants"
issuer = "{issuer.iss}"
audiences = ["api://penstock"]
ca = "{pki.server_root}"
"""
    text = config_text(pki, mock, clients=clients(), more=more).replace("workers = 2", "workers = 1")
    with gateway(tmp_path_factory.mktemp("bounded"), pki, mock, text) as running:
        yield running


def chat(**members: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 3, **members}


def said(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
TOOL = {"type": "function", "function": {"name": "f"}}


def explained(
    running: Gateway, record: dict[str, Any], target: str, body: dict[str, Any], *, key: str = "", token: str = ""
) -> None:
    """The explanation says of a request what became of it."""
    file, sent = running.folder / "secret", running.folder / "body"
    sent.write_text(json.dumps(body))
    file.write_text(token or key)
    given = Given(token=file, body=sent) if token else Given(key=file, body=sent)
    told = explain(load(running.config), "POST", target, given)
    assert told.identity is not None
    assert (told.identity.client, told.identity.credential) == (record["client"], record["credential"]["kind"])
    assert told.identity.fingerprint == record["credential"]["fingerprint"]
    assert (told.decision, told.rule, told.model) == (record["decision"], record["rule"], record["model"])
    if told.decision == "refused":
        assert (told.reason, told.status) == (record["reason"], record["status"])
    else:
        assert (told.backends[0].backend, told.backends[0].deployment) == (record["backend"], record["deployment"])


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("tokens", chat(max_completion_tokens=33), "max_tokens: 33 > 32", "at most 32 tokens"),
    ("tokens", chat(max_completion_tokens=None, max_tokens=99), "max_tokens: 99 > 32", "at most 32 tokens"),
    ("choices", chat(n=3), "max_choices: 3 > 2", "at most 2 answers"),
    ("streams", chat(), "streaming: required", "set 'stream' to true"),
    ("whole", chat(stream=True), "streaming: forbidden", "may not ask for streams"),
    ("toolless", chat(tools=[TOOL]), "tools: forbidden", "may not send tools"),
    ("toolless", chat(functions=[{"name": "f"}]), "tools: forbidden", "may not send tools"),
    ("blind", chat(messages=said(PICTURE)), "images: forbidden", "may not send images"),
    ("deaf", chat(messages=said(SOUND)), "audio: forbidden", "may not send audio"),
]


@pytest.mark.parametrize(("name", "body", "rule", "message"), REFUSED)
def test_beyond_a_bound(
    bounded: Gateway, mock: MockProcess, name: str, body: dict[str, Any], rule: str, message: str
) -> None:
    mock.forget()
    with bounded.client("key-of-" + name) as client:
        answer = client.post(V1, json=body)
    assert answer.status_code == 403
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "OperationNotAllowed"
    assert message in answer.json()["error"]["message"]
    record = bounded.record_of(answer.headers["x-request-id"])
    assert (record["client"], record["decision"], record["reason"]) == (name, "refused", "parameter_not_granted")
    assert record["rule"] == f"grants[0].{rule}"
    assert mock.received() == []
    explained(bounded, record, V1, body, key="key-of-" + name)


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("tokens", chat(max_completion_tokens=32)),
    ("choices", chat(n=2)),
    ("streams", chat(stream=True)),
    ("whole", chat(stream=False)),
    ("toolless", chat(tools=[], messages=said(PICTURE, SOUND))),
    ("blind", chat(tools=[TOOL], messages=said(SOUND))),
    ("deaf", chat(tools=[TOOL], messages=said(PICTURE))),
]


@pytest.mark.parametrize(("name", "body"), ALLOWED)
def test_within_a_bound(bounded: Gateway, mock: MockProcess, name: str, body: dict[str, Any]) -> None:
    mock.forget()
    with bounded.client("key-of-" + name) as client:
        answer = client.post(CHAT.format("gpt-4o"), json=body)
    assert answer.status_code == 200
    record = bounded.record_of(answer.headers["x-request-id"])
    assert record["rule"] == "grants[0]"
    explained(bounded, record, CHAT.format("gpt-4o"), body, key="key-of-" + name)
    received = json.loads(mock.received()[-1]["body"])
    received.pop("stream_options", None)
    assert received == body


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (V1, {"max_completion_tokens": 32}),
        (CHAT.format("gpt-4o"), {"max_completion_tokens": 32}),
        (CHAT.format("gpt-4o").replace("2024-10-21", "2024-06-01"), {"max_tokens": 32}),
    ],
)
def test_a_request_that_names_no_limit_gets_the_bound(
    bounded: Gateway, mock: MockProcess, target: str, expected: dict[str, int]
) -> None:
    mock.forget()
    body = chat()
    del body["max_completion_tokens"]
    with bounded.client("key-of-tokens") as client:
        assert client.post(target, json=body).status_code == 200
    received = json.loads(mock.received()[-1]["body"])
    assert {key: value for key, value in received.items() if key.startswith("max_")} == expected


def test_a_later_grant_may_allow_what_the_first_does_not(bounded: Gateway) -> None:
    with bounded.client("key-of-streams") as client:
        answer = client.post("/openai/v1/embeddings", json={"model": "embed", "input": "a"})
    assert answer.status_code == 200
    assert bounded.record_of(answer.headers["x-request-id"])["rule"] == "grants[1]"


def test_a_model_that_is_not_granted_is_refused_before_the_body_is_sent(bounded: Gateway) -> None:
    head = b"POST /openai/deployments/slow/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nhost: localhost\r\n"
    head += b"api-key: key-of-tokens\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
    answer = bounded.raw(head + b"expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403")


def test_only_what_is_granted_is_listed(bounded: Gateway) -> None:
    for target in ("/openai/v1/models", "/openai/deployments?api-version=2024-10-21"):
        with bounded.client("key-of-tokens") as client:
            assert [entry["id"] for entry in client.get(target).json()["data"]] == ["embed", "gpt-4o"]


EMBED = {"model": "embed", "input": "a"}
EMBEDDINGS = "/openai/v1/embeddings"
TOKENS: list[tuple[dict[str, Any], str, dict[str, Any], str, str]] = [
    ({"scp": "chat.write mail", "groups": ["engineers"]}, V1, chat(), "allowed", "grants[0]"),
    ({"scope": "chat.read", "groups": ["x", "engineers"]}, V1, chat(), "allowed", "grants[0]"),
    (
        {"scp": "chat", "groups": ["engineers"]},
        V1,
        chat(),
        "scope_missing",
        "grants[0].scopes: none of chat.read, chat.write",
    ),
    ({"groups": ["engineers"]}, V1, chat(), "scope_missing", "grants[0].scopes: none of chat.read, chat.write"),
    ({"scp": "chat.write"}, V1, chat(), "group_missing", "grants[0].groups: none of engineers"),
    ({"oid": "bob"}, EMBEDDINGS, EMBED, "allowed", "grants[1]"),
    ({"oid": "eve"}, EMBEDDINGS, EMBED, "user_not_granted", "grants[1].users: none of ann, bob"),
    ({"roles": ["operator"]}, V1, chat(model="slow", max_completion_tokens=1), "allowed", "grants[2]"),
    ({"roles": ["reader"]}, V1, chat(model="slow"), "role_missing", "grants[2].roles: none of operator"),
]


@pytest.mark.parametrize(("claims", "target", "body", "outcome", "rule"), TOKENS)
def test_what_a_token_may_do(
    bounded: Gateway,
    issuer: TokenIssuer,
    claims: dict[str, Any],
    target: str,
    body: dict[str, Any],
    outcome: str,
    rule: str,
) -> None:
    token = issuer.mint(**claims).decode()
    with bounded.client(None) as client:
        answer = client.post(target, json=body, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == (200 if outcome == "allowed" else 403)
    assert "chat.read" not in answer.text
    record = bounded.record_of(answer.headers["x-request-id"])
    assert (record["client"], record["rule"]) == ("people", rule)
    assert record["reason"] == (None if outcome == "allowed" else outcome)
    challenge = 'Bearer realm="penstock", error="insufficient_scope"' if outcome == "scope_missing" else None
    assert answer.headers.get("www-authenticate") == challenge
    explained(bounded, record, target, body, token=token)


def test_a_token_sees_the_models_it_may_use(bounded: Gateway, issuer: TokenIssuer) -> None:
    for claims, models in (({"oid": "ann"}, ["embed"]), ({"roles": ["operator"]}, ["slow"]), ({}, [])):
        with bounded.client(None) as client:
            token = issuer.mint(**claims).decode()
            answer = client.get("/openai/v1/models", headers={"authorization": f"Bearer {token}"})
        assert [entry["id"] for entry in answer.json()["data"]] == models


def test_the_admin_address_explains_by_what_runs(bounded: Gateway) -> None:
    def ask(**question: Any) -> Any:
        return bounded.api("POST", "/api/explain", json={"client": "people", "target": V1, **question})

    told = ask(scopes=["chat.read"], groups=["engineers"], body={"model": "gpt-4o"}).json()
    assert (told["decision"], told["rule"]) == ("allowed", "grants[0]")
    assert [(backend["backend"], backend["turn"]) for backend in told["backends"]] == [("swc", 1), ("frc", 2)]
    told = ask(groups=["engineers"], body={"model": "gpt-4o"}).json()
    assert (told["status"], told["reason"]) == (403, "scope_missing")
    assert [grant["field"] for grant in told["grants"]] == ["scopes", "operations", "models"]
    assert ask(client="nobody").status_code == 404
