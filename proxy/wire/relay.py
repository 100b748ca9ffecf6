"""A response in flight: from a backend's link to a client's, driven by the pump, while the request's task sleeps.

For each read: into the worker's one buffer, past the body (which may look, hold back or cut), and out of the same
memory to the client. Back-pressure is the kernel's: when the client's socket is full, the one unsent slice is kept,
the backend is no longer read, and the client is watched for room. So a stream owns at most that slice, whatever its
peers do.

    FLOWING  --client's socket full-->  STALLED  --room again-->  FLOWING
    FLOWING or STALLED  --any end-->  ENDED, and the task goes on
"""

import select
import ssl
from collections.abc import Callable
from enum import Enum

import outcome
import trio

from proxy.wire.body import Body, BodyBroken
from proxy.wire.link import GONE, Link
from proxy.wire.pump import WRITE

_RECORD = 64 << 10
"""More than a TLS record holds (RFC 8446 section 5.1: 16 KiB), so a read leaves nothing decrypted behind."""
_LEFT = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class RelayEnd(Enum):
    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    BACKEND_BROKE = "backend_broke"
    BACKEND_IDLE = "backend_idle"
    TIMEOUT = "timeout"


class _State(Enum):
    FLOWING = 1
    STALLED = 2
    ENDED = 3


class Relay:
    """One response body on its way.

    `idle` and `stall` are the seconds that backend and client may be silent, `until` the monotonic time at which the
    whole request ends. `last_words` is the event for a client whose backend failed. `client_alive` is asked when the
    client sends something, and takes it.
    """

    __slots__ = (
        "_after", "_backend", "_body", "_client", "_client_alive", "_idle", "_last_words", "_moved", "_pump", "_stall",
        "_state", "_task", "_unsent", "_until", "end", "sent",
    )  # fmt: skip

    def __init__(
        self,
        client: Link,
        backend: Link,
        body: Body,
        *,
        idle: float,
        stall: float,
        until: float,
        last_words: bytes,
        client_alive: Callable[[], bool],
    ) -> None:
        self._pump = client.pump
        self._client = client
        self._backend = backend
        self._body = body
        self._idle = idle
        self._stall = stall
        self._until = until
        self._last_words = last_words
        self._client_alive = client_alive
        self._state = _State.FLOWING
        self._unsent = b""
        self._after: RelayEnd | None = None
        self._moved = client.pump.now
        self._task: trio.lowlevel.Task | None = None
        self.end: RelayEnd | None = None
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Relay {self._state.name.lower()} sent={self.sent} unsent={len(self._unsent)}>"

    async def run(self) -> RelayEnd:
        """Relay until the body ends, one way or another. Cancellation takes the relay out of the pump."""
        pump = self._pump
        self._moved = pump.now
        pump.timed[self] = None
        self._client.drive(self._on_client)
        self._backend.drive(self._on_backend)
        try:
            if self._backend.tls.pending():
                self._on_backend(0)
            if self.end is None:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            self._state = _State.ENDED
            pump.timed.pop(self, None)
            self._client.undrive()
            self._backend.undrive()
        assert self.end is not None
        return self.end

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _finish(self, end: RelayEnd) -> None:
        if self.end is not None:
            return
        self.end = end
        self._state = _State.ENDED
        self._client.forget()
        self._backend.forget()
        task, self._task = self._task, None
        if task is not None:
            self._pump.woken = True
            trio.lowlevel.reschedule(task, outcome.Value(None))

    # What the pump calls.

    def _on_backend(self, _mask: int) -> None:
        try:
            count = self._backend.tls.read(_RECORD, self._pump.buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except GONE:
            self._break(RelayEnd.BACKEND_BROKE)
            return
        self._moved = self._pump.now
        body = self._body
        try:
            out = body.feed(self._pump.buffer, self._pump.view, count) if count else body.eof()
        except BodyBroken:
            self._break(RelayEnd.BACKEND_BROKE)
            return
        self._pass_on(out, RelayEnd.COMPLETE if body.complete else None)

    def _pass_on(self, out: memoryview | bytes, then: RelayEnd | None) -> None:
        """Send, and `then` end; or keep the slice, and do both when there is room."""
        if out:
            try:
                self._client.tls.write(out)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._unsent = bytes(out)
                self._after = then
                self._state = _State.STALLED
                self._backend.forget()
                self._client.watch(WRITE | select.EPOLLRDHUP)
                return
            except GONE:
                self._finish(RelayEnd.CLIENT_GONE)
                return
            self.sent += len(out)
        if then is not None:
            self._finish(then)

    def _on_client(self, mask: int) -> None:
        if self._state is _State.STALLED:
            self._resume(mask)
        elif mask & _LEFT or not self._client_alive():
            self._finish(RelayEnd.CLIENT_GONE)

    def _resume(self, mask: int) -> None:
        """There may be room again: the same slice once more."""
        try:
            self._client.tls.write(self._unsent)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if mask & _LEFT:
                self._finish(RelayEnd.CLIENT_GONE)
            return
        except GONE:
            self._finish(RelayEnd.CLIENT_GONE)
            return
        self.sent += len(self._unsent)
        self._unsent = b""
        self._moved = self._pump.now
        if self._after is not None:
            self._finish(self._after)
            return
        self._state = _State.FLOWING
        self._client.drive(self._on_client)
        self._backend.drive(self._on_backend)

    def sweep(self, now: float) -> None:
        if now >= self._until:
            self._break(RelayEnd.TIMEOUT)
        elif self._state is _State.STALLED:
            if now - self._moved >= self._stall:
                self._finish(RelayEnd.CLIENT_STALLED)
        elif now - self._moved >= self._idle:
            self._break(RelayEnd.BACKEND_IDLE)

    def _break(self, end: RelayEnd) -> None:
        """The body cannot be completed: say so where the client can understand it, and never end it cleanly."""
        if self._state is _State.FLOWING:
            self._pass_on(self._body.last_words(self._last_words), end)
        else:
            self._finish(end)
