"""Runs a job: all at once, or step by step by whoever has more to do meanwhile.

`generate(job, watch)` runs one from warm-up to the last answer. For more say in it, `generating`:

    with generating(job) as load:
        load.run(job.warm_up)
        load.fresh()  # count anew from here, with whatever is to be measured beside it
        load.run(8.0)
        outcome = load.outcome()

`run` returns when its time is over. With one process the load is served in it, and stands still between two calls: who
measures a proxy's CPU over a window, reads the kernel's accounts there. Where things are to happen while the load goes
on, `apart` puts it in processes of its own, whatever `job.processes` says; then `run` only waits and listens, and

    with generating(job, watch, apart=True) as load:
        load.fresh()
        for moment, act in happenings:
            load.run_until(load.began + moment)
            act()
        load.run_until(load.began + job.duration)
        load.finish()
        outcome = load.outcome()

plays faults on a schedule. `load.began` is the monotonic time at which counting began; requests fall due by
`Job.arrivals` from when the load was started, `job.warm_up` seconds before what they call the job's start.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

from bench.failure import BenchError
from bench.load.arrivals import moments
from bench.load.connection import Plan
from bench.load.draw import Draw
from bench.load.engine import Load, Target
from bench.load.job import Job
from bench.load.outcome import Account, Outcome, Watch
from bench.load.results import Moments, Results
from bench.load.source import Closed

GRACE = 30.0
"""Seconds that answers may still take when a job's time is over."""
_PART = 0.05  # of a second that is not over at the end, from which on it is one of those that are shown


class Generating(Protocol):
    """A job under way. `began`: when counting did (monotonic)."""

    began: float

    def run(self, seconds: float) -> None:
        """Let the load go on for a time; whoever watches hears of every second that is over."""

    def run_until(self, moment: float) -> None:
        """The same, up to a monotonic time."""

    def fresh(self) -> None:
        """Count anew: the measured time begins here. Times of requests that were due before are not kept."""

    def finish(self, seconds: float = GRACE) -> None:
        """The measured time is over; wait for the answers of what was asked in it, for at most so long."""

    def outcome(self) -> Outcome:
        """What was counted since `fresh`."""


def generate(job: Job, watch: Watch | None = None) -> Outcome:
    """Run a job: warm up, measure, and wait for the last answers. Raises `BenchError`."""
    with generating(job, watch) as load:
        load.run(job.warm_up)
        load.fresh()
        load.run(job.duration)
        load.finish()
        return load.outcome()


@contextlib.contextmanager
def generating(job: Job, watch: Watch | None = None, *, apart: bool = False) -> Iterator[Generating]:
    """A job's load, for as long as the context lasts. Raises `BenchError`."""
    if apart or job.processes > 1:
        raise BenchError("several processes are not there yet; use one")
    load = Here(job, watch)
    try:
        yield load
    finally:
        load.close()


class Part:
    """One process' part of a job: every so-many-th client or request, of those that the whole job has."""

    def __init__(self, job: Job, begins: float, part: int = 0, parts: int = 1) -> None:
        target = target_of(job)
        draw = Draw(job, target.host)
        target.contexts.prepare(draw.callers[part::parts])
        self.load = Load(target)
        self.load.moments = Moments(job.grain, job.apart)
        if job.arrivals.kind == "closed":
            for number in range(part, job.arrivals.clients, parts):
                begin = begins + job.arrivals.ramp * number / job.arrivals.clients
                self.load.at(begin, Closed(self.load, draw.client(number)).begin)
        else:
            connections = (job.connections - part + parts - 1) // parts
            self.load.follow(_requests(job, draw, begins + job.warm_up, part, parts), max(1, connections))

    def taken(self) -> Results:
        """What was counted since the last time."""
        results, self.load.results = self.load.results, Results()
        return results


def _requests(job: Job, draw: Draw, start: float, part: int, parts: int) -> Iterator[tuple[float, Plan]]:
    for number, moment in enumerate(moments(job.arrivals, job.warm_up, job.duration, job.seed)):
        if number % parts == part:
            yield start + moment, draw.request(number)


class Here:
    """The job in this process; `Generating`."""

    def __init__(self, job: Job, watch: Watch | None) -> None:
        self.began = time.monotonic()
        self._part = Part(job, self.began)
        self._watch = watch
        self._account = Account(self.began, moments=self._part.load.moments)
        self._seconds = 0
        self._cpu = time.process_time()
        self._unfinished: int | None = None

    def run(self, seconds: float) -> None:
        self.run_until(time.monotonic() + seconds)

    def run_until(self, moment: float) -> None:
        while (tick := self.began + self._seconds + 1) <= moment:
            self._part.load.run_until(tick)
            self._tick()
        self._part.load.run_until(moment)

    def fresh(self) -> None:
        self._part.taken()
        self.began = self._part.load.since = time.monotonic()
        self._account = Account(self.began, moments=self._part.load.moments)
        self._seconds = 0
        self._cpu = time.process_time()

    def finish(self, seconds: float = GRACE) -> None:
        now = time.monotonic()
        if now - self.began - self._seconds > _PART:
            self._tick()
        self._take()
        self._account.over(now)
        self._unfinished = self._part.load.finish(seconds)
        self._part.load.abandon()
        self._take()

    def outcome(self) -> Outcome:
        self._take()
        return self._account.outcome(time.monotonic(), self._unfinished or 0)

    def close(self) -> None:
        self._part.load.close()

    def _take(self) -> None:
        results, spent = self._part.taken(), self._spent()
        self._account.add(results, spent)

    def _tick(self) -> None:
        """A second is over."""
        results, spent = self._part.taken(), self._spent()
        second = self._account.second(self._seconds, results, self._part.load.open, spent)
        self._account.add(results, spent)
        self._seconds += 1
        if self._watch is not None:
            self._watch(second)

    def _spent(self) -> float:
        """Seconds of CPU since the last time."""
        before, self._cpu = self._cpu, time.process_time()
        return self._cpu - before


def target_of(job: Job) -> Target:
    """Raises `BenchError`."""
    try:
        url = urlsplit(job.url)
        host, port = url.hostname, url.port or (443 if url.scheme == "https" else 80)
    except ValueError as error:
        raise BenchError(f"'{job.url}' is no URL: {error}") from None
    if url.scheme not in ("http", "https") or host is None:
        raise BenchError(f"'{job.url}' must be https://HOST:PORT, or http://HOST:PORT")
    if url.scheme == "https" and job.root is None:
        raise BenchError(f"{job.url}: name the root that vouches for it")
    try:
        return Target(host, port, job.root if url.scheme == "https" else None)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise BenchError(f"{job.url}, or the root {job.root}: {reason}") from None
