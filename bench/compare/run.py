"""`python -m bench compare`: proxies in turn, repeat by repeat, each on one core, mock and load on the other."""

import json
import os
import platform
import ssl
import sys
import tempfile
from pathlib import Path

import msgspec

from bench.compare.cpu import pin
from bench.compare.measure import PHASES, Figures, Phase, Scene
from bench.compare.report import Runs, table
from bench.failure import BenchError
from bench.load.command import raise_descriptor_limit
from bench.load.engine import Target
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from bench.peers.known import PEERS
from bench.peers.peer import Place
from certs.pki import Pki, build
from proxy.config.structs import Seconds

_KEY = "bench"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Which peers, which phases, how long each measurement, how often, and where every figure is written to."""

    peers: tuple[str, ...]
    what: tuple[str, ...]
    seconds: float
    soak_seconds: float
    repeat: int
    output: Path | None = None


def compare(options: Options) -> int:
    """Run the comparison and print its tables; the exit code. Raises `BenchError`."""
    versions = {name: PEERS[name].version() for name in ("penstock", *options.peers)}
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for mock and load")
    pin(cores[1])
    raise_descriptor_limit()
    machine = {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "kernel": platform.release(),
        "cores": f"{os.cpu_count()}; proxy on {cores[0]}, mock and load on {cores[1]}",
        **versions,
    }
    command = f"python -m bench {' '.join(sys.argv[1:])}"
    print(f"# Penstock beside {', '.join(options.peers) or 'nothing'}\n\n`{command}`\n")
    print("\n".join(f"- {name}: {value}" for name, value in machine.items()), end="\n\n", flush=True)
    everything: dict[str, Runs] = {}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        pki = build(Path(folder) / "pki")
        for name in options.what:
            everything[name] = _phase(name, options, Path(folder), pki, cores[0])
            peer = options.peers[0] if options.peers else None
            print(f"## {name}\n\n{table(everything[name], peer)}\n", flush=True)
    if options.output is not None:
        whole = {"command": command, "machine": machine, "phases": everything}
        options.output.write_text(json.dumps(whole, indent=2) + "\n")
    return 0


def _phase(name: str, options: Options, folder: Path, pki: Pki, core: int) -> Runs:
    phase = PHASES[name]
    proxies = ("penstock", *options.peers)
    runs: Runs = {one: [] for one in (*proxies, *(["direct"] if phase.direct else []))}
    turns = 1 if phase.once else options.repeat
    seconds = options.soak_seconds if phase.once else options.seconds
    with mock_process(mock_config(pki, phase.first, phase.between)) as mock:
        for turn in range(turns):
            for proxy in runs:
                _progress(f"{name}: {proxy}, {turn + 1} of {turns}")
                if proxy == "direct":
                    runs[proxy].append(phase.run(_direct(mock, pki), seconds))
                    continue
                place = folder / f"{name}-{proxy}-{turn}"
                place.mkdir()
                runs[proxy].append(_through(proxy, phase, mock, place, pki, core, seconds))
    _progress("")
    return runs


def _through(proxy: str, phase: Phase, mock: MockProcess, folder: Path, pki: Pki, core: int, seconds: float) -> Figures:
    with PEERS[proxy].start(Place(folder=folder, pki=pki, upstreams=mock.urls, cores=(core,))) as running:
        return phase.run(Scene(running.target, mock.process.pid, running.processes), seconds)


def _direct(mock: MockProcess, pki: Pki) -> Scene:
    port = int(mock.urls["swc"].rpartition(":")[2])
    return Scene(Target("localhost", port, str(pki.server_root)), mock.process.pid, headers={"api-key": _KEY})


def mock_config(pki: Pki, first: float, between: float) -> MockConfig:
    """Two regions with one deployment each."""
    deployment = Deployment(name="gpt-4o", first_token=Seconds(first), between_tokens=Seconds(between))
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=tuple(
            Instance(name=name, region=region, api_key=_KEY, deployments=(deployment,))
            for name, region in (("swc", "Sweden Central"), ("frc", "France Central"))
        ),
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
