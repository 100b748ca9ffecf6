"""The mock's engine: one thread, one epoll, and timers in slots of a millisecond.

Lean on purpose: a mock that costs more than what it measures measures itself. Timers that fall due in the same
millisecond are served as one batch, which costs one look at a small heap instead of one each; between batches the
engine sleeps in `epoll_wait`, whose resolution is a millisecond as well. A timer is never early.
"""

import errno
import heapq
import os
import select
import signal
import socket
import time
from collections.abc import Callable

READ = select.EPOLLIN | select.EPOLLRDHUP
READ_WRITE = READ | select.EPOLLOUT
_EVENTS_A_TURN = 256
_ACCEPTS_A_TURN = 64
_BACKLOG = 4096
_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_RELIEF = 0.1  # seconds without accepting, when there is no descriptor left


class Engine:
    """`run` serves until `stop`. `now` is the monotonic time at which this turn's timers were looked at."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._ticks: list[int] = []  # the keys of `_slots`, as a heap
        self._soon: list[Callable[[], None]] = []
        self._running = True
        woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.watch(woken, select.EPOLLIN, lambda _: None)

    def listen(
        self, address: tuple[str, int], accepted: Callable[[socket.socket], None], *, shared: bool = False
    ) -> socket.socket:
        """Accept at an address, port 0 for any free one; the socket that listens there, and for as long as it is not
        forgotten. `shared`: others may be bound to the port. Raises `OSError`.
        """
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listening = socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)
        listening.setblocking(False)
        descriptor = listening.fileno()

        def again() -> None:
            if listening.fileno() == descriptor:
                self.change(descriptor, select.EPOLLIN)

        def accept(_: int = 0) -> None:
            for _ in range(_ACCEPTS_A_TURN):
                try:
                    sock, _ = listening.accept()
                except OSError as error:
                    if error.errno in _OUT_OF_DESCRIPTORS:
                        self.change(descriptor, 0)
                        self.at(time.monotonic() + _RELIEF, again)
                    return
                accepted(sock)

        self.watch(descriptor, select.EPOLLIN, accept)
        return listening

    def watch(self, descriptor: int, mask: int, ready: Callable[[int], None]) -> None:
        """Call `ready` with the events of a descriptor, level-triggered, until it is forgotten."""
        self._ready[descriptor] = ready
        self._epoll.register(descriptor, mask)

    def change(self, descriptor: int, mask: int) -> None:
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        if self._ready.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at a monotonic time; in the next turn, if that has passed."""
        if when <= self.now:
            self._soon.append(call)
            return
        tick = int(when * 1000.0) + 1
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [call]
            heapq.heappush(self._ticks, tick)
        else:
            slot.append(call)

    def stop_on(self, *signals: signal.Signals) -> None:
        """Leave `run` on these. One that arrives on the way into `epoll_wait` ends it too: the kernel's handler writes
        to the pipe, while Python's would wait for the next event.
        """
        signal.set_wakeup_fd(self._wake)
        for number in signals:
            signal.signal(number, lambda *_: self.stop())

    def stop(self) -> None:
        """Leave `run`."""
        self._running = False
        os.write(self._wake, b"\0")

    def run(self) -> None:
        ready, slots, ticks = self._ready, self._slots, self._ticks
        poll, monotonic = self._epoll.poll, time.monotonic
        while self._running:
            if self._soon:
                timeout = 0.0
            elif ticks:
                timeout = max(0.0, ticks[0] * 0.001 - monotonic())
            else:
                timeout = -1.0
            for descriptor, mask in poll(timeout, _EVENTS_A_TURN):
                call = ready.get(descriptor)  # none: closed by one that came before it in this batch
                if call is not None:
                    call(mask)
            self.now = monotonic()
            soon, self._soon = self._soon, []
            for due in soon:
                due()
            tick = int(self.now * 1000.0)
            while ticks and ticks[0] <= tick:
                for due in slots.pop(heapq.heappop(ticks)):
                    due()
