"""Asking one backend: the request out, the head of its answer in.

Everything that can go wrong before an answer has begun is a `Failed` with its `Outcome`; what follows from that is
decided elsewhere.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from proxy.config.structs import Bounds
from proxy.routing.outcome import Outcome
from proxy.wire.body import BodyBroken, CloseFraming, Framing, LengthFraming
from proxy.wire.chunks import LAST_CHUNK, ChunkDecoder, ChunkError, chunk
from proxy.wire.http1 import HEAD_END, BadResponse, ResponseHead, read_response_head
from proxy.wire.link import LinkClosed, LinkTimeout
from proxy.wire.pool import BackendLink, ConnectFailed, Pool
from proxy.wire.server import ClientGone

_HEAD_AT_MOST = 64 << 10


class Failed(Exception):
    """An attempt that brought no answer for the client. `wait`: the backend's `retry-after`, in seconds."""

    def __init__(self, outcome: Outcome, *, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(outcome.name)
        self.outcome = outcome
        self.status = status
        self.wait = wait


class Answer:
    """A backend's answer that has begun. `rest` is what of the body came with the head.

    Its connection is closed by `close`, unless `keep` has given it back to the pool. While its body is read here, the
    backend may be silent for `idle` seconds.
    """

    __slots__ = ("_pool", "head", "link", "rest")

    def __init__(self, head: ResponseHead, rest: bytes, link: BackendLink, pool: Pool) -> None:
        self.head = head
        self.rest = rest
        self.link = link
        self._pool = pool

    async def small_body(self, at_most: int, until: float, idle: float, waiting: "Waiting | None" = None) -> bytes:
        """The whole body; the connection is given back. `waiting`: for whom, where it is of no use to anybody else.

        Raises `BodyBroken`, also for one larger than `at_most`, and `ClientGone`.
        """
        if waiting is not None:
            if waiting.gone:
                raise ClientGone
            waiting.await_on(self.link)
        try:
            return await self._small_body(at_most, until, idle)
        finally:
            if waiting is not None:
                waiting.await_on(None)

    async def _small_body(self, at_most: int, until: float, idle: float) -> bytes:
        framing = self.head.framing
        if framing is None:
            return b""
        received = bytearray(self.rest)
        payload = bytearray()
        pos = 0
        while True:
            pos = _read_on(framing, received, pos, payload)
            if framing.complete:
                break
            if len(received) > at_most:
                raise BodyBroken("error body too long")
            if not await self._more(received, framing, until, idle):
                break
        self.keep(clean=pos == len(received))
        return bytes(payload)

    async def ahead(self, enough: Callable[[bytearray], bool] | None, at_most: int, until: float, idle: float) -> bytes:
        """The payload, as far as it is `enough`, or all of it; what was read stays to be passed on as it came.

        Raises `BodyBroken`, also for more than `at_most`.
        """
        framing = _again(self.head.framing)
        if framing is None:
            return b""
        received, payload = bytearray(self.rest), bytearray()
        pos = 0
        while True:
            pos = _read_on(framing, received, pos, payload)
            if framing.complete or (enough is not None and enough(payload)):
                break
            if len(received) > at_most:
                raise BodyBroken("too long to look at")
            if not await self._more(received, framing, until, idle):
                break
        self.rest = bytes(received)
        return bytes(payload)

    async def _more(self, received: bytearray, framing: Framing, until: float, idle: float) -> bool:
        """Read on; false where the body has ended with its connection. Raises `BodyBroken`."""
        view = self.link.pump.view
        try:
            count = await self.link.recv_into(view, min(time.monotonic() + idle, until))
        except LinkClosed as closed:
            if closed.clean and isinstance(framing, CloseFraming):
                return False
            raise BodyBroken("ended early") from None
        except LinkTimeout:
            raise BodyBroken("took too long") from None
        received += view[:count]
        return True

    def let_go(self) -> None:
        """The head was passed on, and what came with it: only whether the backend keeps the connection matters now."""
        self.head.passed.clear()
        self.head.said.clear()
        self.rest = b""

    def keep(self, *, clean: bool) -> None:
        """The answer is complete. `clean`: nothing came after it."""
        if clean and self.head.keep_alive:
            self._pool.give_back(self.link)
        else:
            self.link.close()

    def close(self) -> None:
        self.link.close()


def _again(framing: Framing | None) -> Framing | None:
    """The framing of a body of which nothing was read, once more."""
    match framing:
        case LengthFraming():
            return LengthFraming(framing.left)
        case CloseFraming():
            return CloseFraming()
        case None:
            return None
        case _:
            return ChunkDecoder()


def _read_on(framing: Framing, received: bytearray, pos: int, payload: bytearray) -> int:
    try:
        ranges, stop = framing.feed(received, pos, len(received))
    except ChunkError as error:
        raise BodyBroken(str(error)) from None
    for start, end in ranges:
        payload += received[start:end]
    return stop


class Waiting(Protocol):
    """For whom a backend is asked: whether they are gone, and which link has to hear of it if they go."""

    @property
    def gone(self) -> bool: ...

    def await_on(self, link: BackendLink | None, /) -> None: ...


class Unwatched:
    """Nobody leaves: several answers are waited for at a time, and bounded."""

    gone = False

    def await_on(self, link: BackendLink | None, /) -> None:
        """Nothing to do."""


class Asking(msgspec.Struct):
    """What a backend is sent, and how long it may take.

    `parts` gives an opaque body that streams after `request`, part by part, and an empty part at its end. `again`: it
    may be sent a second time, though the first may have been taken; never with `parts`. `until` is the monotonic time
    at which an answer has begun or nobody waits for it. `sent` is called before the first byte goes out.
    """

    connection: Waiting
    request: bytes
    parts: Callable[[], Awaitable[bytes]] | None
    chunked: bool
    again: bool
    bounds: Bounds
    first_byte: float
    until: float
    sent: Callable[[], None]


async def reach(pool: Pool, asking: Asking) -> Answer:
    """Send a request and read the head of its answer, over a warm connection if there is one.

    A warm connection may have been closing as we wrote; then once more over a fresh one, if the request may be sent
    again, and it is nobody's fault.
    Raises `Failed`, `ClientGone`.
    """
    link = pool.idle()
    if link is not None:
        try:
            return await _ask(link, pool, asking)
        except Failed as failed:
            if failed.outcome is not Outcome.RESET_BEFORE_HEAD or not asking.again:
                raise
    try:
        link = await pool.connect(asking.bounds.connect)
    except ConnectFailed as failed:
        raise Failed(Outcome.CONNECT_TIMEOUT if failed.timeout else Outcome.CONNECT_FAILED) from None
    return await _ask(link, pool, asking)


async def _ask(link: BackendLink, pool: Pool, asking: Asking) -> Answer:
    connection = asking.connection
    try:
        if connection.gone:
            raise ClientGone
        connection.await_on(link)
        asking.sent()
        await link.send(asking.request, min(time.monotonic() + asking.bounds.body_idle, asking.until))
        if asking.parts is not None:
            await _send_parts(link, asking)
            connection.await_on(link)
        head, rest = await _read_head(link, min(time.monotonic() + asking.first_byte, asking.until))
    except LinkTimeout:
        link.close()
        raise Failed(Outcome.FIRST_BYTE_TIMEOUT) from None
    except (LinkClosed, BadResponse):
        link.close()
        raise Failed(Outcome.RESET_BEFORE_HEAD) from None
    except BaseException:
        link.close()
        raise
    finally:
        connection.await_on(None)
    if not link.used:
        link.release_room()  # tickets come with the first answer
    return Answer(head, rest, link, pool)


async def _send_parts(link: BackendLink, asking: Asking) -> None:
    """Pass an opaque body on as it comes, framed anew."""
    assert asking.parts is not None
    idle = asking.bounds.body_idle
    while part := await asking.parts():
        await link.send(chunk(part) if asking.chunked else part, time.monotonic() + idle)
    if asking.chunked:
        await link.send(LAST_CHUNK, time.monotonic() + idle)


async def _read_head(link: BackendLink, deadline: float) -> tuple[ResponseHead, bytes]:
    view = link.pump.view
    received = b""
    while True:
        count = await link.recv_into(view, deadline)
        received += bytes(view[:count])
        while (end := received.find(HEAD_END)) >= 0:
            head = read_response_head(received[: end + 4])
            received = received[end + 4 :]
            if head.status >= 200:  # interim answers (RFC 9110 section 15.2) are not passed on
                return head, received
        if len(received) > _HEAD_AT_MOST:
            raise BadResponse("head too long")
