"""A small comparison, for real: it measures, judges, stores as it goes, and goes on when a proxy fails."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench.compare.place
from bench.compare.comparison import Comparison, Plan
from bench.compare.judge import failure
from bench.compare.measure import Case, Found, Scene, events, memory_held
from bench.compare.phases import Besides, Phase
from bench.compare.place import Cores, through
from bench.failure import BenchError
from bench.mock.config import MockConfig
from bench.peers.peer import Access, Peer, Place, Progress, Running
from bench.report.stored import CONTROL, DIRECT, OURS, Machine, Proxy, Stored, read
from certs.pki import Pki, build

MACHINE = Machine(cpu="", cores="", kernel="", python="", openssl="")
CORE = min(os.sched_getaffinity(0))
CORES = Cores(CORE, CORE)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@contextlib.contextmanager
def _nowhere(place: Place) -> Iterator[Running]:
    """This very process stands for the proxy's."""
    yield Running(pid=os.getpid(), access=Access(url="https://localhost:1"), folder=place.folder)


def _fake(name: str) -> Peer:
    def install(_: Progress) -> None: ...

    return Peer(name=name, about="a fake", version=lambda: "1", install=install, start=_nowhere)


def _measure(scene: Scene, case: Case) -> Found:
    return Found({"cpu_us_per_event": 1.0 + case.streams, "direct": float(scene.proxy is None), "errors": 0.0})


@contextlib.contextmanager
def _no_mock(_: MockConfig) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(urls={"swc": "https://localhost:2"}, process=SimpleNamespace(pid=os.getpid()))


@pytest.fixture
def comparison(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.setattr(bench.compare.place, "PEERS", {OURS: _fake(OURS), "nginx": _fake("nginx")})
    monkeypatch.setattr(bench.compare.place, "mock_process", _no_mock)
    stored = Stored(
        command="",
        began="",
        commit="",
        machine=MACHINE,
        proxies=(Proxy(name=OURS, version="1"), Proxy(name="nginx", version="1")),
        measured=(),
    )
    plan = Plan(peers=("nginx",), repeat=2, folder=tmp_path, pki=pki, cores=CORES)
    return Comparison(plan, stored, tmp_path / "run.json")


def test_proxies_take_turns_there_and_back(comparison: Comparison, tmp_path: Path) -> None:
    phase = Phase(title="", cases=(Case(measure=_measure, seconds=0, streams=3),), besides=Besides.PEERS_AND_DIRECT)
    comparison.measure("events", phase)
    stored = read(tmp_path / "run.json")
    assert [(one.repeat, one.proxy) for one in stored.measured] == [
        *((0, proxy) for proxy in (OURS, "nginx", DIRECT)),
        *((1, proxy) for proxy in (DIRECT, "nginx", OURS)),
    ]
    assert [proxy.name for proxy in stored.proxies] == [OURS, "nginx", DIRECT]
    assert [one.figures["direct"] for one in stored.measured] == [0, 0, 1, 1, 0, 0]
    ratio = stored.verdicts[0]
    assert (ratio.what, ratio.measured) == ("CPU per SSE event, 400 streams, against nginx", "1 × (1 × – 1 ×)")


def test_what_is_broken_off_is_stored_and_says_so(comparison: Comparison, tmp_path: Path) -> None:
    turns = iter((_measure, _interrupt))
    phase = Phase(title="", cases=(Case(measure=lambda scene, case: next(turns)(scene, case), seconds=0),))
    with pytest.raises(KeyboardInterrupt):
        comparison.measure("events", phase)
    stored = read(tmp_path / "run.json")
    assert len(stored.measured) == 1
    assert not stored.verdicts[-1].holds
    comparison.ended()
    assert all(verdict.holds for verdict in read(tmp_path / "run.json").verdicts)


def test_what_takes_long_is_repeated_for_the_gateway_alone(comparison: Comparison) -> None:
    phase = Phase(title="", cases=(Case(measure=_measure, seconds=0),), peers_once=True)
    comparison.measure("growth", phase)
    assert [(one.repeat, one.proxy) for one in comparison.stored.measured] == [(0, OURS), (0, "nginx"), (1, OURS)]


def _interrupt(_scene: Scene, _case: Case) -> Found:
    raise KeyboardInterrupt


def test_one_that_fails_does_not_end_it_for_the_others(comparison: Comparison) -> None:
    turns = iter((_measure, _fail))
    phase = Phase(title="", cases=(Case(measure=lambda scene, case: next(turns)(scene, case), seconds=0),), once=True)
    comparison.measure("events", phase)
    ours, theirs = comparison.stored.measured
    assert failure(ours) == ""
    assert failure(theirs) == "no event came through"


def _fail(_scene: Scene, _case: Case) -> Found:
    raise BenchError("no event came through")


def test_the_control_program_holds_connections_on_both_sides(pki: Pki, tmp_path: Path) -> None:
    found = through(CONTROL, Case(measure=memory_held, seconds=0.0, streams=8), tmp_path / "place", pki, CORES)
    assert found.figures["descriptors_per_stream"] == 2
    assert found.figures["kb_per_stream"] > 0


def test_the_gateway_is_measured_for_real(pki: Pki, tmp_path: Path) -> None:
    case = Case(measure=events, seconds=1.0, streams=2, first=0.01, between=0.02)
    found = through(OURS, case, tmp_path / "place", pki, CORES)
    assert found.figures["cpu_us_per_event"] > 0
    assert found.figures["errors"] == 0
    assert {"late", "between_events"} <= set(found.histograms)
