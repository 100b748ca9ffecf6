"""A client's connection: heads and bodies in, heads and bodies out, from keep-alive to a lingering close.

RFC 9112. Framing is judged before anything else; where it is in doubt the connection ends after the refusal, since what
follows cannot be told from a body.
"""

import select
import time
from collections.abc import Callable
from typing import Protocol

import trio

from proxy.config.structs import Bounds
from proxy.identity.certificate import CertificateFacts
from proxy.refusal import Reason, Refused
from proxy.wire.chunks import ChunkDecoder, ChunkError
from proxy.wire.http1 import HEAD_END, RequestHead, read_request_head
from proxy.wire.link import Link, LinkClosed, LinkTimeout
from proxy.wire.pump import READ

ReadHead = Callable[[bytes, Bounds], RequestHead]

_PIPELINED = 16 << 10
_DISCARDED = 64 << 10
_LINGER = 1.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientGone(Exception):
    """The client left before its answer was complete."""


class Awaited(Protocol):
    """What a task waits for, while its client may leave."""

    def fail(self, error: Exception) -> None:
        """Let the task go on with `error`."""


class RequestBody:
    """A request's body as it is read: `left` of a known length, or chunks. `taken` is its size so far, in bytes."""

    __slots__ = ("decoder", "left", "taken")

    def __init__(self, head: RequestHead) -> None:
        self.decoder = ChunkDecoder() if head.chunked else None
        self.left = head.length
        self.taken = 0


