"""A link: one TLS socket in the pump.

At any moment it is in one of three hands. A task waits on it (`recv_into`, `send`, `handshake`); or a relay drives it,
and has put its own handler in place; or nobody needs it, and then `on_idle` hears what happens to it (a client that
leaves while its backend thinks, a pooled connection that the backend closes). What nobody can take is no longer
watched, since a level-triggered epoll would spin.
"""

import contextlib
import errno
import math
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import outcome
import trio

from proxy.wire.pump import READ, WRITE, Pump


class LinkTimeout(Exception):
    """The peer did not do its part in time."""


class LinkClosed(Exception):
    """The peer is gone. `clean`: with TLS's close_notify, or an end of stream between messages."""

    def __init__(self, *, clean: bool) -> None:
        super().__init__("closed" if clean else "broken")
        self.clean = clean


_ABSORBED = 64 << 10

GONE = (ssl.SSLError, OSError)
"""What a dead peer's socket raises, after the two wishes (`SSLWantReadError`, `SSLWantWriteError`) are handled."""


class Tls(Protocol):
    """What moves bytes of one TLS connection: the object beneath an `SSLSocket`, or that itself."""

    def read(self, size: int, buffer: memoryview | bytearray, /) -> int: ...

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...

    def pending(self) -> int: ...

    def do_handshake(self) -> None: ...


def _beneath(sock: ssl.SSLSocket) -> Tls:
    """The object that `sock` asks for everything; its own methods only look whether it is there, and cost as much as
    a small read. It is an attribute of CPython's that is not documented: where there is none, `sock` does as well.
    """
    tls: Tls = getattr(sock, "_sslobj", None) or sock  # type: ignore[assignment]
    return tls


class _Closed:
    """In place of a connection that was closed: OpenSSL would go on with its descriptor, which is another's by now."""

    def read(self, _size: int, _buffer: memoryview | bytearray, /) -> int:
        raise OSError(errno.EBADF, "closed")

    def write(self, _data: bytes | bytearray | memoryview, /) -> int:
        raise OSError(errno.EBADF, "closed")

    def pending(self) -> int:
        return 0

    def do_handshake(self) -> None:
        raise OSError(errno.EBADF, "closed")


_CLOSED: Tls = _Closed()


