"""Heads of HTTP/1.1 requests and responses, and the framing they announce. No I/O.

llhttp (through httptools) reads the grammar of requests; what it leaves open, or reads more generously than a gateway
may, is refused here first: bare line feeds, folded lines, control characters, more than one or an ambiguous framing,
more or fewer than one host. RFC 9110, RFC 9112; the rows are in the tests.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import httptools

from proxy.config.structs import Bounds
from proxy.refusal import Reason, Refused
from proxy.wire.body import CloseFraming, Framing, LengthFraming
from proxy.wire.chunks import ChunkDecoder

HEAD_END = b"\r\n\r\n"
_CONTROLS = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_ONCE = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"authorization", b"api-key", b"ocp-apim-subscription-key")
    + (b"content-type", b"content-encoding", b"expect")
)
_RESPONSE = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*)\r\n"
).fullmatch
_CREDENTIALS = frozenset((b"authorization", b"api-key", b"ocp-apim-subscription-key"))
Headers = list[tuple[bytes, bytes]]


class RequestHead:
    """A request's head, judged for framing. Header names are in lower case.

    `length` is the body's, 0 without one; with `chunked` it is unknown. What follows from the headers is filled in by
    `proxy.heads`: `passed` are the lines for a backend, `trace` a `traceparent`, `timeout` the seconds that the client
    says it waits, `media_type` the content's, without parameters.
    """

    __slots__ = (
        "chunked", "connection", "expects_continue", "headers", "keep_alive", "length", "media_type", "method", "minor",
        "once", "passed", "target", "timeout", "trace", "twice",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.minor = 1
        self.headers: Headers = []
        self.once: dict[bytes, bytes] = {}
        self.twice: bytes | None = None
        self.connection = b""
        self.length = 0
        self.chunked = False
        self.expects_continue = False
        self.keep_alive = True
        self.passed = b""
        self.trace = b""
        self.timeout: float | None = None
        self.media_type = b""

    def again(self, length: int, trace: bytes) -> "RequestHead":
        """The same head before a body of another length, in another trace. Headers are shared: nobody changes them."""
        head = RequestHead.__new__(RequestHead)
        head.method = self.method
        head.target = self.target
        head.minor = self.minor
        head.headers = self.headers
        head.once = self.once
        head.twice = None
        head.connection = self.connection
        head.length = length
        head.chunked = False
        head.expects_continue = self.expects_continue
        head.keep_alive = self.keep_alive
        head.passed = self.passed
        head.trace = trace
        head.timeout = self.timeout
        head.media_type = self.media_type
        return head

    # httptools calls these two.
    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name in _ONCE:
            if name in self.once:
                self.twice = name
            self.once[name] = value
        elif name == b"connection":
            self.connection += b"," + value.lower()


def read_request_head(raw: bytes, bounds: Bounds) -> RequestHead:
    """Parse a head that ends with an empty line. Raises `Refused`; after BAD_FRAMING the connection is of no use."""
    if len(raw) != len(raw.translate(None, _CONTROLS)):
        raise Refused(Reason.BAD_REQUEST, "control character")
    ends = raw.count(b"\r\n")
    if raw.count(b"\n") != ends or raw.count(b"\r") != ends or b"\r\n " in raw or b"\r\n\t" in raw:
        raise Refused(Reason.BAD_FRAMING, "line ends")
    if raw.count(b" ", 0, raw.find(b"\r\n")) != 2:
        raise Refused(Reason.BAD_REQUEST, "request line")
    if ends - 2 > bounds.headers:
        raise Refused(Reason.HEADERS_TOO_LARGE, "number of headers")
    head = RequestHead()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an upgrade may be ignored (RFC 9110 section 7.8); nothing after the head was fed
    except httptools.HttpParserError:
        raise Refused(Reason.BAD_REQUEST, "grammar") from None
    head.method = parser.get_method()
    if head.method not in _METHODS:
        raise Refused(Reason.METHOD_NOT_ALLOWED, "method")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise Refused(Reason.BAD_REQUEST, "version")
    head.minor = int(version[2])
    _judge(head)
    return head


def _judge(head: RequestHead) -> None:
    once = head.once
    if head.twice is not None:
        reason = Reason.DUPLICATE_CREDENTIAL if head.twice in _CREDENTIALS else Reason.BAD_FRAMING
        raise Refused(reason, "header sent twice")
    host = once.get(b"host")
    if host is None and head.minor == 1:
        raise Refused(Reason.BAD_FRAMING, "no host")
    if host is not None and (not host or host.translate(None, b" \t/@\\,?#") != host):
        raise Refused(Reason.BAD_FRAMING, "host")
    _judge_framing(head, once)
    expect = once.get(b"expect")
    if expect is not None and head.minor == 1:
        if expect.lower() != b"100-continue":
            raise Refused(Reason.EXPECTATION_FAILED, "expect")
        head.expects_continue = True
    if head.connection or head.minor == 0:
        options = {option.strip() for option in head.connection.split(b",")}
        head.keep_alive = b"keep-alive" in options if head.minor == 0 else b"close" not in options


def _judge_framing(head: RequestHead, once: dict[bytes, bytes]) -> None:
    """RFC 9112 section 6.3, with every ambiguity refused instead of resolved."""
    length = once.get(b"content-length")
    coding = once.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or head.minor == 0 or coding.lower() != b"chunked":
            raise Refused(Reason.BAD_FRAMING, "transfer-encoding")
        head.chunked = True
    elif length is not None:
        if not length.isdigit() or len(length) > 15:
            raise Refused(Reason.BAD_FRAMING, "content-length")
        head.length = int(length)


class BadResponse(Exception):
    """A backend's head that cannot be relied on."""


