"""Who is let in to the admin address: one table for each question, and never anyone by accident."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.guard import Guard

TOKEN = "a-token-of-the-tests-that-is-long-enough-1234"
HOST = ("host", "localhost:9443")
BEARER = ("authorization", f"Bearer {TOKEN}")

guard = Guard(TOKEN, frozenset({"localhost", "127.0.0.1", "[::1]", "gateway.example", "*.edge.example"}))


def basic(credential: str) -> str:
    return "Basic " + base64.b64encode(credential.encode()).decode()


def judge(*headers: tuple[str, str], method: str = "GET", path: str = "/", scheme: str = "http") -> int | None:
    """The status it is denied with; None if it is let in."""
    denied = guard.judge(method, path, scheme, [(name.encode(), value.encode()) for name, value in headers])
    return None if denied is None else denied.status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9443", None),
        ("LOCALHOST:9443", None),
        ("localhost", None),
        ("localhost:8000", None),  # a forwarded port
        ("127.0.0.1:9443", None),
        ("[::1]:9443", None),
        ("[::1]", None),
        ("gateway.example", None),
        ("vm-1.edge.example:9443", None),
        ("edge.example", 421),
        ("a.b.edge.example", 421),
        ("evil.example:9443", 421),
        ("localhost.evil.example", 421),
        ("evil.example@localhost", 421),
        ("127.0.0.1.nip.io", 421),
        ("[::2]", 421),
        ("[::1", 421),
        ("::1", 421),
        ("", 421),
        (":9443", 421),
    ],
)
def test_only_the_names_of_the_address_are_served(host: str, status: int | None) -> None:
    assert judge(("host", host), BEARER) == status
    assert judge(("host", host), path="/healthz") == status


def test_a_host_that_is_absent_or_there_twice_is_refused() -> None:
    assert judge(BEARER) == 421
    assert judge(HOST, HOST, BEARER) == 421


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", None),
        (f"bearer {TOKEN}", None),
        (basic(f"admin:{TOKEN}"), None),
        (basic(f":{TOKEN}"), None),
        (basic(f"admin:x:{TOKEN}"), 401),
        (basic(f"{TOKEN}:"), 401),
        (basic(TOKEN), 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Basic YQ", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN.upper()}", 401),
        (f"Token {TOKEN}", 401),
        (TOKEN, 401),
        ("", 401),
        ("Bearer schlüssel", 401),
    ],
)
def test_only_the_token_opens(authorization: str, status: int | None) -> None:
    for path in ("/", "/api/status", "/metrics", "/nowhere"):
        assert judge(HOST, ("authorization", authorization), path=path) == status


def test_without_a_token_or_with_two_there_is_only_health() -> None:
    assert judge(HOST) == 401
    assert judge(HOST, BEARER, BEARER) == 401
    assert judge(HOST, path="/healthz") is None
    assert judge(HOST, path="/readyz") is None
    for path in ("/healthz/", "/readyz/x", "//healthz", "/HEALTHZ", "/healthz?x"):
        assert judge(HOST, path=path) == 401


@pytest.mark.parametrize(
    ("headers", "get", "post"),
    [
        ({}, None, None),  # a tool
        ({"origin": "http://localhost:9443"}, None, None),
        ({"origin": "HTTP://LOCALHOST:9443"}, None, None),
        ({"origin": "https://localhost:9443"}, 403, 403),
        ({"origin": "http://localhost:3000"}, 403, 403),
        ({"origin": "http://evil.example"}, 403, 403),
        ({"origin": "null"}, 403, 403),
        ({"origin": ""}, 403, 403),
        ({"sec-fetch-site": "same-origin"}, None, None),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, None, None),
        ({"sec-fetch-site": "cross-site"}, 403, 403),
        ({"sec-fetch-site": "same-site"}, 403, 403),  # another port of this machine
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, None, 403),  # a link that was followed
        ({"sec-fetch-site": "surprise"}, 403, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://evil.example"}, 403, 403),
    ],
)
def test_other_sites_get_nowhere(headers: dict[str, str], get: int | None, post: int | None) -> None:
    assert judge(HOST, BEARER, *headers.items()) == get
    assert judge(HOST, BEARER, *headers.items(), method="POST", path="/api/reload") == post


def test_an_origin_that_is_there_twice_is_no_origin_of_ours() -> None:
    origin = ("origin", "http://localhost:9443")
    assert judge(HOST, BEARER, origin, origin) == 403


def test_over_tls_the_origin_is_one_over_tls() -> None:
    assert judge(HOST, BEARER, ("origin", "https://localhost:9443"), scheme="https") is None
    assert judge(HOST, BEARER, ("origin", "http://localhost:9443"), scheme="https") == 403


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("content-length", "0"), None),
        (("content-length", "1024"), None),
        (("content-length", "1025"), 413),
        (("content-length", "9" * 400), 413),
        (("content-length", "-1"), 413),
        (("content-length", "x"), 413),
        (("transfer-encoding", "chunked"), 411),
    ],
)
def test_bodies_are_bounded_and_announced(header: tuple[str, str], status: int | None) -> None:
    assert judge(HOST, BEARER, header, method="POST", path="/api/reload") == status


def test_a_refusal_for_want_of_a_token_says_how_to_show_one() -> None:
    denied = guard.judge("GET", "/", "http", [(b"host", b"localhost")])
    assert denied is not None
    assert [value.split()[0] for name, value in denied.headers if name == b"www-authenticate"] == [b"Basic", b"Bearer"]


@given(st.text(max_size=80))
def test_no_other_text_is_ever_the_token(text: str) -> None:
    for authorization in (f"Bearer {text}", basic(f"admin:{text}"), text):
        headers = [(b"host", b"localhost"), (b"authorization", authorization.encode("utf-8", "replace"))]
        denied = guard.judge("GET", "/metrics", "http", headers)
        assert denied is not None
        assert denied.status == 401
        assert (
            not text or text not in denied.message or text in "Present the admin token, as bearer token or as password."
        )