class ClientConnection:
    """One connection of one client. `served` counts its requests, `serving` names the client of the one under way.

    `withdraw` ends what is under way: the certificate that it rests on counts no more.
    """

    __slots__ = (
        "_awaiting",
        "_idle",
        "_inbox",
        "_pump",
        "certificate",
        "gone",
        "link",
        "scope",
        "served",
        "serving",
        "source",
        "withdrawn",
    )

    def __init__(self, link: Link, source: str, certificate: CertificateFacts | None) -> None:
        self.link = link
        self.source = source
        self.certificate = certificate
        self.served = 0
        self.serving: str | None = None
        self.scope = trio.CancelScope()
        self.withdrawn: Reason | None = None
        self.gone = False
        self._pump = link.pump
        self._inbox = bytearray()
        self._awaiting: Awaited | None = None
        self._idle = False

    def withdraw(self, reason: Reason) -> None:
        self.withdrawn = reason
        self.scope.cancel()

    # Heads.

    async def next_head(self, bounds: Bounds, read: ReadHead = read_request_head) -> RequestHead | None:
        """The next request's head, as `read` understands it; None when the client is done.

        Raises `Refused`; the connection is to be closed after that.
        """
        inbox = self._inbox
        deadline = time.monotonic() + (bounds.keep_alive if self.served else bounds.head)
        begun = False
        while True:
            if inbox and not begun:
                while inbox.startswith(b"\r\n"):
                    del inbox[:2]  # RFC 9112 section 2.2: empty lines before the request are ignored
                if not b"\r".startswith(inbox):
                    begun = True
                    deadline = time.monotonic() + bounds.head
            if begun:
                end = inbox.find(HEAD_END)
                if end >= 0 or len(inbox) > bounds.request_line:
                    _judge_size(inbox, end, bounds)
                if end >= 0:
                    raw = bytes(inbox[: end + 4])
                    del inbox[: end + 4]
                    return read(raw, bounds)
                if inbox.count(b"\n") != inbox.count(b"\r\n"):
                    raise Refused(Reason.BAD_FRAMING, "line ends")
            self._idle = not begun
            try:
                count = await self.link.recv_into(self._pump.view, deadline)
            except LinkTimeout:
                if not begun:
                    return None
                raise Refused(Reason.HEAD_TIMEOUT, "head") from None
            except LinkClosed:
                return None
            finally:
                self._idle = False
            inbox += self._pump.view[:count]

    # Bodies.

    async def continue_(self, bounds: Bounds) -> None:
        """Tell a client that asked for it to send its body (RFC 9110 section 10.1.1)."""
        if not self._inbox:
            await self.send(_CONTINUE, bounds)

    def take_body(self, length: int) -> bytes | None:
        """A body that is here already, whole; else None."""
        inbox = self._inbox
        if len(inbox) < length:
            return None
        body = bytes(inbox[:length])
        del inbox[:length]
        return body

    async def next_part(self, body: RequestBody, bounds: Bounds) -> bytes:
        """The next part of a request's body, as it comes; empty at its end. Raises `Refused`, `ClientGone`."""
        if body.decoder is not None:
            return await self._next_chunks(body, body.decoder, bounds)
        if not body.left:
            return b""
        if not self._inbox:
            await self._more(bounds)
        part = bytes(self._inbox[: body.left])
        del self._inbox[: body.left]
        body.left -= len(part)
        return part

    async def _next_chunks(self, body: RequestBody, decoder: ChunkDecoder, bounds: Bounds) -> bytes:
        while not decoder.complete:
            if not self._inbox:
                await self._more(bounds)
            try:
                ranges, stop = decoder.feed(self._inbox, 0, len(self._inbox))
            except ChunkError as error:
                raise Refused(Reason.BAD_FRAMING, f"chunked body: {error}") from None
            part = b"".join([self._inbox[start:end] for start, end in ranges])
            del self._inbox[:stop]
            body.taken += len(part)
            if body.taken > bounds.body:
                raise Refused(Reason.BODY_TOO_LARGE, "chunked body")
            if part:
                return part
        return b""

    async def _more(self, bounds: Bounds) -> None:
        try:
            count = await self.link.recv_into(self._pump.view, time.monotonic() + bounds.body_idle)
        except LinkTimeout:
            raise Refused(Reason.BODY_TIMEOUT, "body") from None
        except LinkClosed:
            self.gone = True
            raise ClientGone from None
        self._inbox += self._pump.view[:count]

    # While the request is under way.

    def await_on(self, awaited: Awaited | None) -> None:
        """The task will wait for something else (a backend); a client that leaves meanwhile fails that wait."""
        self._awaiting = awaited
        self.link.on_idle = self._overhear
        self.link.watch(READ if len(self._inbox) <= _PIPELINED else select.EPOLLRDHUP)

    def alive(self) -> bool:
        """Take what the client sends meanwhile; false once it has left."""
        if self.gone:
            return False
        if len(self._inbox) > _PIPELINED:
            self.link.watch(select.EPOLLRDHUP)
            return True
        try:
            count = self.link.recv_now(self._pump.view)
        except LinkClosed:
            self.gone = True
            return False
        self._inbox += self._pump.view[:count]
        if len(self._inbox) > _PIPELINED:
            self.link.watch(select.EPOLLRDHUP)
        return True

    def _overhear(self) -> None:
        if len(self._inbox) > _PIPELINED:
            self.gone = True  # only a hang-up is watched now
        if not self.alive():
            self.link.forget()
            if self._awaiting is not None:
                self._awaiting.fail(ClientGone())

    # Answers.

    async def send(self, data: bytes, bounds: Bounds) -> None:
        """Raises `ClientGone`."""
        try:
            await self.link.send(data, time.monotonic() + bounds.client_stall)
        except (LinkClosed, LinkTimeout):
            self.gone = True
            raise ClientGone from None

    def discard_body(self, head: RequestHead) -> bool:
        """After a refusal: drop a small body that is here already; false if the connection cannot go on."""
        if head.chunked or head.length > _DISCARDED or len(self._inbox) < head.length:
            return False
        del self._inbox[: head.length]
        return True

    def hang_up_if_idle(self) -> None:
        """End a connection that waits for its next request; one that is in the midst of a request goes on."""
        if self._idle:
            self.link.fail(LinkClosed(clean=True))

    async def linger(self) -> None:
        """End our side, and read on for a moment: closing with unread bytes would reset the answer away."""
        self.link.say_goodbye()
        deadline = time.monotonic() + _LINGER
        left = 1 << 20
        try:
            while left > 0:
                left -= await self.link.recv_into(self._pump.view, deadline)
        except (LinkClosed, LinkTimeout):
            pass


def _judge_size(inbox: bytearray, end: int, bounds: Bounds) -> None:
    line = inbox.find(b"\r\n")
    if line > bounds.request_line or (line < 0 and len(inbox) > bounds.request_line):
        raise Refused(Reason.URI_TOO_LONG, "request line")
    size = (end if end >= 0 else len(inbox)) - line
    if size > bounds.header_bytes:
        raise Refused(Reason.HEADERS_TOO_LARGE, "size of headers")