class Link:
    """`deadline` is the monotonic time at which the present wait fails. `tls` is for whoever drives the link."""

    __slots__ = ("__weakref__", "_mask", "_task", "deadline", "fd", "on_idle", "pump", "sock", "tls")

    def __init__(self, pump: Pump, sock: ssl.SSLSocket) -> None:
        self.pump = pump
        self.sock = sock
        self.tls = _beneath(sock)
        self.fd = sock.fileno()
        self.deadline = 0.0
        self.on_idle: Callable[[], None] | None = None
        self._task: trio.lowlevel.Task | None = None
        self._mask = READ
        pump.register(self.fd, self._ready)

    def __repr__(self) -> str:
        state = "closed" if self.fd < 0 else "awaited" if self._task else "idle"
        return f"<Link fd={self.fd} {state}>"

    # What the pump calls.

    def _ready(self, mask: int) -> None:
        if self._task is not None:
            self._wake(outcome.Value(None))
        elif self.on_idle is not None:
            self.on_idle()
        else:
            self.forget()

    def sweep(self, now: float) -> None:
        if now >= self.deadline:
            self.fail(LinkTimeout())

    def _wake(self, result: outcome.Outcome[None]) -> None:
        task, self._task = self._task, None
        if task is not None:
            self.pump.timed.pop(self, None)
            self.pump.woken = True
            trio.lowlevel.reschedule(task, result)

    def fail(self, error: Exception) -> None:
        """Let the task that waits here go on with `error`; nothing, if none waits."""
        self._wake(outcome.Error(error))

    # Watching.

    def watch(self, mask: int) -> None:
        if mask != self._mask:
            if self._mask == 0:
                self.pump.register(self.fd, self._ready, mask)
            elif mask == 0:
                self.pump.unregister(self.fd)
            else:
                self.pump.watch(self.fd, mask)
            self._mask = mask

    def watch_reading(self) -> None:
        self.watch(READ)

    def forget(self) -> None:
        """Watch for nothing, not even a hang-up, until somebody waits again."""
        self.watch(0)

    def drive(self, handler: Callable[[int], None]) -> None:
        """Hand the link to a relay."""
        self.watch(READ)
        self.pump.handle(self.fd, handler)

    def undrive(self) -> None:
        """Take it back."""
        if self._mask:
            self.pump.handle(self.fd, self._ready)

    # What tasks call.

    async def _wait(self, mask: int, deadline: float) -> None:
        if mask != self._mask:
            self.watch(mask)
        self.deadline = deadline
        self._task = trio.lowlevel.current_task()
        self.pump.timed[self] = None
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        self.pump.timed.pop(self, None)
        return trio.lowlevel.Abort.SUCCEEDED

    async def readable(self, deadline: float) -> None:
        """Wait until there is something to read. Raises `LinkTimeout`."""
        if not self.tls.pending():
            await self._wait(READ, deadline)

    async def recv_into(self, view: memoryview, deadline: float) -> int:
        """Read at least one byte. Waits first: to be called when nothing is known to be there.

        Raises `LinkTimeout`, `LinkClosed`.
        """
        wish = READ
        while True:
            if wish is WRITE or not self.tls.pending():
                await self._wait(wish, deadline)
            try:
                count = self.tls.read(len(view), view)
            except ssl.SSLWantReadError:
                wish = READ
            except ssl.SSLWantWriteError:
                wish = WRITE
            except GONE:
                raise LinkClosed(clean=False) from None
            else:
                if not count:
                    raise LinkClosed(clean=True)
                return count

    def recv_now(self, view: memoryview) -> int:
        """Read what is there: 0 if nothing is. Raises `LinkClosed`."""
        try:
            count = self.tls.read(len(view), view)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except GONE:
            raise LinkClosed(clean=False) from None
        if not count:
            raise LinkClosed(clean=True)
        return count

    async def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """Send all of `data`. OpenSSL insists on the same bytes again after a wish, and gets them.

        Raises `LinkTimeout`, `LinkClosed`.
        """
        sent = 0
        total = len(data)
        while True:
            try:
                sent += self.tls.write(data if not sent else memoryview(data)[sent:])
            except ssl.SSLWantWriteError:
                await self._wait(WRITE, deadline)
            except ssl.SSLWantReadError:
                await self._wait(READ, deadline)
            except GONE:
                raise LinkClosed(clean=False) from None
            else:
                if sent >= total:
                    return

    async def handshake(self, deadline: float) -> None:
        """Raises `LinkTimeout`, `ssl.SSLError`, `OSError`."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait(READ, deadline)
            except ssl.SSLWantWriteError:
                await self._wait(WRITE, deadline)
            else:
                return

    def say_goodbye(self) -> None:
        """Send close_notify, if the socket takes it now, and end our direction."""
        with contextlib.suppress(*GONE, ValueError):
            self.sock.unwrap()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    async def absorb(self) -> None:
        """After a failed handshake: end our side, and take what comes. Closing with unread bytes would reset the alert
        away, and a client of TLS 1.3 has sent its request by now.
        """
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        left = _ABSORBED
        with contextlib.suppress(LinkTimeout, LinkClosed, OSError):
            while left > 0:
                await self._wait(READ, math.inf)
                taken = len(socket.socket.recv(self.sock, 1 << 14))
                left = left - taken if taken else 0

    def close(self) -> None:
        """Close at once. What is unsent is lost; closing twice is allowed."""
        if self.fd >= 0:
            self.pump.timed.pop(self, None)
            self.pump.unregister(self.fd)
            self._mask = 0
            self.fd = -1
            self.on_idle = None  # it leads back here: a cycle would keep TLS's memory until a full collection
            self.sock.close()
            self.tls = _CLOSED
