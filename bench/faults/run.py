"""`python -m bench faults`: each fault in a world of its own, one after the other."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.faults.backend import before_head, in_the_middle
from bench.faults.disconnects import disconnects
from bench.faults.finding import Finding, table
from bench.faults.killed import killed_worker
from bench.faults.slow import slow_readers
from bench.faults.world import World, world
from bench.load.command import raise_descriptor_limit
from certs.pki import build


class Fault(msgspec.Struct, frozen=True):
    """What is measured, and on how many workers."""

    measure: Callable[[World], list[Finding]]
    workers: int = 1


FAULTS: dict[str, Fault] = {
    "disconnects": Fault(disconnects),
    "slow": Fault(slow_readers),
    "head": Fault(before_head),
    "middle": Fault(in_the_middle),
    "killed": Fault(killed_worker, workers=2),
}


def run(what: tuple[str, ...], output: Path | None) -> int:
    """Measure, print a table, and say by the exit code whether every bar holds. Raises `BenchError`."""
    raise_descriptor_limit()
    findings: dict[str, list[Finding]] = {}
    with tempfile.TemporaryDirectory(prefix="penstock-faults-") as folder:
        pki = build(Path(folder) / "pki")
        for name in what:
            print(name, file=sys.stderr, flush=True)
            with world(Path(folder) / name, pki, workers=FAULTS[name].workers) as one:
                findings[name] = FAULTS[name].measure(one)
            print(f"## {name}\n\n{table(findings[name])}\n", flush=True)
    if output is not None:
        output.write_text(json.dumps(msgspec.to_builtins(findings), indent=2) + "\n")
    return 0 if all(finding.holds for some in findings.values() for finding in some) else 1
