"""Clients that leave in mid-stream: how soon the backend is rid of them, and what is recorded."""

from statistics import median
from typing import Any

from bench.faults.finding import Finding, nothing_wrong
from bench.faults.world import INTERVAL, World
from bench.load.connection import Plan
from bench.load.engine import Load
from bench.load.histogram import Histogram
from bench.load.workload import TAG, stream

_CLIENTS = 20
_LEAVE_AFTER = 12  # events; two of them carry no text
_SECONDS = 4.0
_RELEASED_WITHIN = 0.05


def disconnects(world: World) -> list[Finding]:
    """Half the clients say goodbye (`close_notify`), half just close; each is replaced at once."""
    workload = stream("localhost", {}, 400)
    with world.load() as load:
        for farewell in (True, False):
            plan = Plan(workload=workload, interval=INTERVAL, leave_after=_LEAVE_AFTER, farewell=farewell, tagged=True)
            load.start(_CLIENTS, plan, ramp=0.5)
        load.run(_SECONDS)
        load.finish(3.0)
        return [
            nothing_wrong("client leaves in mid-stream: errors before", dict(load.results.errors), load.asked),
            *_released(world, load),
            *_recorded(world, len(load.left)),
        ]


def _released(world: World, load: Load) -> list[Finding]:
    delays, never = Histogram(), 0
    for received in world.mock.received():
        left = load.left.get(dict(received["headers"]).get(TAG, ""))
        if left is None:
            continue
        if received["gone_after"] is None:
            never += 1
        else:
            delays.add(max(0.0, received["at"] + received["gone_after"] - left))
    found = f"p50 {delays.percentile(0.5) * 1000:.1f} ms, max {delays.max * 1000:.1f} ms of {delays.count}"
    holds = bool(delays.count) and delays.max <= _RELEASED_WITHIN and not never
    return [
        Finding("client leaves: its backend connection is closed after", found, "≤ 50 ms", holds),
        Finding("client leaves: backend connections that stayed", str(never), "0", not never),
    ]


def _recorded(world: World, left: int) -> list[Finding]:
    def gone(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [line for line in lines if line["end"] == "client_gone"]

    lines = gone(world.await_records(lambda lines: len(gone(lines)) >= left))
    counted = [line["tokens"]["completion"] for line in lines if line["tokens"] and line["tokens"]["estimated"]]
    texts = _LEAVE_AFTER - 2
    share = sum(texts <= count <= texts + 3 for count in counted) / max(1, len(counted))
    return [
        Finding("client leaves: records that say so", str(len(lines)), str(left), len(lines) == left),
        Finding(
            "client leaves: records with an estimate of what was used",
            f"{len(counted)}, of {median(counted or [0]):g} tokens in the middle, {share:.0%} as relayed",
            f"{left}, of {texts} tokens and up to 3 that were under way",
            len(counted) == left and share >= 0.95,
        ),
    ]
