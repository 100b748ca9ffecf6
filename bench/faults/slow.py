"""Clients that never read, beside fast ones: whether those feel it, and what it costs in memory."""

import time

from bench.compare.cpu import memory_bytes
from bench.faults.finding import Finding, nothing_wrong
from bench.faults.world import HURRIED, INTERVAL, World
from bench.load.connection import Plan
from bench.load.engine import Load
from bench.load.results import Results
from bench.load.workload import stream

_FAST, _SLOW = 100, 200
_TOKENS = 1500  # of a stream that no one reads: some 600 KB, more than the kernel keeps for a distant client
_WINDOW = 6.0
_FELT_AT_MOST = 5.0  # milliseconds of lateness, at p99
_MEMORY_AT_MOST = 128_000  # bytes for each that does not read


def slow_readers(world: World) -> list[Finding]:
    """The fast ones' lateness without and with the slow ones, who are left standing in between."""
    with world.load() as load:
        load.start(_FAST, Plan(workload=stream("localhost", {}, 400), interval=INTERVAL), ramp=2.0)
        load.run(1.0)
        without = _window(load)
        before = memory_bytes(world.gateway.processes)
        load.start(_SLOW, Plan(workload=stream("localhost", {}, _TOKENS, HURRIED), reads=False), ramp=4.0)
        _settle(world, load)
        beside = _window(load)
        each = (memory_bytes(world.gateway.processes) - before) / _SLOW
        waiting = load.open - _FAST
    slow = world.await_records(lambda lines: sum(line["model"] == HURRIED for line in lines) >= _SLOW)
    complete = sum(line["model"] == HURRIED and line["end"] == "complete" for line in slow)
    felt = (beside.late.percentile(0.99) - without.late.percentile(0.99)) * 1000
    return [
        nothing_wrong("slow readers: errors of the fast ones", dict(beside.errors), _FAST),
        Finding(
            "slow readers: lateness of the fast ones' events, p99",
            f"{without.late.percentile(0.99) * 1000:.2f} ms without, {beside.late.percentile(0.99) * 1000:.2f} beside",
            f"at most {_FELT_AT_MOST:g} ms more",
            felt <= _FELT_AT_MOST,
        ),
        Finding(
            "slow readers: memory of the gateway for each",
            f"{each / 1000:.1f} KB",
            f"≤ {_MEMORY_AT_MOST / 1000:g} KB",
            each <= _MEMORY_AT_MOST,
        ),
        Finding(
            "slow readers: that were still waiting, and whose answers are not recorded as complete",
            f"{waiting}, {_SLOW - complete}",
            f"{_SLOW}, {_SLOW}",
            waiting == _SLOW and not complete,
        ),
    ]


def _window(load: Load) -> Results:
    load.results = Results()
    load.run(_WINDOW)
    return load.results


def _settle(world: World, load: Load) -> None:
    """Until the mock sends no more than what the fast ones ask for."""
    calm = _FAST / INTERVAL * 1.2
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        began, events = time.monotonic(), world.mock.stats()["events"]
        load.run(1.0)
        if (world.mock.stats()["events"] - events) / (time.monotonic() - began) <= calm:
            return
