"""A worker is killed (`kill -9`) under load: what the others' clients, new clients and the audit log see of it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.faults.finding import Finding, nothing_wrong
from bench.faults.world import INTERVAL, World
from bench.load.connection import Plan
from bench.load.engine import Load
from bench.load.results import Results
from bench.load.workload import stream

_STREAMS = 100
_TOKENS = 400  # ten seconds of them
_NEW_PER_SECOND = 50.0
_WINDOW = 3.0
_ESTABLISHED = "01"
_ANSWERING = "answering"  # how errors of streams begin
_HELD_UP_AT_MOST = 0.1
_REPLACED_WITHIN = 1.0
_FELT_AT_MOST = 10.0  # milliseconds of lateness, at p99: there is a whole process less, or one that starts


def killed_worker(world: World) -> list[Finding]:
    """Streams on two workers and a steady flow of new connections; then one worker is no more."""
    with world.load() as load:
        plan = Plan(workload=stream("localhost", {}, _TOKENS), interval=INTERVAL, returns=False)
        load.start(_STREAMS, plan, ramp=1.5)
        load.offer(_NEW_PER_SECOND, Plan(), 10 * _STREAMS)
        load.run(1.0)
        calm = _window(load)
        asked, pid = load.asked, _busiest(world, load)
        os.kill(pid, signal.SIGSTOP)  # what it has accepted is lost with it, and has to be known for that
        victims = clients_of(pid, load.target.port) & load.ports
        moment = time.time()
        os.kill(pid, signal.SIGKILL)
        after = _window(load)
        lost = {port for port in victims if load.failed.get(port, "").startswith(_ANSWERING)}
        replaced = _replaced(world, pid, moment)
        load.finish(_TOKENS * INTERVAL + 5)
        others = [kind for port, kind in load.failed.items() if port not in victims]
        findings = _seen(calm, after, others, len(victims))
        return findings + [replaced, *_recorded(world, asked, len(lost))]


def clients_of(pid: int, port: int) -> set[int]:
    """The client ports of a process' connections to a local port (`/proc/net/tcp`, by the sockets it holds)."""
    held = set(_sockets(Path(f"/proc/{pid}/fd").iterdir()))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED and fields[9] in held and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(int(fields[2].rpartition(":")[2], 16))
    return found


def _sockets(descriptors: Iterable[Path]) -> Iterable[str]:
    for descriptor in descriptors:
        try:
            name = os.readlink(descriptor)
        except OSError:
            continue
        if name.startswith("socket:["):
            yield name[len("socket:[") : -1]


def _busiest(world: World, load: Load) -> int:
    """The worker with the most of our connections."""
    pids = [int(worker["pid"]) for worker in world.status()["workers"]]
    return max(pids, key=lambda pid: len(clients_of(pid, load.target.port)))


def _window(load: Load) -> Results:
    load.results = Results()
    load.run(_WINDOW)
    return load.results


def _seen(calm: Results, after: Results, others: list[str], victims: int) -> list[Finding]:
    broken = Counter(kind for kind in others if kind.startswith(_ANSWERING))
    connecting = Counter(others) - broken
    before, beside = (results.late.percentile(0.99) * 1000 for results in (calm, after))
    return [
        Finding(
            "kill -9 of a worker: streams that broke, beside those it had",
            f"{broken.total()} of {_STREAMS - victims}",
            "0",
            not broken,
        ),
        Finding(
            "kill -9 of a worker: lateness of the others' events, p99",
            f"{before:.2f} ms before, {beside:.2f} after",
            f"at most {_FELT_AT_MOST:g} ms more",
            beside - before <= _FELT_AT_MOST,
        ),
        nothing_wrong("kill -9 of a worker: new connections refused", connecting, after.handshakes),
        Finding(
            "kill -9 of a worker: longest handshake of a new connection",
            f"{after.handshake.max * 1000:.1f} ms of {after.handshake.count} ({calm.handshake.max * 1000:.1f} before)",
            "≤ 100 ms",
            bool(after.handshake.count) and after.handshake.max <= _HELD_UP_AT_MOST,
        ),
    ]


def _replaced(world: World, pid: int, moment: float) -> Finding:
    serving = [w for w in world.status()["workers"] if w["state"] == "serving" and w["pid"] != pid]
    new = max((float(worker["since"]) for worker in serving), default=0.0) - moment
    holds = len(serving) == 2 and 0 < new <= _REPLACED_WITHIN
    return Finding(
        "kill -9 of a worker: a new one serves after", f"{new:.2f} s" if new > 0 else "never", "≤ 1 s", holds
    )


def _recorded(world: World, asked: int, lost: int) -> list[Finding]:
    lines = world.await_records(lambda lines: len(lines) >= asked)
    marked = sum(line["end"] == "worker_lost" for line in lines)
    return [
        Finding("kill -9 of a worker: records of requests", str(len(lines)), str(asked), len(lines) == asked),
        Finding("kill -9 of a worker: of them as worker_lost", str(marked), str(lost), marked == lost and lost > 0),
    ]
