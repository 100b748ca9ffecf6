"""One process' part of a job: every so-many-th client or request of those that the whole job has."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.failure import BenchError
from bench.load.arrivals import moments
from bench.load.connection import Asked, Plan
from bench.load.draw import Draw, bits, unit
from bench.load.engine import Load, Target
from bench.load.job import Job
from bench.load.outcome import Told
from bench.load.replay import recorded
from bench.load.results import Moments, Results
from bench.load.source import Closed


class Part:
    """Its load, and what it counts. Making it takes a while; `begin` is for when all are ready. Raises `BenchError`."""

    def __init__(self, job: Job, part: int = 0, parts: int = 1) -> None:
        target = target_of(job)
        self._job, self._part, self._parts = job, part, parts
        self._draw = Draw(job, target.host)
        self._series = iter(()) if job.arrivals.kind == "closed" else _series(job, self._draw, part, parts)
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
                odd = unit(bits(job.seed, number))  # moments that are even would keep their streams in step
                begin = begins + job.arrivals.ramp * (number + odd) / job.arrivals.clients
                self.load.at(begin, Closed(self.load, draw.client(number)).begin)
        else:
            connections = (job.connections - part + parts - 1) // parts
            start = begins + job.warm_up
            series = ((start + moment, plan) for moment, plan in self._series)
            self.load.follow(series, max(1, connections))

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


def _series(job: Job, draw: Draw, part: int, parts: int) -> Iterator[tuple[float, Plan]]:
    """An open loop's requests, and when they fall due, in seconds from the start of what is measured. What can be wrong
    with them is found here, and not while they fall due. Raises `BenchError`.
    """
    if job.arrivals.kind != "replay":
        numbered = enumerate(moments(job.arrivals, job.warm_up, job.duration, job.seed))
        return ((moment, draw.request(number)) for number, moment in numbered if number % parts == part)
    if job.arrivals.log is None or job.arrivals.speed <= 0:
        raise BenchError("a replay needs a log, and a speed above 0")
    log = recorded(Path(job.arrivals.log))
    within = (one for one in enumerate(log) if one[1].at < job.duration * job.arrivals.speed)
    return ((one.at / job.arrivals.speed, draw.replayed(n, one)) for n, one in within if n % parts == part)


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
    except ssl.SSLError as error:
        raise BenchError(f"the certificates are of no use: {job.root}: {error.reason or error}") from None
    except OSError as error:
        raise BenchError(f"{job.url}, or the root {job.root}: {error.strerror or error}") from None
