"""`python -m bench compare`: proxies in turn, repeat by repeat, each on one core, mock and load on the other."""

import json
import os
import platform
import resource
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.compare import measure
from bench.compare.cpu import pin
from bench.compare.proxies import PROXIES, BenchError, Running, nginx_version
from bench.compare.report import table
from bench.load.engine import Target
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.config.structs import Seconds

PROXY_CORE, LOAD_CORE = 0, 1
Phase = Callable[[Running, float], measure.Figures]

PHASES: dict[str, tuple[Phase, float, float]] = {
    "plain": (measure.plain_requests, 0.0, 0.0),
    "events": (measure.events, 0.01, 0.025),
    "handshake": (measure.handshakes, 0.0, 0.0),
    "ttft": (lambda proxy, seconds: measure.first_bytes(proxy.target, seconds, {}), 0.02, 0.005),
    "memory": (lambda proxy, _: measure.memory(proxy), 0.01, 0.05),
    "soak": (lambda proxy, seconds: measure.soak(proxy.target, seconds, {}), 0.01, 0.05),
}
"""What can be measured: the phase, and the mock's first-token and between-token times for it."""

DIRECT: dict[str, Callable[[Target, float], measure.Figures]] = {
    "ttft": lambda target, seconds: measure.first_bytes(target, seconds, {"api-key": "bench"}),
    "soak": lambda target, seconds: measure.soak(target, seconds, {"api-key": "bench"}),
}
"""What is measured without a proxy as well."""


def compare(peers: list[str], what: list[str], seconds: float, repeat: int, output: Path | None) -> int:
    """Run the comparison and print its tables; the exit code. Raises `BenchError`."""
    if "nginx" in peers:
        nginx_version()
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for mock and load")
    pin(LOAD_CORE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"# Penstock beside {', '.join(peers) or 'nothing'}\n\n{_machine(peers)}\n`{' '.join(sys.argv)}`\n")
    everything = {}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        pki = build(Path(folder) / "pki")
        for name in what:
            runs = _phase(name, ["penstock", *peers], Path(folder), pki, seconds, repeat)
            everything[name] = runs
            print(f"## {name}\n\n{table(runs, peers[0] if peers else None)}\n", flush=True)
    if output is not None:
        output.write_text(json.dumps(everything, indent=2))
    return 0


def _phase(
    name: str, proxies: list[str], folder: Path, pki: Pki, seconds: float, repeat: int
) -> dict[str, list[measure.Figures]]:
    run, first, between = PHASES[name]
    runs: dict[str, list[measure.Figures]] = {proxy: [] for proxy in proxies}
    if name in DIRECT:
        runs["direct"] = []
    with mock_process(mock_config(pki, first, between)) as mock:
        for turn in range(repeat):
            for proxy in proxies:
                _progress(f"{name}: {proxy}, {turn + 1} of {repeat}")
                place = folder / f"{name}-{proxy}-{turn}"
                place.mkdir()
                with PROXIES[proxy](place, pki, list(mock.urls.values()), PROXY_CORE) as running:
                    runs[proxy].append(run(running, seconds))
            if name in DIRECT:
                runs["direct"].append(DIRECT[name](_direct(mock, pki), seconds))
    _progress("")
    return runs


def mock_config(pki: Pki, first: float, between: float) -> MockConfig:
    """Two regions with one deployment each."""
    deployment = Deployment(name="gpt-4o", first_token=Seconds(first), between_tokens=Seconds(between))
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        remember=20_000,
        instances=tuple(
            Instance(name=name, region=region, api_key="bench", deployments=(deployment,))
            for name, region in (("swc", "Sweden Central"), ("frc", "France Central"))
        ),
    )


def _direct(mock: MockProcess, pki: Pki) -> Target:
    port = int(mock.urls["swc"].rpartition(":")[2])
    return Target("localhost", port, str(pki.server_root))


def _machine(peers: list[str]) -> str:
    versions = [f"Python {platform.python_version()}", ssl.OPENSSL_VERSION, platform.release()]
    if "nginx" in peers:
        versions.append(f"nginx {nginx_version()}")
    return f"{os.cpu_count()} cores, {', '.join(versions)}; proxies on core {PROXY_CORE}, mock and load on {LOAD_CORE}."


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
