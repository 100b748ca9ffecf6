"""`python -m bench compare`: what is asked for, on which cores, what is printed and where it is stored."""

import os
import tempfile
from pathlib import Path

import msgspec

from bench.compare.comparison import Comparison, Plan
from bench.compare.cpu import pin
from bench.compare.phases import Phase, Sizes, phases
from bench.compare.place import Cores
from bench.compare.scenario import phase_of
from bench.compare.table import bars, heading, markdown, section
from bench.failure import BenchError
from bench.load.command import raise_descriptor_limit
from bench.peers.known import PEERS
from bench.peers.peer import Peer
from bench.report.here import command, commit, machine, now
from bench.report.stored import OURS, Machine, Proxy, Stored
from bench.scenarios.scenario import found
from certs.pki import build

RUN, TABLES = "run.json", "compare.md"
"""What is written to a folder that is asked for."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Which peers, which phases and scenarios, how long and how much, how often; where all of it is stored.

    scenarios  names of them, or paths of files
    lasting    seconds that scenarios take instead of as they say
    output     the file that everything goes to, or
    folder     where it is `run.json`, with the tables beside it
    """

    peers: tuple[str, ...]
    what: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    sizes: Sizes = Sizes()
    repeat: int = 3
    lasting: float | None = None
    output: Path | None = None
    folder: Path | None = None


def compare(options: Options) -> int:
    """Run the comparison and print its tables; say by the exit code whether every bar holds. Raises `BenchError`."""
    asked = _asked(options)
    cores = _cores()
    stored = _begun(options.peers, machine(f"proxy on core {cores.proxy}, mock and load on core {cores.rest}"))
    output = options.output if options.folder is None else _made(options.folder) / RUN
    _say(heading(stored))
    pin(cores.rest)
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        plan = Plan(
            peers=options.peers,
            repeat=options.repeat,
            folder=Path(folder),
            pki=build(Path(folder) / "pki"),
            cores=cores,
        )
        comparison = Comparison(plan, stored, output)
        try:
            for name, phase in asked.items():
                try:
                    comparison.measure(name, phase)
                finally:
                    _say(section(name, comparison.stored))
            comparison.ended()
        finally:
            _say(bars(comparison.stored))
            if options.folder is not None:
                (options.folder / TABLES).write_text(markdown(comparison.stored), encoding="utf-8")
    return 0 if all(verdict.holds for verdict in comparison.stored.verdicts) else 1


def _asked(options: Options) -> dict[str, Phase]:
    there = phases(options.sizes)
    return {name: there[name] for name in options.what} | {
        found(name).stem: phase_of(name, options.lasting) for name in options.scenarios
    }


def _begun(peers: tuple[str, ...], where: Machine) -> Stored:
    """Raises `BenchError` where a peer is not installed."""
    return Stored(
        command=command(),
        began=now(),
        commit=commit(),
        machine=where,
        proxies=tuple(_proxy(PEERS[name]) for name in (OURS, *peers)),
        measured=(),
    )


def _proxy(peer: Peer) -> Proxy:
    return Proxy(name=peer.name, version=peer.version(), about=peer.about, lacks=peer.lacks)


def _cores() -> Cores:
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for mock and load")
    return Cores(*available[:2])


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
    return folder


def _say(text: str) -> None:
    print(text, flush=True)
