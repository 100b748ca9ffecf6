"""Backends over the admin address: shown as they are, and changed by nobody who may not, nor by accident."""

import httpx
import msgspec
import pytest

from proxy.admin.backends import BackendsStatus, SetBreaker, SetWeight, Which
from tests.admin.test_server import code
from tests.admin.world import BEARER, Gateway, admin_of, status

JSON = {**BEARER, "content-type": "application/json"}
PATH = "/api/backends/swc-std/"


async def ask(gateway: Gateway, method: str, path: str, **more: object) -> httpx.Response:
    async with admin_of(gateway) as client:
        return await client.request(method, path, **{"headers": BEARER, **more})  # type: ignore[arg-type]


async def test_the_list_is_what_the_status_has() -> None:
    response = await ask(Gateway(), "GET", "/api/backends")
    assert response.status_code == 200
    assert msgspec.json.decode(response.content, type=BackendsStatus).deployments == status().deployments
    assert response.json()["deployments"][1]["first_byte"] == {"p50": 0.21, "p90": 0.6, "p99": 1.34}


@pytest.mark.parametrize(
    ("action", "body", "asked"),
    [
        ("drain", None, Which()),
        ("drain", b"{}", Which()),
        ("drain", b'{"deployment": "gpt-4o"}', Which(deployment="gpt-4o")),
        ("undrain", None, Which()),
        ("undrain", b'{"deployment": "gpt-4o"}', Which(deployment="gpt-4o")),
        ("breaker", b'{"state": "open", "for": "5m"}', SetBreaker(state="open", lasting="5m")),
        ("breaker", b'{"state": "closed", "deployment": "a"}', SetBreaker(state="closed", deployment="a")),
        ("weight", b'{"deployment": "a", "weight": 3, "over": "5m"}', SetWeight(deployment="a", weight=3, over="5m")),
        ("weight", b'{"deployment": "a", "weight": null}', SetWeight(deployment="a", weight=None)),
    ],
)
async def test_what_can_be_done(action: str, body: bytes | None, asked: object) -> None:
    gateway = Gateway()
    response = await ask(gateway, "POST", PATH + action, headers=BEARER if body is None else JSON, content=body)
    assert response.status_code == 200
    assert [each["deployment"] for each in response.json()["deployments"]] == ["gpt-4o"]
    assert gateway.backends.asked == [(action, "swc-std", asked)]


@pytest.mark.parametrize(
    ("action", "headers", "body", "expected"),
    [
        ("drain", BEARER, b'{"deployment": "gpt-4o"}', (415, "UnsupportedMediaType")),
        ("drain", {**BEARER, "content-type": "text/plain"}, None, (415, "UnsupportedMediaType")),
        ("drain", {**BEARER, "content-type": "application/x-www-form-urlencoded"}, b"", (415, "UnsupportedMediaType")),
        ("drain", JSON, b'{"deploymnet": "gpt-4o"}', (400, "BadRequest")),
        ("drain", JSON, b'{"deployment": 7}', (400, "BadRequest")),
        ("drain", JSON, b"{nope", (400, "BadRequest")),
        ("drain", JSON, b" " * 1100, (413, "RequestTooLarge")),
        ("drain", {}, None, (401, "Unauthorized")),
        ("drain", {**BEARER, "origin": "http://evil.example"}, None, (403, "CrossSite")),
        ("drain", {**BEARER, "sec-fetch-site": "cross-site"}, None, (403, "CrossSite")),
        ("drain", {**BEARER, "host": "evil.example"}, None, (421, "MisdirectedRequest")),
        ("undrain", BEARER, b"{}", (415, "UnsupportedMediaType")),
        ("breaker", BEARER, None, (415, "UnsupportedMediaType")),
        ("breaker", JSON, b"", (400, "BadRequest")),
        ("breaker", JSON, b"{}", (400, "BadRequest")),
        ("breaker", JSON, b'{"state": "half_open"}', (400, "BadRequest")),
        ("weight", JSON, b'{"weight": 3}', (400, "BadRequest")),
        ("weight", JSON, b'{"deployment": "a"}', (400, "BadRequest")),
        ("weight", JSON, b'{"deployment": "a", "weight": "3"}', (400, "BadRequest")),
    ],
)
async def test_what_is_refused(
    action: str, headers: dict[str, str], body: bytes | None, expected: tuple[int, str]
) -> None:
    gateway = Gateway()
    response = await ask(gateway, "POST", PATH + action, headers=headers, content=body)
    assert (response.status_code, code(response)) == expected
    assert gateway.backends.asked == []


async def test_a_backend_that_is_not_configured() -> None:
    response = await ask(Gateway(), "POST", "/api/backends/nowhere/drain")
    assert (response.status_code, code(response)) == (404, "UnknownBackend")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/backends", 405),
        ("GET", PATH + "drain", 405),
        ("DELETE", PATH + "drain", 405),
        ("POST", PATH, 404),
        ("POST", PATH + "remove", 404),
    ],
)
async def test_what_is_not_there(method: str, path: str, expected: int) -> None:
    assert (await ask(Gateway(), method, path)).status_code == expected
