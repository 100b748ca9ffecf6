"""Requests out of bytes: HTTP/1.1 with keep-alive, by httptools. No I/O in here."""

from collections import deque
from http import HTTPStatus

import httptools

PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODY_AT_MOST = 512 << 20
_HEAD_AT_MOST = 1 << 20


class BadRequest(Exception):
    """Bytes that are no request; the connection cannot go on. `status` is what to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """A request as it arrived: `fields` in order and as spelled, `headers` by name in lower case (the last wins)."""

    __slots__ = ("body", "fields", "headers", "keep_alive", "method", "target")

    def __init__(
        self, method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.headers = {name.lower(): value for name, value in fields}
        self.body = body
        self.keep_alive = keep_alive


class Reader:
    """One connection's parser. Whole requests queue up in `requests`; `expects` while 100 Continue is waited for."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.expects = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        """Raises `BadRequest`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequest(400, "upgrades are not played here") from None
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, BadRequest):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise BadRequest(400, str(error)) from None

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url), _HEAD_AT_MOST, 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # trailers come as headers too
            self._fields.append((name, value))
        self._count(len(name) + len(value), _BODY_AT_MOST if self._in_body else _HEAD_AT_MOST, 431)

    def on_headers_complete(self) -> None:
        self._in_body = True
        self.expects = any(n.lower() == b"expect" and v.lower() == b"100-continue" for n, v in self._fields)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._count(len(data), _BODY_AT_MOST, 413)

    def on_message_complete(self) -> None:
        self.expects = False
        self.requests.append(
            Request(
                self._parser.get_method(),
                self._target,
                self._fields,
                self._body[0] if len(self._body) == 1 else b"".join(self._body),
                keep_alive=self._parser.should_keep_alive(),
            )
        )

    def _count(self, size: int, at_most: int, status: int) -> None:
        self._size += size
        if self._size > at_most:
            raise BadRequest(status, "larger than this mock takes")
