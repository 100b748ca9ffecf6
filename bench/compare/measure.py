"""What can be measured of a proxy at work, each the same for every proxy: figures by name, and histograms of times.

Costs are CPU time of all the proxy's processes, by the kernel's own account, over what was done meanwhile.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.compare.cpu import busy_seconds, cpu_seconds, descriptors, family, memory_bytes, threads
from bench.compare.holding import held
from bench.failure import BenchError
from bench.load.arrivals import moments
from bench.load.connection import Plan
from bench.load.engine import Load
from bench.load.job import Arrivals
from bench.load.results import HISTOGRAMS, Results
from bench.load.workload import plain, stream
from bench.mock.config import MockConfig
from bench.mock.process import MockProcess
from bench.peers.peer import Access
from bench.peers.process import process
from bench.report.stored import Band, Second
from certs.pki import Pki

Figures = dict[str, float]
CONNECTIONS = 16
_TOKENS = 400
_WARM = 1.0
_WARMING = 2.0  # where connections are made as they are needed
_SETTLED = 5.0  # s after which all connections are open, both ways, and none is made any more
_OPENED_A_SECOND = 400  # connections, where there are thousands: about a core's worth of handshakes
_A_WORKERS_RATE = 600  # plain requests a second: less than any machine's worker can do
_PROBE = 3.0  # s
_SPARE = 0.6  # of their core that mock and load may use where latency is measured
_BEGIN_WITHIN = 20.0  # s
_ENOUGH = 50  # requests, events, handshakes: to tell what one costs
_OPEN_WITHIN = 60.0  # s, for thousands of streams that have been asked for
_CROWD = 64  # connections over which requests arrive that wait for nobody


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is measured: the way in, the way past the proxy, the mock, the proxy's first process (None:
    direct). `core` is the one that the proxy is bound to; None where it has several.
    """

    access: Access
    direct: Access
    mock: MockProcess
    proxy: int | None = None
    core: int | None = None

    @property
    def processes(self) -> list[int]:
        """The proxy's, as they are now."""
        return [] if self.proxy is None else family(self.proxy)


