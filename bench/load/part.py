"""One process' part of a job: every so-many-th client or request of those that the whole job has."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from bench.failure import BenchError
from bench.load.arrivals import moments
from bench.load.connection import Asked, Plan
from bench.load.draw import Draw
from bench.load.engine import Load, Target
from bench.load.job import Job
from bench.load.outcome import Told
from bench.load.results import Moments, Results
from bench.load.source import Closed


class Part:
    """Its load, and what it counts. Making it takes a while; `begin` is for when all are ready. Raises `BenchError`."""

    def __init__(self, job: Job, part: int = 0, parts: int = 1) -> None:
        target = target_of(job)
        self._job, self._part, self._parts = job, part, parts
        self._draw = Draw(job, target.host)
        target.contexts.prepare(self._draw.callers)
        self.load = Load(target)
        self.load.moments = Moments(job.grain, job.apart)
        self._cpu = time.process_time()

    def begin(self, begins: float) -> None:
        """The job begins then (monotonic)."""
        job, draw, part, parts = self._job, self._draw, self._part, self._parts
        self._cpu = time.process_time()
        if job.arrivals.kind == "closed":
            for number in range(part, job.arrivals.clients, parts):
                begin = begins + job.arrivals.ramp * number / job.arrivals.clients
                self.load.at(begin, Closed(self.load, draw.client(number)).begin)
        else:
            connections = (job.connections - part + parts - 1) // parts
            self.load.follow(_requests(job, draw, begins + job.warm_up, part, parts), max(1, connections))

    def fresh(self, since: float) -> None:
        """Count anew."""
        self.taken()
        self.load.since = since

    def taken(self) -> tuple[Results, float]:
        """What was counted since the last time, and the seconds of CPU that were spent."""
        results, self.load.results = self.load.results, Results()
        before, self._cpu = self._cpu, time.process_time()
        return results, self._cpu - before

    def tell(self, told: Callable[[Told], None]) -> None:
        """Let someone hear of every request that is over."""
        self.load.told = lambda asked: told(_told(asked))

    def finish(self, seconds: float) -> int:
        """Wait for the last answers; how many requests had none."""
        unfinished = self.load.finish(seconds)
        self.load.abandon()
        return unfinished


def _told(asked: Asked) -> Told:
    return Told(
        asked.plan.caller.client if asked.plan.caller else "",
        asked.plan.mix,
        asked.due,
        asked.first,
        asked.over,
        asked.wrong,
        asked.head,
        asked.left,
    )


def _requests(job: Job, draw: Draw, start: float, part: int, parts: int) -> Iterator[tuple[float, Plan]]:
    for number, moment in enumerate(moments(job.arrivals, job.warm_up, job.duration, job.seed)):
        if number % parts == part:
            yield start + moment, draw.request(number)


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
