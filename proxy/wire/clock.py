"""How the pump gets to wait: in the place where trio would.

trio asks its clock, whenever no task can run, how long it may sleep. `PumpClock` answers by doing the waiting: in the
pump's epoll, with trio's own epoll registered inside it, so that whatever concerns trio ends the wait as well. It then
says "not at all", and trio goes on at once. Bytes that are only relayed never reach trio's loop: they are served turn
after turn inside this wait, which costs no task switch, no second epoll and no re-arming.

A clock is public API, called from one place. Only the descriptor of trio's epoll is not; it is recognised among the
process's descriptors as the one that `trio.run` opened. Where that fails, `drive` is used: a task that waits for the
pump's epoll with `wait_readable`. Both serve the same pump, and both are tested.
"""

import math
import os
import time
from pathlib import Path

import trio

from proxy.wire.pump import Pump

_SLEEP_AT_MOST = 60.0


class PumpClock(trio.abc.Clock):
    """A monotonic clock that sleeps in the pump's epoll once `attach` has succeeded."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._before = _epolls()
        self._trio_ready = False
        self.attached = False

    def attach(self) -> bool:
        """Take over the waiting; to be called inside `trio.run`. False if trio's epoll cannot be told for certain."""
        opened = _epolls() - self._before
        if len(opened) == 1:
            self._pump.register(opened.pop(), self._on_trio)
            self.attached = True
        return self.attached

    def _on_trio(self, _mask: int) -> None:
        self._trio_ready = True

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if not self.attached:
            return deadline - time.monotonic()
        pump = self._pump
        self._trio_ready = pump.woken = False
        while not (self._trio_ready or pump.woken):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            pump.turn(left if left < _SLEEP_AT_MOST else _SLEEP_AT_MOST)
        return 0


async def drive(pump: Pump) -> None:
    """Serve the pump from a task: the fallback, and the way in programs whose clock is not ours."""
    while True:
        await trio.lowlevel.wait_readable(pump.fileno())
        pump.turn(0)
        # Whoever was woken runs before the next turn, to which its link would look as if nobody waited on it.
        await trio.lowlevel.checkpoint()


async def sweep(pump: Pump, interval: float) -> None:
    """End what has outlived its deadline, every `interval` seconds."""
    while not math.isinf(interval):
        await trio.sleep(interval)
        pump.sweep()


def _epolls() -> set[int]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry) == "anon_inode:[eventpoll]":
                found.add(int(entry.name))
        except OSError:
            continue
    return found
