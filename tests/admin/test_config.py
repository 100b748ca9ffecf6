"""The configuration over the admin address: what is asked for, what is refused before it is looked at."""

from typing import Any

import pytest
import trio

from proxy.admin.guard import LOOPBACK_NAMES, Guard
from tests.admin.world import BEARER, TOKEN, Gateway, admin_of

TOML = BEARER | {"content-type": "application/toml"}
PUT = TOML | {"if-match": '"7"'}


async def test_what_is_in_force() -> None:
    async with admin_of(Gateway()) as client:
        shown = await client.get("/api/config", headers=BEARER)
        assert shown.headers["etag"] == '"7"'
        assert shown.json()["version"] == 7
        assert shown.json()["config"] == {"listen": {"workers": 0}}
        text = await client.get("/api/config", headers=BEARER | {"accept": "application/toml"})
        assert (text.text, text.headers["etag"]) == ("# in force\n", '"7"')
        assert text.headers["content-type"].startswith("application/toml")


async def test_versions() -> None:
    async with admin_of(Gateway()) as client:
        versions = (await client.get("/api/config/history", headers=BEARER)).json()
        assert [version["version"] for version in versions["versions"]] == [6]
        assert (await client.get("/api/config/history/6", headers=BEARER)).text == "# before\n"
        for number in ("5", "x", "9" * 5000):
            answer = await client.get(f"/api/config/history/{number}", headers=BEARER)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "UnknownVersion")


async def test_check_and_apply() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        checked = await client.post("/api/config/check", headers=TOML, content=b"valid")
        assert [change["key"] for change in checked.json()["changes"]] == ["listen.bounds.head"]
        applied = await client.put("/api/config", headers=PUT, content=b"valid")
        assert (applied.status_code, applied.json()["version"]) == (200, 8)
    assert gateway.configuration.asked == [("check", b"valid"), ("apply", b"valid", 7)]


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/config/check"), ("PUT", "/api/config")])
async def test_what_is_wrong_is_told_one_by_one(method: str, path: str) -> None:
    async with admin_of(Gateway()) as client:
        answer = await client.request(method, path, headers=PUT, content=b"nonsense")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "InvalidConfiguration"
    assert answer.json()["problems"] == [
        {"file": "penstock.toml", "key": "listen.wrkers", "found": "unknown key", "remedy": "leave it out"}
    ]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        (TOML, b"valid", 428),
        (PUT | {"if-match": '"6"'}, b"valid", 412),
        (PUT | {"if-match": "*"}, b"valid", 400),
        (PUT | {"if-match": 'W/"7"'}, b"valid", 400),
        (PUT | {"if-match": '"7", "8"'}, b"valid", 400),
        (PUT | {"if-match": '"' + "9" * 5000 + '"'}, b"valid", 400),
        (PUT | {"content-type": "text/plain"}, b"valid", 415),
        (PUT | {"origin": "https://elsewhere.example"}, b"valid", 403),
        (PUT | {"authorization": "Bearer no"}, b"valid", 401),
    ],
)
async def test_who_may_not_apply(headers: dict[str, str], content: bytes, status: int) -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        answer = await client.put("/api/config", headers=headers, content=content)
        assert answer.status_code == status
    if status != 412:
        assert gateway.configuration.asked == []


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/api/config", 1 << 20, None), ("/api/config", (1 << 20) + 1, 413), ("/api/config/rollback", 1025, 413)],
)
def test_how_large_a_body_may_be(path: str, size: int, status: int | None) -> None:
    headers = [
        (b"host", b"localhost"),
        (b"authorization", BEARER["authorization"].encode()),
        (b"content-length", b"%d" % size),
    ]
    denied = Guard(TOKEN, LOOPBACK_NAMES).judge("PUT", path, "http", headers)
    assert (None if denied is None else denied.status) == status


async def test_a_whole_mebibyte_is_taken() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        answer = await client.put("/api/config", headers=PUT, content=b"valid" + b"#" * ((1 << 20) - 5))
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "headers", "asked"),
    [(None, {}, (None, None)), ({"to": 3}, {}, (3, None)), ({}, {"if-match": '"7"'}, (None, 7))],
)
async def test_roll_back(body: Any, headers: dict[str, str], asked: tuple[int | None, int | None]) -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        answer = await client.post("/api/config/rollback", headers=BEARER | headers, json=body)
        assert answer.json()["version"] == 8
    assert gateway.configuration.asked == [("roll_back", *asked)]


async def test_one_at_a_time() -> None:
    """Whoever changes it, and however."""
    gateway = Gateway()
    gateway.configuration.may_go_on = trio.Event()
    async with admin_of(gateway) as client, trio.open_nursery() as nursery:

        async def apply() -> None:
            assert (await client.put("/api/config", headers=PUT, content=b"valid")).status_code == 200

        nursery.start_soon(apply)
        with trio.fail_after(10):
            while not gateway.configuration.asked:
                await trio.sleep(0.01)
        assert (await client.put("/api/config", headers=PUT, content=b"valid")).status_code == 409
        assert (await client.post("/api/config/rollback", headers=BEARER)).status_code == 409
        assert (await client.post("/api/reload", headers=BEARER)).status_code == 409
        assert (await client.post("/api/config/check", headers=TOML, content=b"valid")).status_code == 200
        gateway.configuration.may_go_on.set()
