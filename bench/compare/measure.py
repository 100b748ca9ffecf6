"""The phases of a comparison, each the same for every proxy. A phase returns figures by name."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from bench.compare.cpu import busy_seconds, cpu_seconds, memory_bytes, pin
from bench.load.connection import Plan
from bench.load.engine import Load, Target
from bench.load.results import Results
from bench.load.workload import plain, stream

Figures = dict[str, float]
_TOKENS = 400
_WARM = 1.0
_SETTLED = 5.0  # s after which all connections are open, both ways, and none is made any more


class Scene(msgspec.Struct):
    """What is measured: the way to the mock, the processes in between (none: direct), and the mock itself."""

    target: Target
    mock: int
    processes: list[int] = []
    headers: dict[str, str] = {}


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """`run` measures for so many seconds; the mock waits `first` seconds and `between` its events.

    `direct`: measured without a proxy as well. `once`: too long to be repeated.
    """

    run: Callable[[Scene, float], Figures]
    first: float = 0.0
    between: float = 0.0
    direct: bool = False
    once: bool = False


class _Measured(msgspec.Struct):
    """CPU in seconds: `ours` of mock and load, `all` of everything on the machine."""

    results: Results
    seconds: float
    cpu: float
    ours: float
    all: float

    def of(self, count: int, name: str) -> Figures:
        """CPU for each of what was counted, the rate, and how busy everyone was."""
        return {
            f"cpu_us_per_{name}": self.cpu / max(1, count) * 1e6,
            f"{name}s_per_second": count / self.seconds,
            **self.shares(),
            "errors": self.results.failed,
        }

    def shares(self) -> Figures:
        """Shares of a core. What others took makes figures worth less: run again when it is much."""
        return {
            "share_of_proxy": self.cpu / self.seconds,
            "share_of_mock_and_load": self.ours / self.seconds,
            "share_of_others": max(0.0, self.all - self.cpu - self.ours) / self.seconds,
        }


def _measure(load: Load, scene: Scene, seconds: float) -> _Measured:
    def account() -> tuple[float, float, float, float]:
        ours = cpu_seconds([scene.mock, os.getpid()])
        return time.monotonic(), cpu_seconds(scene.processes), ours, busy_seconds()

    load.results = results = Results()
    before = account()
    load.run(seconds)
    return _Measured(results, *(after - start for after, start in zip(account(), before, strict=True)))


@contextlib.contextmanager
def _loading(scene: Scene) -> Iterator[Load]:
    load = Load(scene.target)
    try:
        yield load
    finally:
        load.close()


def plain_requests(scene: Scene, seconds: float, connections: int = 16) -> Figures:
    """Keep-alive connections, closed loop, as fast as it goes."""
    with _loading(scene) as load:
        load.start(connections, Plan(workload=plain("localhost", scene.headers)))
        load.run(_WARM)
        return _measure(load, scene, seconds).of(max(1, load.results.answers), "request")


def plain_queued(scene: Scene, seconds: float) -> Figures:
    """The same with a queue before the proxy at all times, however fast it is.

    A process that only burns time shares the proxy's core, and waking does not interrupt it (SCHED_BATCH). So the proxy
    finds several requests waiting whenever it runs, as at full load: a proxy that waits for its load between requests
    pays for more turns of its loop.
    """
    for pid in scene.processes:
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
    core = min(os.sched_getaffinity(scene.processes[0]))
    burn = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(burn, preexec_fn=lambda: pin(core)) as burning:
        try:
            figures = plain_requests(scene, seconds)
            return {"queued_cpu_us_per_request": figures["cpu_us_per_request"], "errors": figures["errors"]}
        finally:
            burning.kill()


def events(scene: Scene, seconds: float, streams: int = 400, interval: float = 0.025) -> Figures:
    """Streams of events at a fixed pace."""
    with _loading(scene) as load:
        workload = stream("localhost", scene.headers, _TOKENS)
        load.start(streams, Plan(workload=workload, interval=interval), ramp=2.0)
        load.run(_WARM)
        measured = _measure(load, scene, seconds)
        late = measured.results.late.percentile(0.99) * 1000
        return measured.of(measured.results.events, "event") | {"late_p99_ms": late}


def handshakes(scene: Scene, seconds: float, at_once: int = 8) -> Figures:
    """Full TLS handshakes with a client certificate, nothing resumed; each counts when the server has said goodbye."""
    with _loading(scene) as load:
        load.start(at_once, Plan())
        load.run(_WARM)
        measured = _measure(load, scene, seconds)
        return measured.of(measured.results.handshakes, "handshake")


def first_bytes(scene: Scene, seconds: float, streams: int = 200) -> Figures:
    """Time to the first event of short streams, on connections that are kept alive."""
    with _loading(scene) as load:
        load.start(streams, Plan(workload=stream("localhost", scene.headers, 40)), ramp=2.0)
        load.run(_SETTLED)
        results = _measure(load, scene, seconds).results
        return {
            "first_event_p50_ms": results.first_byte.percentile(0.5) * 1000,
            "first_event_p99_ms": results.first_byte.percentile(0.99) * 1000,
            "errors": results.failed,
        }


def memory(scene: Scene, _seconds: float, streams: int = 1000) -> Figures:
    """Idle, and with many streams open; the difference is what a stream costs, both its connections counted."""
    idle = {pid: memory_bytes([pid]) for pid in scene.processes}
    with _loading(scene) as load:
        load.start(streams, Plan(workload=stream("localhost", scene.headers, _TOKENS)), ramp=4.0)
        load.run(3.0)
        busy = memory_bytes(scene.processes)
        return {
            "idle_mb": sum(idle.values()) / 1e6,
            "worker_idle_mb": max((idle[pid] for pid in scene.processes[1:]), default=0) / 1e6,
            "kb_per_stream": (busy - sum(idle.values())) / streams / 1000,
            "errors": load.results.failed + streams - load.open,
        }


def soak(scene: Scene, seconds: float, streams: int = 1000, interval: float = 0.05) -> Figures:
    """Many streams for a long time: none may be lost, none may have a wrong byte."""
    with _loading(scene) as load:
        workload = stream("localhost", scene.headers, _TOKENS)
        load.start(streams, Plan(workload=workload, interval=interval), ramp=5.0)
        before = load.results.failed
        measured = _measure(load, scene, seconds)
        unfinished = load.finish(_TOKENS * interval + 10)
        results = measured.results
        return {
            "streams": results.answers,
            "streams_lost_or_corrupted": before + results.failed + unfinished,
            "late_p50_ms": results.late.percentile(0.5) * 1000,
            "soak_late_p99_ms": results.late.percentile(0.99) * 1000,
            "late_max_ms": results.late.max * 1000,
        } | measured.shares()


PHASES: dict[str, Phase] = {
    "plain": Phase(run=plain_requests),
    "queued": Phase(run=plain_queued),
    "events": Phase(run=events, first=0.01, between=0.025),
    "handshake": Phase(run=handshakes),
    "ttft": Phase(run=first_bytes, first=0.05, between=0.025, direct=True),
    "memory": Phase(run=memory, first=0.01, between=0.05),
    "soak1000": Phase(run=soak, first=0.01, between=0.05, direct=True, once=True),
}
"""What can be measured, by the name it is asked for."""
