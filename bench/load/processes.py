"""A job's load in processes of its own, each with its part, while this one does something else; `Generating`.

Each sends what it has counted every second, and when it is asked. It ends when its pipe does: however this process
comes to its end.
"""

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from bench.failure import BenchError
from bench.load.job import Job
from bench.load.messages import Begin, Counted, Failed, Finish, Fresh, Order, Ready, Report, Start, Stream, Take, framed
from bench.load.outcome import GRACE, Account, Hears, Outcome, Watch
from bench.load.results import Moments, Results, unpacked

_READY_WITHIN = 60.0
_EARLY = 0.5  # s before the job's start, at which it is ordered
_SOON = 0.05  # s in which an order reaches every process
_ANSWER_WITHIN = 10.0
_END_WITHIN = 3.0


class _Process:
    """One of them: what it is told, and what it says."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.load.child"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout
        self.stream = Stream()
        self.ready = False
        self.counted = 0  # reports that were asked for
        self.over: int | None = None

    def order(self, order: Order) -> None:
        try:
            self.stdin.write(framed(order))
            self.stdin.flush()
        except BrokenPipeError:
            raise self.ended() from None

    def ended(self) -> BenchError:
        """It should not have."""
        try:
            code: object = self.process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            code = "no code"
        return BenchError(f"a process of the load ended before its time, with {code}; what it says is above")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.stdin.close()
        try:
            self.process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stdout.close()


class Apart:
    """The job in `processes`, one at least. Raises `BenchError`."""

    def __init__(self, job: Job, watch: Watch | None, hears: Hears | None) -> None:
        self._watch = watch
        self._hears = hears
        self._seconds: dict[int, list[Counted]] = {}
        self._counts = False  # what comes is measured
        self._at = 0.0  # up to when was counted
        self.processes: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        try:
            self._start(job)
        except BaseException:
            self.close()
            raise

    def _start(self, job: Job) -> None:
        count = max(1, job.processes)
        for _ in range(count):
            process = _Process()
            self.processes.append(process)
            self._selector.register(process.stdout, selectors.EVENT_READ, process)
        for part, process in enumerate(self.processes):
            process.order(Begin(job, part, count, self._hears is not None))
        self._await(lambda: all(process.ready for process in self.processes), _READY_WITHIN)
        self.began = time.monotonic() + _SOON
        self._moments = Moments(job.grain, job.apart)
        self._account = Account(self.began, count, self._moments)
        self._start_at = self.began + job.warm_up
        self._order(Start(self.began))

    def warm(self) -> None:
        self.run_until(self._start_at - _EARLY)
        self._count_from(max(self._start_at, time.monotonic()))

    def run(self, seconds: float) -> None:
        self.run_until(time.monotonic() + seconds)

    def run_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._hear(left)

    def fresh(self) -> None:
        self._count_from(time.monotonic() + _SOON)

    def _count_from(self, since: float) -> None:
        self._order(Fresh(since))
        self.began = since
        self._account = Account(since, len(self.processes), self._moments)
        self._seconds.clear()
        self._counts = True
        self._await_counts()

    def finish(self, seconds: float = GRACE) -> None:
        self._order(Finish(seconds))
        self._await_counts()
        self._account.over(self._at)
        self._await(lambda: all(process.over is not None for process in self.processes), seconds + _ANSWER_WITHIN)

    def outcome(self) -> Outcome:
        if any(process.over is None for process in self.processes):
            self._order(Take())
            self._await_counts()
        return self._account.outcome(self._at, sum(process.over or 0 for process in self.processes))

    def close(self) -> None:
        """End all of them, however they are."""
        self._selector.close()
        for process in self.processes:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for process in self.processes:
            process.close()

    def _order(self, order: Order) -> None:
        for process in self.processes:
            process.counted = 0
            process.order(order)

    def _await_counts(self) -> None:
        self._await(lambda: all(process.counted for process in self.processes), _ANSWER_WITHIN)

    def _await(self, there: Callable[[], bool], within: float) -> None:
        until = time.monotonic() + within
        while not there():
            left = until - time.monotonic()
            if left <= 0:
                raise BenchError(
                    f"the processes of the load did not answer within {within:g} s: the machine is too busy"
                )
            self._hear(left)

    def _hear(self, seconds: float) -> None:
        """What processes say within a time; returns when some did."""
        for key, _ in self._selector.select(seconds):
            process: _Process = key.data
            data = os.read(process.stdout.fileno(), 1 << 20)
            if not data:
                raise process.ended()
            for report in process.stream.reports(data):
                self._heard(process, report)

    def _heard(self, process: _Process, report: Report) -> None:
        match report:
            case Ready():
                process.ready = True
            case Failed(why):
                raise BenchError(why)
            case Counted():
                self._count(process, report)

    def _count(self, process: _Process, counted: Counted) -> None:
        if counted.since != self.began:
            return  # it crossed with the order to count anew
        process.over = counted.over
        self._at = max(self._at, counted.at)
        self._account.add(unpacked(counted.results), counted.cpu)
        if self._hears is not None:
            for told in counted.told:
                self._hears(told)
        if counted.second is None:
            process.counted += 1
            return
        parts = self._seconds.setdefault(counted.second, [])
        parts.append(counted)
        if len(parts) == len(self.processes):
            self._second(counted.second, self._seconds.pop(counted.second))

    def _second(self, at: int, parts: list[Counted]) -> None:
        results, cpu = Results(), sum(part.cpu for part in parts)
        for part in parts:
            results.merge(unpacked(part.results))
        second = self._account.second(at, results, sum(part.clients for part in parts), cpu)
        if self._watch is not None and self._counts:
            self._watch(second)
