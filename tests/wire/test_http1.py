"""Heads, and the framing they announce: what is accepted, and the hostile rows that are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Bounds
from proxy.refusal import Reason, Refused
from proxy.wire import http1
from proxy.wire.body import CloseFraming, LengthFraming
from proxy.wire.chunks import ChunkDecoder
from proxy.wire.http1 import BadResponse, RequestHead, read_request_head, read_response_head

TARGET = b"/openai/v1/chat/completions"


def request(*lines: bytes, first: bytes = b"POST " + TARGET + b" HTTP/1.1", host: bool = True) -> bytes:
    return b"\r\n".join([first, *([b"Host: a"] if host else []), *lines]) + b"\r\n\r\n"


def read(raw: bytes) -> RequestHead:
    return read_request_head(raw, Bounds())


def test_a_plain_head() -> None:
    head = read(request(b"Content-Length: 12", b"API-Key: k", b"Accept: */*"))
    assert (head.method, head.target, head.minor) == (b"POST", TARGET, 1)
    assert head.headers == [(b"host", b"a"), (b"content-length", b"12"), (b"api-key", b"k"), (b"accept", b"*/*")]
    assert (head.length, head.chunked, head.keep_alive, head.expects_continue) == (12, False, True, False)


@pytest.mark.parametrize(
    ("lines", "minor", "keep_alive"),
    [
        ([], 1, True),
        ([b"Connection: close"], 1, False),
        ([b"Connection: keep-alive, Close"], 1, False),
        ([b"Connection: x", b"connection: CLOSE"], 1, False),
        ([], 0, False),
        ([b"Connection: Keep-Alive"], 0, True),
    ],
)
def test_keep_alive(lines: list[bytes], minor: int, keep_alive: bool) -> None:
    head = read(request(*lines, first=b"GET / HTTP/1.%d" % minor))
    assert (head.minor, head.keep_alive) == (minor, keep_alive)


def test_an_upgrade_is_ignored() -> None:
    head = read(request(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5"))
    assert head.length == 5


def test_expect_continue() -> None:
    assert read(request(b"Expect: 100-Continue", b"Content-Length: 1")).expects_continue
    assert not read(request(b"Expect: 100-continue", first=b"POST / HTTP/1.0")).expects_continue


HOSTILE = {
    "both framings": (request(b"Content-Length: 5", b"Transfer-Encoding: chunked"), None),
    "two lengths": (request(b"Content-Length: 5", b"Content-Length: 6"), None),
    "the same length twice": (request(b"Content-Length: 5", b"Content-Length: 5"), None),
    "a list of lengths": (request(b"Content-Length: 5, 5"), None),
    "negative length": (request(b"Content-Length: -5"), None),
    "signed length": (request(b"Content-Length: +5"), None),
    "hexadecimal length": (request(b"Content-Length: 0x5"), None),
    "length with a space inside": (request(b"Content-Length: 1 2"), None),
    "empty length": (request(b"Content-Length:"), None),
    "absurd length": (request(b"Content-Length: 99999999999999999999999"), None),
    "gzip, chunked": (request(b"Transfer-Encoding: gzip, chunked"), Reason.BAD_FRAMING),
    "chunked, identity": (request(b"Transfer-Encoding: chunked, identity"), None),
    "chunked twice": (request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), None),
    "xchunked": (request(b"Transfer-Encoding: xchunked"), None),
    "chunked with a tab": (request(b"Transfer-Encoding:\tchunked\t, x"), None),
    "chunked in HTTP/1.0": (request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"), Reason.BAD_FRAMING),
    "no host": (request(host=False), Reason.BAD_FRAMING),
    "two hosts": (request(b"Host: b"), Reason.BAD_FRAMING),
    "host with userinfo": (request(b"Host: a@b", host=False), Reason.BAD_FRAMING),
    "host with a path": (request(b"Host: a/b", host=False), Reason.BAD_FRAMING),
    "empty host": (request(b"Host:", host=False), Reason.BAD_FRAMING),
    "bare line feed": (request(b"X: a\nY: b"), Reason.BAD_FRAMING),
    "bare carriage return": (request(b"X: a\rY: b"), Reason.BAD_FRAMING),
    "folded line": (request(b"X: a\r\n b"), Reason.BAD_FRAMING),
    "folded line with a tab": (request(b"X: a\r\n\tb"), Reason.BAD_FRAMING),
    "NUL in a value": (request(b"X: a\0b"), Reason.BAD_REQUEST),
    "NUL in a name": (request(b"X\0: a"), Reason.BAD_REQUEST),
    "control character": (request(b"X: \x01"), Reason.BAD_REQUEST),
    "DEL": (request(b"X: \x7f"), Reason.BAD_REQUEST),
    "space before the colon": (request(b"Content-Length : 5"), Reason.BAD_REQUEST),
    "no colon": (request(b"Content-Length"), Reason.BAD_REQUEST),
    "empty name": (request(b": a"), Reason.BAD_REQUEST),
    "name that is no token": (request(b"X(: a"), Reason.BAD_REQUEST),
    "unknown method": (request(first=b"BREW / HTTP/1.1"), None),
    "CONNECT": (request(first=b"CONNECT a:443 HTTP/1.1"), None),
    "TRACE": (request(first=b"TRACE / HTTP/1.1"), Reason.METHOD_NOT_ALLOWED),
    "lower case method": (request(first=b"post / HTTP/1.1"), None),
    "HTTP/0.9": (request(first=b"GET /"), None),
    "HTTP/2.0": (request(first=b"GET / HTTP/2.0"), None),
    "HTTP/1.2": (request(first=b"GET / HTTP/1.2"), None),
    "HTTP/1.1x": (request(first=b"GET / HTTP/1.1x"), None),
    "two spaces": (request(first=b"GET  / HTTP/1.1"), None),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", None),
    "other expectation": (request(b"Expect: 200-ok"), Reason.EXPECTATION_FAILED),
    "two api keys": (request(b"api-key: a", b"Api-Key: b"), Reason.DUPLICATE_CREDENTIAL),
    "two authorizations": (request(b"Authorization: a", b"authorization: a"), Reason.DUPLICATE_CREDENTIAL),
    "too many headers": (request(*[b"x: y"] * 101), Reason.HEADERS_TOO_LARGE),
    "TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", Reason.BAD_REQUEST),
}


@pytest.mark.parametrize(("raw", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_heads_are_refused(raw: bytes, reason: Reason | None) -> None:
    with pytest.raises(Refused) as caught:
        read(raw)
    assert caught.value.reason.terms.status in (400, 405, 417, 431)
    if reason is not None:
        assert caught.value.reason is reason


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_a_refusal(raw: bytes) -> None:
    try:
        read(raw + b"\r\n\r\n")
    except Refused:
        return


@given(st.binary(max_size=60), st.integers(0, 3))
def test_a_mangled_head_is_a_head_or_a_refusal(noise: bytes, line: int) -> None:
    lines = [b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", b"X: y"]
    lines[line] += noise
    try:
        head = read(b"\r\n".join(lines) + b"\r\n\r\n")
    except Refused:
        return
    assert b"\n" not in b"".join(value for _, value in head.headers)


def response(*lines: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"HTTP/%b %b" % (version, status), *lines]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "framing", "keep_alive"),
    [
        (response(b"Content-Length: 5"), LengthFraming, True),
        (response(b"Transfer-Encoding: chunked"), ChunkDecoder, True),
        (response(b"Transfer-Encoding: chunked", b"Connection: close"), ChunkDecoder, False),
        (response(), CloseFraming, False),
        (response(b"Content-Length: 5", version=b"1.0"), LengthFraming, False),
        (response(b"Content-Length: 5", b"Connection: keep-alive", version=b"1.0"), LengthFraming, True),
        (response(b"Content-Length: 5", status=b"204 No Content"), None, True),
        (response(b"Content-Length: 5", status=b"304 Not Modified"), None, True),
        (response(status=b"100 Continue"), None, True),
        (response(b"Content-Length: 0", status=b"429"), LengthFraming, True),
    ],
)
def test_response_framing(raw: bytes, framing: type | None, keep_alive: bool) -> None:
    head = read_response_head(raw)
    assert (type(head.framing) if head.framing else None) is framing
    assert head.keep_alive is keep_alive


@pytest.mark.parametrize(
    "raw",
    [
        response(b"Content-Length: 5", b"Content-Length: 6"),
        response(b"Content-Length: 5", b"Content-Length: 5"),
        response(b"Content-Length: x"),
        response(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        response(b"Transfer-Encoding: gzip, chunked"),
        response(status=b"101 Switching Protocols"),
        response(status=b"099 Odd"),
        response(status=b"1000 Odd"),
        response(b"X: a\nY: b"),
        response(b"X: \0"),
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_responses_that_cannot_be_relied_on(raw: bytes) -> None:
    with pytest.raises(BadResponse):
        read_response_head(raw)


PASSED = [
    (b"Content-Type", b"text/event-stream"),
    (b"apim-request-id", b"7"),
    (b"retry-after", b"3"),
    (b"x-ms-region", b"x"),
]
KEPT_BACK = [
    b"Connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"Upgrade",
    b"content-length", b"Set-Cookie", b"x-request-id", b"alt-svc", b"x-ratelimit-limit-tokens",
    b"X-RateLimit-Remaining-Requests", b"proxy-anything",
]  # fmt: skip


def test_what_of_a_backends_head_passes_on_as_it_came() -> None:
    lines = [b"%b:  %b" % header for header in [*PASSED, *((name, b"1") for name in KEPT_BACK)]]
    head = read_response_head(response(*lines))
    assert head.passed == [b"%b:  %b" % header for header in PASSED]
    assert head.said == {
        b"content-type": b"text/event-stream",
        b"retry-after": b"3",
        b"content-length": b"1",
        b"x-ratelimit-remaining-requests": b"1",
    }


def test_of_two_values_the_first_is_read() -> None:
    assert read_response_head(response(b"retry-after: 1", b"Retry-After: 2")).said[b"retry-after"] == b"1"


def test_names_without_end_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "_uses", {})
    for number in range(3000):
        line = b"x-of-%d: 1" % number
        assert read_response_head(response(line)).passed == [line]
    assert len(http1._uses) <= 1024


def test_names_as_long_as_a_head_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "_uses", {})
    line = b"x" * 30_000 + b": y"
    assert read_response_head(response(line)).passed == [line]
    assert not http1._uses