class Found(msgspec.Struct, frozen=True):
    """What goes into a `bench.report.stored.Measured`. `wrong`: what went wrong, in words."""

    figures: Figures
    histograms: dict[str, str] = {}
    wrong: str = ""
    seconds: tuple[Second, ...] = ()
    bands: tuple[Band, ...] = ()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to measure, for so many seconds. `measure` may raise `BenchError`.

    first, between  seconds that the mock's two regions wait before an answer, and between its events
    mock            what it is instead, where it is not that
    spread          the proxy has the core of mock and load as well as its own
    """

    measure: "Callable[[Scene, Case], Found]"
    seconds: float
    streams: int = 0
    workers: int = 1
    spread: bool = False
    first: float = 0.0
    between: float = 0.0
    mock: Callable[[Pki], MockConfig] | None = None

    @property
    def ramp(self) -> float:
        """Seconds over which its streams begin."""
        return max(2.0, self.streams / _OPENED_A_SECOND)


class Account(msgspec.Struct, frozen=True):
    """What was used, in seconds: of the clock; and of CPU by the proxy, by mock and load, and by everyone."""

    clock: float
    proxy: float
    ours: float
    everyone: float

    def since(self, before: "Account") -> "Account":
        return Account(
            self.clock - before.clock,
            self.proxy - before.proxy,
            self.ours - before.ours,
            self.everyone - before.everyone,
        )

    def shares(self) -> Figures:
        """Of a core. What others took makes figures worth less: run again when it is much."""
        return {
            "share_of_proxy": self.proxy / self.clock,
            "share_of_mock_and_load": self.ours / self.clock,
            "share_of_others": max(0.0, self.everyone - self.proxy - self.ours) / self.clock,
        }

    def each(self, count: int, name: str, results: Results) -> Figures:
        """CPU for each of what was counted, the rate, and how busy everyone was. Raises `BenchError` for none."""
        if not count:
            raise BenchError(f"no {name} came through: {_said(results)}")
        return {
            f"cpu_us_per_{name}": self.proxy / count * 1e6,
            f"{name}s_per_second": count / self.clock,
            **self.shares(),
            "errors": results.failed,
        }


def account(scene: Scene) -> Account:
    return Account(
        time.monotonic(),
        cpu_seconds(scene.processes),
        cpu_seconds([scene.mock.process.pid, os.getpid()]),
        busy_seconds(),
    )


def found(figures: Figures, results: Results) -> Found:
    """With the histograms of all times that were seen."""
    there = {name: results.histogram(name) for name in HISTOGRAMS}
    encoded = {name: histogram.encoded() for name, histogram in there.items() if histogram.count}
    return Found(figures, encoded, _said(results) if results.failed else "")


def _said(results: Results) -> str:
    """What went wrong, the most frequent first."""
    return ", ".join(f"{count} × {kind}" for kind, count in results.errors.most_common(3)) or "nothing happened"


@contextlib.contextmanager
def _loading(access: Access) -> Iterator[Load]:
    load = Load(access.target)
    try:
        yield load
    finally:
        load.close()


def _measured(
    load: Load, scene: Scene, seconds: float, done: Callable[[Results], int] = lambda _: _ENOUGH
) -> tuple[Results, Account]:
    """For so many seconds; up to four times as long, where a slow proxy has not `done` enough to tell what it costs."""
    load.results = results = Results()
    before = account(scene)
    for _ in range(4):
        load.run(seconds)
        if done(results) >= _ENOUGH:
            break
    return results, account(scene).since(before)


def _warm(load: Load, begun: Callable[[Results], int], wanted: int) -> None:
    """Until all have begun, so that no connection is made any more; a slow proxy is not waited for much longer."""
    until = time.monotonic() + _BEGIN_WITHIN
    while begun(load.results) < wanted and time.monotonic() < until:
        load.run(0.1)
    load.run(_WARM)


def _answers(results: Results) -> int:
    return results.answers


def _begun(results: Results) -> int:
    """Streams that have had their first event."""
    return results.ttft.count


def plain_requests(scene: Scene, case: Case) -> Found:
    """Keep-alive connections, closed loop, as fast as it goes."""
    with _loading(scene.access) as load:
        load.start(CONNECTIONS, _plain(scene.access))
        _warm(load, _answers, CONNECTIONS)
        results, used = _measured(load, scene, case.seconds, _answers)
        return found(used.each(results.answers, "request", results), results)


def plain_queued(scene: Scene, case: Case) -> Found:
    """The same with a queue before the proxy at all times, however fast it is.

    A process that only burns time shares the proxy's core, and waking interrupts neither (SCHED_BATCH, which each
    thread has for itself: with some proxies it is not the first that serves). So the proxy finds several requests
    waiting whenever it runs, as at full load: a proxy that waits for its load between requests pays for more turns of
    its loop.
    """
    core = scene.core
    if core is None:
        raise BenchError("a queue is kept on one core only")
    for thread in threads(scene.processes):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
    burn = [sys.executable, "-c", "while True: pass"]
    with process(burn, Path(os.devnull), cores=(core,)) as burning:
        before, clock = cpu_seconds([burning]), time.monotonic()
        queued = plain_requests(scene, case)
        burnt = (cpu_seconds([burning]) - before) / (time.monotonic() - clock)
    others = max(0.0, queued.figures["share_of_others"] - burnt)
    return msgspec.structs.replace(queued, figures=queued.figures | {"share_of_others": others})


def plain_at_a_rate(scene: Scene, case: Case) -> Found:
    """Open loop: so many a second for each worker, far from what it could do."""
    with _loading(scene.access) as load:
        load.offer(_A_WORKERS_RATE * case.workers, _plain(scene.access), CONNECTIONS * case.workers)
        load.run(_WARMING)
        results, used = _measured(load, scene, case.seconds)
        return found(used.each(results.answers, "request", results), results)


def added_latency(scene: Scene, case: Case) -> Found:
    """Half of what the proxy's core could carry, by its own cost, and the same rate without it.

    Load and mock share a core, which must not be the one that is felt: where half is more than leaves them idle for a
    good part, the rate is what they can do.
    """
    costs = plain_requests(scene, msgspec.structs.replace(case, seconds=_PROBE)).figures
    capacity = 1e6 / costs["cpu_us_per_request"]
    generated = costs["requests_per_second"] / costs["share_of_mock_and_load"]
    rate = min(capacity / 2, generated * _SPARE)
    through, used = _at_rate(scene, scene.access, rate, case.seconds)
    past, _ = _at_rate(scene, scene.direct, rate, case.seconds)
    if not through.answers:
        raise BenchError(f"no request came through: {_said(through)}")
    figures = {"rate_per_second": rate, "share_of_capacity": rate / capacity, **used.shares()}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        with_it, without = (results.last_byte.percentile(share) * 1000 for results in (through, past))
        figures |= {f"added_{name}_ms": with_it - without, f"{name}_ms": with_it, f"direct_{name}_ms": without}
    figures |= {"sent_late_p99_ms": through.waited.percentile(0.99) * 1000, "errors": through.failed}
    return found(figures, through)


def _at_rate(scene: Scene, access: Access, rate: float, seconds: float) -> tuple[Results, Account]:
    with _loading(access) as load:
        plan, begin = _plain(access), time.monotonic()
        at_random = moments(Arrivals(kind="poisson", rate=rate), 0.0, _WARMING + seconds, seed=0)
        load.follow(((begin + moment, plan) for moment in at_random), _CROWD)
        load.run(_WARMING)
        return _measured(load, scene, seconds)


def _plain(access: Access) -> Plan:
    return Plan(workload=access.fitted(plain("localhost", access.headers)))


def _stream(access: Access, tokens: int, interval: float = 0.0) -> Plan:
    return Plan(workload=access.fitted(stream("localhost", access.headers, tokens)), interval=interval)


def events(scene: Scene, case: Case) -> Found:
    """Streams of events at a fixed pace, each followed by the next."""
    return _events(scene, case, _TOKENS)


def lasting_events(scene: Scene, case: Case) -> Found:
    """The same with streams that are longer than the measurement: none begins or ends meanwhile."""
    return _events(scene, case, max(_TOKENS, math.ceil((3 * case.ramp + case.seconds + _SETTLED) / case.between)))


def _events(scene: Scene, case: Case, tokens: int) -> Found:
    with _loading(scene.access) as load:
        load.start(case.streams, _stream(scene.access, tokens, case.between), case.ramp)
        _warm(load, _begun, case.streams)
        begun = min(1.0, _begun(load.results) / case.streams)
        results, used = _measured(load, scene, case.seconds, lambda found: found.events)
        figures = used.each(results.events, "event", results)
        due = case.streams / case.between * used.clock
        figures |= {"late_p99_ms": results.late.percentile(0.99) * 1000, "share_of_rate": results.events / due}
        figures |= {"share_of_streams": begun}
        return found(figures, results)


def handshakes(scene: Scene, case: Case, at_once: int = 8) -> Found:
    """Full TLS handshakes with a client certificate, nothing resumed; each counts when the server has said goodbye.

    Nothing is found where no TLS is ended.
    """
    if scene.access.root is None:
        return Found({}, {}, "")
    with _loading(scene.access) as load:
        load.start(at_once, Plan())
        load.run(_WARM)
        results, used = _measured(load, scene, case.seconds, lambda found: found.handshakes)
        return found(used.each(results.handshakes, "handshake", results), results)


def first_events(scene: Scene, case: Case) -> Found:
    """Time to the first event of short streams, on connections that are kept alive."""
    with _loading(scene.access) as load:
        load.start(case.streams, _stream(scene.access, 40), case.ramp)
        load.run(_SETTLED)
        results, used = _measured(load, scene, case.seconds)
        figures = {
            "first_event_p50_ms": results.ttft.percentile(0.5) * 1000,
            "first_event_p99_ms": results.ttft.percentile(0.99) * 1000,
            **used.shares(),
            "errors": results.failed,
        }
        return found(figures, results)


def memory(scene: Scene, case: Case) -> Found:
    """Idle, and with many streams open; the difference is what a stream costs, both its connections counted."""
    idle = {pid: memory_bytes([pid]) for pid in scene.processes}
    opened = descriptors(scene.processes)
    with _loading(scene.access) as load:
        load.start(case.streams, _stream(scene.access, _TOKENS), case.ramp)
        _await_all(load, case.streams)
        load.run(case.seconds)
        figures = {
            **_of_each(scene, case, sum(idle.values()), opened),
            "idle_mb": sum(idle.values()) / 1e6,
            "worker_idle_mb": max((idle[pid] for pid in scene.processes[1:]), default=0) / 1e6,
            "errors": load.results.failed,
        }
        return found(figures, load.results)


def _await_all(load: Load, streams: int) -> None:
    """Until each stream has its first event. Raises `BenchError`."""
    until = time.monotonic() + _OPEN_WITHIN
    while (begun := _begun(load.results)) < streams:
        if time.monotonic() >= until:
            raise BenchError(f"{begun} of {streams} streams began within {_OPEN_WITHIN:g} s: {_said(load.results)}")
        load.run(0.2)


def memory_held(scene: Scene, case: Case) -> Found:
    """The same of TLS connections that are only held."""
    idle, opened = memory_bytes(scene.processes), descriptors(scene.processes)
    with held(scene.access.target, case.streams):
        time.sleep(case.seconds)
        return Found(_of_each(scene, case, idle, opened) | {"idle_mb": idle / 1e6})


def _of_each(scene: Scene, case: Case, idle: float, opened: int) -> Figures:
    return {
        "kb_per_stream": (memory_bytes(scene.processes) - idle) / case.streams / 1000,
        "descriptors_per_stream": (descriptors(scene.processes) - opened) / case.streams,
    }


def soak(scene: Scene, case: Case) -> Found:
    """Many streams for a long time: none may be lost, none may have a wrong byte."""
    with _loading(scene.access) as load:
        load.start(case.streams, _stream(scene.access, _TOKENS, case.between), ramp=5.0)
        before = load.results.failed
        results, used = _measured(load, scene, case.seconds)
        unfinished = load.finish(_TOKENS * case.between + 10)
        figures = {
            "streams": float(results.answers),
            "streams_lost_or_corrupted": before + results.failed + unfinished,
            "late_p50_ms": results.late.percentile(0.5) * 1000,
            "late_p99_ms": results.late.percentile(0.99) * 1000,
            "late_max_ms": results.late.max * 1000,
            **used.shares(),
        }
        return found(figures, results)
