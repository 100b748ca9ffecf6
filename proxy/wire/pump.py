"""The pump: one epoll for all sockets of a worker.

Every socket is registered once, level-triggered, with a handler. A turn waits, then calls the handlers of what is
ready, at most `BATCH` of them. A handler moves bytes (a relay's) or wakes the task that waits (a link's); it never
waits itself. Level-triggered, so that a waiter need not try first: what is unread will be announced.

Who waits for the epoll is not decided here: see `proxy.wire.clock`.
"""

import logging
import select
import time
from collections.abc import Callable
from typing import Protocol

BATCH = 128
READ = select.EPOLLIN | select.EPOLLRDHUP
WRITE = select.EPOLLOUT

_log = logging.getLogger("penstock.pump")


class Timed(Protocol):
    """What a sweep asks: whether its time is up."""

    def sweep(self, now: float) -> None: ...


class Pump:
    """`now` is the monotonic time of the last pass; `woken` is set when a task was made ready to run."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.timed: dict[Timed, None] = {}
        self.buffer = bytearray(256 << 10)
        self.view = memoryview(self.buffer)
        self.now = time.monotonic()
        self.woken = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def register(self, fd: int, handler: Callable[[int], None], mask: int = READ) -> None:
        self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def watch(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def handle(self, fd: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler

    def unregister(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds, serve what is ready; whether anything was."""
        events = self._epoll.poll(timeout, BATCH)
        self.now = time.monotonic()
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is None:
                continue  # closed by an earlier handler of this turn
            try:
                handler(mask)
            except Exception:
                # One connection's handler must never take the others along; its own is closed by its deadline.
                _log.exception("handler failed; descriptor dropped")
                self.unregister(fd)
        return bool(events)

    def sweep(self) -> None:
        """Ask everything that has a deadline whether it has passed."""
        now = time.monotonic()
        for timed in list(self.timed):
            timed.sweep(now)

    def close(self) -> None:
        self._epoll.close()
