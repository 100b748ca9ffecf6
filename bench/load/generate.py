"""Runs a job: all at once, or step by step by whoever has more to do meanwhile.

`generate(job, watch)` runs one from warm-up to the last answer. For more say in it, `generating`:

    with generating(job) as load:
        load.warm()
        load.fresh()  # count anew from here, with whatever is to be measured beside it
        load.run(8.0)
        outcome = load.outcome()

`run` returns when its time is over. With one process the load is served in it, and stands still between two calls: who
measures a proxy's CPU over a window, reads the kernel's accounts there. Where things are to happen while the load goes
on, `apart` puts it in processes of its own, whatever `job.processes` says; then `run` only waits and listens, and

    with generating(job, watch, apart=True) as load:
        load.warm()
        for moment, act in happenings:
            load.run_until(load.began + moment)
            act()
        load.run_until(load.began + job.duration)
        load.finish()
        outcome = load.outcome()

plays faults on a schedule. `load.began` is the monotonic time at which counting began: with `warm`, the job's start,
from which `Job.arrivals` count.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from bench.load.job import Job
from bench.load.outcome import GRACE, PART, Account, Hears, Outcome, Watch
from bench.load.part import Part
from bench.load.processes import Apart


class Generating(Protocol):
    """A job under way. `began`: when counting did (monotonic)."""

    began: float

    def warm(self) -> None:
        """Let the load go on until its warm-up is over, and count anew from there."""

    def run(self, seconds: float) -> None:
        """Let the load go on for a time. Once it is measured, whoever watches hears of every second that is over."""

    def run_until(self, moment: float) -> None:
        """The same, up to a monotonic time."""

    def fresh(self) -> None:
        """Count anew: the measured time begins now. Times of requests that were due before are not kept."""

    def finish(self, seconds: float = GRACE) -> None:
        """The measured time is over; wait for the answers of what was asked in it, for at most so long."""

    def outcome(self) -> Outcome:
        """What was counted since `fresh`."""


def generate(job: Job, watch: Watch | None = None) -> Outcome:
    """Run a job: warm up, measure, and wait for the last answers. Raises `BenchError`."""
    with generating(job, watch) as load:
        load.warm()
        load.run_until(load.began + job.duration)
        load.finish()
        return load.outcome()


@contextlib.contextmanager
def generating(
    job: Job, watch: Watch | None = None, *, apart: bool = False, told: Hears | None = None
) -> Iterator[Generating]:
    """A job's load, for as long as the context lasts. `told` hears of every request. Raises `BenchError`."""
    load = Apart(job, watch, told) if apart or job.processes > 1 else Here(job, watch, told)
    try:
        yield load
    finally:
        load.close()


class Here:
    """The job in this process; `Generating`."""

    def __init__(self, job: Job, watch: Watch | None, hears: Hears | None) -> None:
        self._part = Part(job)
        if hears is not None:
            self._part.tell(hears)
        self._watch = watch
        self._seconds = 0
        self._counts = False
        self._unfinished = 0
        self.began = time.monotonic()
        self._start = self.began + job.warm_up
        self._account = Account(self.began, moments=self._part.load.moments)
        self._part.begin(self.began)

    def warm(self) -> None:
        self.run_until(self._start)
        self._count_from(self._start)

    def run(self, seconds: float) -> None:
        self.run_until(time.monotonic() + seconds)

    def run_until(self, moment: float) -> None:
        while (tick := self.began + self._seconds + 1) <= moment:
            self._part.load.run_until(tick)
            self._tick()
        self._part.load.run_until(moment)

    def fresh(self) -> None:
        self._count_from(time.monotonic())

    def _count_from(self, moment: float) -> None:
        self.began = moment
        self._part.fresh(self.began)
        self._account = Account(self.began, moments=self._part.load.moments)
        self._seconds = 0
        self._counts = True

    def finish(self, seconds: float = GRACE) -> None:
        now = time.monotonic()
        if now - self.began - self._seconds > PART:
            self._tick()
        self._take()
        self._account.over(now)
        self._unfinished = self._part.finish(seconds)
        self._take()

    def outcome(self) -> Outcome:
        self._take()
        return self._account.outcome(time.monotonic(), self._unfinished)

    def close(self) -> None:
        self._part.load.close()

    def _take(self) -> None:
        self._account.add(*self._part.taken())

    def _tick(self) -> None:
        """A second is over."""
        results, spent = self._part.taken()
        second = self._account.second(self._seconds, results, self._part.load.open, spent)
        self._account.add(results, spent)
        self._seconds += 1
        if self._watch is not None and self._counts:
            self._watch(second)
