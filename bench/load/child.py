"""A process of a load that is shared: orders on stdin, reports on stdout. It ends when its parent does.

Every second it says what it has counted, by itself: a parent that is busy does not hold it up.
"""

import contextlib
import os
import select
import signal
import sys
import time

from bench.failure import BenchError
from bench.load.messages import Begin, Counted, Failed, Finish, Fresh, Order, Ready, Report, Start, Stream, Take, framed
from bench.load.outcome import PART, Told
from bench.load.part import Part

_ORDERS_EVERY = 0.01
_JUST = 1e-6
_UNSAID_AT_MOST = 256 << 20  # after which the parent must be taken for lost


class _Gone(Exception):
    """The parent is."""


class Child:
    """`run` takes orders until there is no one to give any."""

    def __init__(self, orders: int, reports: int) -> None:
        self._orders = orders
        self._reports = reports
        self._stream = Stream()
        self._told: list[Told] = []
        self._unsaid = bytearray()
        self._since = 0.0
        self._second = 0

    def run(self) -> None:
        """Raises `BenchError`."""
        begin = self._first()
        self._part = Part(begin.job, begin.part, begin.parts)
        try:
            if begin.tells:
                self._part.tell(self._told.append)
            os.set_blocking(self._reports, False)  # a parent that does something else must not hold the load up
            self._say(Ready())
            self._listen()
            while True:
                self._part.load.run(3600.0)
        finally:
            self._part.load.close()

    def fail(self, why: str) -> None:
        """Say so, if there is someone to hear it."""
        os.set_blocking(self._reports, True)
        with contextlib.suppress(BrokenPipeError):
            self._say(Failed(why))

    def _first(self) -> Begin:
        while True:
            for order in self._stream.orders(self._read()):
                assert isinstance(order, Begin)
                return order

    def _listen(self) -> None:
        if select.select((self._orders,), (), (), 0)[0]:
            for order in self._stream.orders(self._read()):
                self._take(order)
        self._write()
        self._part.load.at(time.monotonic() + _ORDERS_EVERY, self._listen)

    def _take(self, order: Order) -> None:
        received = time.monotonic()
        match order:
            case Start(begins):
                self._part.begin(begins)
                self._since = begins
                self._await_second()
            case Fresh(since):
                before = since - _JUST  # so that what is due at that moment is counted
                self._part.load.at(before, lambda: self._fresh(since, max(since, received)))
            case Take():
                self._report(None)
            case Finish(seconds):
                self._part.load.at(time.monotonic(), lambda: self._finish(seconds))
            case Begin():
                raise BenchError("a process of the load was begun twice")

    def _fresh(self, since: float, counted: float) -> None:
        """`counted`: from when on requests are, if the order came late."""
        self._part.fresh(counted)
        self._told.clear()
        self._since = since
        self._second = 0
        self._await_second()
        self._report(None)

    def _await_second(self) -> None:
        since, second = self._since, self._second

        def over() -> None:
            if (self._since, self._second) == (since, second):
                self._report(second)
                self._second += 1
                self._await_second()

        self._part.load.at(since + second + 1, over)

    def _finish(self, seconds: float) -> None:
        if time.monotonic() - self._since - self._second > PART:
            self._report(self._second)
        self._report(None)
        self._second = -1  # there are no more
        unfinished = self._part.finish(seconds)
        self._report(None, unfinished)

    def _report(self, second: int | None, over: int | None = None) -> None:
        results, cpu = self._part.taken()
        told, self._told[:] = self._told[:], []
        now = time.monotonic()
        self._say(Counted(self._since, now, second, results.packed(), cpu, self._part.load.open, over, told))

    def _read(self) -> bytes:
        data = os.read(self._orders, 1 << 16)
        if not data:
            raise _Gone
        return data

    def _say(self, report: Report) -> None:
        self._unsaid += framed(report)
        if len(self._unsaid) > _UNSAID_AT_MOST:
            raise _Gone
        self._write()

    def _write(self) -> None:
        """As much as the pipe takes; the rest next time."""
        with contextlib.suppress(BlockingIOError):
            while self._unsaid:
                del self._unsaid[: os.write(self._reports, self._unsaid)]


def main() -> int:
    """An interrupt is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = Child(sys.stdin.fileno(), sys.stdout.fileno())
    try:
        child.run()
    except (_Gone, BrokenPipeError):
        pass
    except BenchError as error:
        child.fail(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
