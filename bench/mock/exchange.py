"""One request at an instance and its answer: the head, the body in the framing that was asked for, and the faults that
spoil a body on its way.
"""

from collections.abc import Iterable
from typing import NamedTuple

from bench.mock import answers
from bench.mock.connection import Connection
from bench.mock.faults import IN_THE_MIDDLE, Fault, Kind
from bench.mock.limits import Allowance
from bench.mock.received import Received
from bench.mock.request import PHRASES, Request
from bench.mock.stream import LAST_CHUNK, Stream, break_off

_CODES = {
    400: "BadRequest",
    401: "401",
    403: "AuthenticationTypeDisabled",
    404: "DeploymentNotFound",
    408: "RequestTimeout",
    429: "429",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
"""Azure's error code for a status, where no other is asked for."""


class Origin(NamedTuple):
    """What all answers of an instance have in common: `lines` of the head, and how its request ids begin."""

    lines: bytes
    ids: bytes
    provisioned: bool


class Exchange:
    """From the request to the end of its answer, whoever ends it. `allowance` is there once it is charged."""

    __slots__ = (
        "_complete", "_number", "_origin", "allowance", "connection", "deployment", "fault", "framing", "received",
        "request", "stream",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, request: Request, received: Received, origin: Origin, number: int
    ) -> None:
        self.connection = connection
        self.request = request
        self.received = received
        self.deployment = ""
        self.framing = "usual"
        self.fault: Fault | None = None
        self.allowance: Allowance | None = None
        self.stream: Stream | None = None
        self._origin = origin
        self._number = number
        self._complete = False
        connection.on_over = self._over

    def error(self, status: int, message: str, *, code: str | None = None, headers: Iterable[str] = ()) -> None:
        """An error in Azure's shape."""
        self.plain(status, answers.error(code or _CODES.get(status, str(status)), message), headers=headers)

    def plain(
        self, status: int, body: bytes, *, kind: bytes = b"application/json", headers: Iterable[str] = ()
    ) -> None:
        """A whole answer; none if the client has left."""
        if self.received.ended is not None:
            return
        spoils = self.fault.kind if self.fault is not None else None
        if spoils is Kind.BAD_EVENT:
            body = body[: len(body) // 2]
        extra, data = self._framed(body)
        head = self._head(status, kind, "".join(f"{line}\r\n" for line in headers).encode("latin-1") + extra)
        if self.request.method == b"HEAD":
            data = b""
        if spoils in IN_THE_MIDDLE:
            assert spoils is not None
            self.connection.send(head + data[: len(data) // 2])
            break_off(self.connection, spoils)
            return
        self.connection.send(head + data)
        self.finish()

    def stream_head(self) -> bytes:
        """The head of a streamed answer."""
        if self.framing == "close":
            self.connection.close_after = True
        framing = b"connection: close\r\n" if self.framing == "close" else b"transfer-encoding: chunked\r\n"
        return self._head(200, b"text/event-stream; charset=utf-8", framing)

    def finish(self) -> None:
        """All of the answer was handed over."""
        self._complete = True
        self.connection.finish()

    def _framed(self, body: bytes) -> tuple[bytes, bytes]:
        """The lines of the head that say where the body ends, and the body as it goes over the wire."""
        match self.framing:
            case "chunked":
                chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
                return b"transfer-encoding: chunked\r\n", chunk + LAST_CHUNK
            case "close":
                self.connection.close_after = True
                return b"connection: close\r\n", body
            case _:
                return b"content-length: %d\r\n" % len(body), body

    def _head(self, status: int, kind: bytes, extra: bytes) -> bytes:
        self.received.status = status
        lines, ids, provisioned = self._origin
        echo = self.request.headers.get(b"x-ms-client-request-id")
        if echo is not None:
            extra += b"x-ms-client-request-id: %b\r\n" % echo
        if self.allowance is not None:
            tokens, requests = self.allowance.remaining()
            extra += b"x-ms-deployment-name: %b\r\n" % self.deployment.encode()
            extra += b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-remaining-tokens: %d\r\n" % (requests, tokens)
            if provisioned:
                extra += b"azure-openai-deployment-utilization: %b\r\n" % self.allowance.utilization().encode()
        number = self._number
        return (
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\napim-request-id: %b%012x\r\nx-request-id: %b%012x\r\n%b%b\r\n"
            % (status, PHRASES.get(status, b"Error"), kind, ids, number, ids, number, lines, extra)
        )

    def _over(self, gone: bool) -> None:
        received = self.received
        received.end("client_gone" if gone else "complete" if self._complete else "fault")
        if self.stream is not None:
            received.events = self.stream.sent
            self.stream.over()
            self.stream = None
        if self.allowance is not None:
            self.allowance.done()