class ResponseHead:
    """A backend's head. `framing` is None where there is no body.

    `passed` are the header lines for the client, as they came; `said` is what is read of them here, by name, in lower
    case; the first, where there are several of one name.
    """

    __slots__ = ("framing", "keep_alive", "passed", "said", "status")

    def __init__(self, status: int) -> None:
        self.status = status
        self.passed: list[bytes] = []
        self.said: dict[bytes, bytes] = {}
        self.framing: Framing | None = None
        self.keep_alive = True


class _Use(NamedTuple):
    """What becomes of a header line. `read`: its name in lower case, where somebody here reads it."""

    passed: bool
    read: bytes | None


_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"upgrade")
    + (b"transfer-encoding", b"content-length", b"set-cookie", b"x-request-id", b"alt-svc")
)
"""Hop by hop (RFC 9110 section 7.6.1), framed anew, or not for clients."""
_REPLACED = (b"x-ratelimit-", b"proxy-")
_READ = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"content-type", b"content-encoding", b"retry-after")
    + (b"retry-after-ms", b"x-ratelimit-remaining-tokens", b"x-ratelimit-remaining-requests")
    + (b"azure-openai-deployment-utilization",)
)
_PASSED = _Use(True, None)
_SPELLINGS = 1024
_SPELLED_AT_MOST = 64
_FRAMED = (b"content-length", b"transfer-encoding")
_uses: dict[bytes, _Use] = {}


def _use(spelled: bytes) -> _Use:
    """Of a name that was not seen in this spelling; backends have few, and those that are short are remembered."""
    name = spelled.lower()
    use = _Use(name not in _HOP and not name.startswith(_REPLACED), name if name in _READ else None)
    if use == _PASSED:
        use = _PASSED
    if len(_uses) < _SPELLINGS and len(spelled) <= _SPELLED_AT_MOST:
        _uses[spelled] = use
    return use


def read_response_head(raw: bytes) -> ResponseHead:
    """Read the head of the answer to a GET or POST. Raises `BadResponse`.

    Its grammar is RFC 9112 section 4 and 5 without folding, as one expression. There is no second reading to disagree
    with: the lines pass on as they were matched.
    """
    match = _RESPONSE(raw)
    if match is None:
        raise BadResponse("grammar")
    head = ResponseHead(int(match[2]))
    if head.status == 101:
        raise BadResponse("status")
    passed, said = head.passed, head.said
    connection = b""
    lines = match[3].split(b"\r\n")
    lines.pop()
    for line in lines:
        spelled = line[: line.index(b":")]
        use = _uses.get(spelled) or _use(spelled)
        if use is _PASSED:
            passed.append(line)
            continue
        on, name = use
        if on:
            passed.append(line)
        if name is not None:
            value = line[len(spelled) + 1 :].strip(b" \t")
            if name == b"connection":
                connection += b"," + value.lower()
            elif name not in said:
                said[name] = value
            elif name in _FRAMED:
                raise BadResponse(name.decode("ascii"))
    head.keep_alive = b"close" not in connection if match[1] == b"1" else b"keep-alive" in connection
    if head.status >= 200 and head.status not in (204, 304):
        head.framing = _framing(said.get(b"content-length"), said.get(b"transfer-encoding"))
        head.keep_alive = head.keep_alive and not isinstance(head.framing, CloseFraming)
    return head


def _framing(length: bytes | None, coding: bytes | None) -> Framing:
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None:
            raise BadResponse("transfer-encoding")
        return ChunkDecoder()
    if length is None:
        return CloseFraming()
    if not length.isdigit() or len(length) > 15:
        raise BadResponse("content-length")
    return LengthFraming(int(length))


PHRASES = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request",
    401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    409: b"Conflict", 411: b"Length Required", 413: b"Content Too Large", 414: b"URI Too Long",
    415: b"Unsupported Media Type", 417: b"Expectation Failed", 421: b"Misdirected Request",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A response head, ready to send."""
    lines = [b"HTTP/1.1 %d %b" % (status, PHRASES.get(status, b""))]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join(lines) + HEAD_END
