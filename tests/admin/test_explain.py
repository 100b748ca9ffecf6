"""Explanations over the admin address: asked for in JSON, and nothing else is taken for a question."""

import pytest

from tests.admin.test_server import code
from tests.admin.world import BEARER, Gateway, admin_of

CHAT = "/openai/v1/chat/completions"


async def test_a_question_is_answered() -> None:
    gateway = Gateway()
    question = {"client": "turbine-7", "target": CHAT, "scopes": ["chat.write"], "body": {"model": "gpt-4o"}}
    async with admin_of(gateway) as client:
        response = await client.post("/api/explain", headers=BEARER, json=question)
    assert response.status_code == 200
    assert (response.json()["decision"], response.json()["rule"]) == ("allowed", "grants[0]")
    (asked,) = gateway.asked
    assert (asked.method, asked.scopes, asked.body) == ("POST", frozenset(("chat.write",)), {"model": "gpt-4o"})


@pytest.mark.parametrize(
    ("content", "kind", "status", "error"),
    [
        (b'{"client":"nobody","target":"/"}', "application/json", 404, "UnknownClient"),
        (b'{"client":"turbine-7"}', "application/json", 400, "BadRequest"),
        (b'{"client":"turbine-7","target":"/","scope":"a"}', "application/json", 400, "BadRequest"),
        (b'{"client":"turbine-7","target":"/","body":[1]}', "application/json", 400, "BadRequest"),
        (b"{", "application/json", 400, "BadRequest"),
        (b"\xff", "application/json", 400, "BadRequest"),
        (b'{"client":"turbine-7","target":"/"}', "text/plain", 415, "UnsupportedMediaType"),
        (b" " * 2000, "application/json", 413, "RequestTooLarge"),
    ],
)
async def test_what_is_no_question(content: bytes, kind: str, status: int, error: str) -> None:
    async with admin_of(Gateway()) as client:
        headers = {**BEARER, "content-type": kind}
        response = await client.post("/api/explain", headers=headers, content=content)
    assert (response.status_code, code(response)) == (status, error)


async def test_nobody_asks_without_the_token() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        response = await client.post("/api/explain", json={"client": "turbine-7", "target": CHAT})
    assert response.status_code == 401
    assert not gateway.asked
