"""Keys over the admin address: asked for in JSON, shown once, and no request that could not be one is taken for one."""

import json

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from proxy.admin.keys import IssueKey, NewKey, RotateKey, key_routes
from proxy.admin.page import render
from tests.admin.test_server import SAFE, code
from tests.admin.world import BEARER, Desk, Gateway, admin_of, key_status, status


async def ask(gateway: Gateway, method: str, path: str, **more: object) -> httpx.Response:
    async with admin_of(gateway) as client:
        return await client.request(method, path, **{"headers": BEARER, **more})  # type: ignore[arg-type]


async def test_the_list_is_all_keys_without_the_keys() -> None:
    response = await ask(Gateway(), "GET", "/api/keys")
    assert response.status_code == 200
    assert [key["id"] for key in response.json()["keys"]] == ["key-0011aabbccdd", "key-2"]
    assert response.json()["keys"][0] == msgspec.to_builtins(key_status())


async def test_a_key_is_issued_and_shown_once_to_nobody_else() -> None:
    gateway = Gateway()
    wanted = {"client": "turbine-7", "expires": "90d", "note": "line 7"}
    response = await ask(gateway, "POST", "/api/keys", json=wanted)
    assert response.status_code == 201
    made = msgspec.json.decode(response.content, type=NewKey)
    assert (made.key, made.issued.id) == ("penstock_shown-once", "key-3")
    assert "penstock_" not in repr(made)
    assert SAFE.items() <= dict(response.headers).items()
    assert gateway.keys.asked == [IssueKey(client="turbine-7", expires="90d", note="line 7")]


async def test_a_rotation_may_let_the_old_key_end() -> None:
    gateway = Gateway()
    response = await ask(gateway, "POST", "/api/keys/rotate", json={"client": "turbine-7", "old_expires": "7d"})
    assert (response.status_code, response.json()["other"]["id"]) == (201, "key-0011aabbccdd")
    assert gateway.keys.asked == [RotateKey(client="turbine-7", old_expires="7d")]


async def test_a_key_is_revoked_by_its_id() -> None:
    gateway = Gateway()
    response = await ask(gateway, "POST", "/api/keys/key-2/revoke")
    assert (response.status_code, response.json()["state"]) == (200, "revoked")
    unknown = await ask(gateway, "POST", "/api/keys/key-9/revoke")
    assert (unknown.status_code, code(unknown)) == (404, "UnknownKey")


ISSUE = "/api/keys"
JSON = {**BEARER, "content-type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "content", "expected"),
    [
        (JSON, b'{"client": "nobody"}', (422, "UnknownClient")),
        (JSON, b"{}", (400, "BadRequest")),
        (JSON, b"", (400, "BadRequest")),
        (JSON, b"{nope", (400, "BadRequest")),
        (JSON, b'{"client": "\xff"}', (400, "BadRequest")),
        (JSON, b'{"client": 7}', (400, "BadRequest")),
        (JSON, b"[" * 900, (400, "BadRequest")),
        (JSON, b'{"client": "turbine-7", "expire": "90d"}', (400, "BadRequest")),
        (JSON, json.dumps({"client": "turbine-7", "note": "x" * 1100}).encode(), (413, "RequestTooLarge")),
        ({**BEARER, "content-type": "text/plain"}, b'{"client": "turbine-7"}', (415, "UnsupportedMediaType")),
        (BEARER, b'{"client": "turbine-7"}', (415, "UnsupportedMediaType")),
        ({**BEARER, "content-type": "application/x-www-form-urlencoded"}, b"client=x", (415, "UnsupportedMediaType")),
        ({"content-type": "application/json"}, b'{"client": "turbine-7"}', (401, "Unauthorized")),
        ({**JSON, "origin": "http://evil.example"}, b'{"client": "turbine-7"}', (403, "CrossSite")),
        ({**JSON, "host": "evil.example"}, b'{"client": "turbine-7"}', (421, "MisdirectedRequest")),
    ],
)
async def test_what_is_refused(headers: dict[str, str], content: bytes, expected: tuple[int, str]) -> None:
    gateway = Gateway()
    response = await ask(gateway, "POST", ISSUE, headers=headers, content=content)
    assert (response.status_code, code(response)) == expected
    assert gateway.keys.asked in ([], [IssueKey(client="nobody")])


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("DELETE", "/api/keys", 405),
        ("GET", "/api/keys/rotate", 405),
        ("GET", "/api/keys/key-2/revoke", 405),
        ("GET", "/api/keys/key-2", 404),
        ("POST", "/api/keys/key-2/more/revoke", 404),
    ],
)
async def test_what_is_not_there(method: str, path: str, expected: int) -> None:
    assert (await ask(Gateway(), method, path)).status_code == expected


async def test_a_body_without_a_length_is_bounded_all_the_same() -> None:
    """HTTP/2 needs no content-length, so what comes is counted too."""

    desk = Desk()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * 100, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": ISSUE, "headers": headers, "query_string": b""}
    await Starlette(routes=key_routes(desk))(scope, receive, send)
    assert [message.get("status") for message in sent] == [413, None]
    assert desk.asked == []


def test_the_page_shows_keys_and_lets_no_text_become_markup() -> None:
    hostile = key_status(note="<script>alert(1)</script>", last_used=None, expires=None, state="suspended")
    page = render(status(keys=(key_status(), hostile)), ready=True, reasons=[])
    for words in ("key-0011aabbccdd", "in 70 d", "1 min 1 s ago", "line 7", "never", "suspended"):
        assert words in page
    assert "<script>alert" not in page
