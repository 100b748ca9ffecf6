"""Where cases are measured: a mock of two regions, and one proxy at a time before it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.compare.holding import CONTROL_PROGRAM
from bench.compare.measure import Case, Found, Scene, memory_held
from bench.failure import BenchError
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockFailed, MockProcess, mock_process
from bench.peers.known import PEERS
from bench.peers.peer import Access, Place
from bench.report.stored import CONTROL, DIRECT
from certs.pki import Pki
from proxy.config.structs import Seconds

_KEY = "bench"


class Cores(msgspec.Struct, frozen=True):
    """The proxies' and that of mock and load, by number."""

    proxy: int
    rest: int


def through(name: str, case: Case, folder: Path, pki: Pki, cores: Cores) -> Found:
    """Measure a case once, with this proxy in between; in a folder of its own. Raises `BenchError`."""
    folder.mkdir()
    if name == CONTROL:
        case = msgspec.structs.replace(case, measure=memory_held)
    try:
        with (
            mock_process(_regions(pki, case) if case.mock is None else case.mock(pki)) as mock,
            _scene(name, case, folder, pki, cores, mock) as scene,
        ):
            measured = case.measure(scene, case)
    except MockFailed as error:
        raise BenchError(str(error)) from None
    return _without_costs(measured) if name == DIRECT else measured


def _without_costs(measured: Found) -> Found:
    """Of no proxy there are none."""
    figures = {
        name: value
        for name, value in measured.figures.items()
        if not name.startswith("cpu_us_") and name != "share_of_proxy"
    }
    return msgspec.structs.replace(measured, figures=figures)


@contextlib.contextmanager
def _scene(name: str, case: Case, folder: Path, pki: Pki, cores: Cores, mock: MockProcess) -> Iterator[Scene]:
    url = next(iter(mock.urls.values()))
    direct = Access(url=url, root=str(pki.server_root), headers={"api-key": _KEY})
    if name == DIRECT:
        yield Scene(access=direct, direct=direct, mock=mock)
        return
    peer = CONTROL_PROGRAM if name == CONTROL else PEERS[name]
    bound = (cores.proxy, cores.rest) if case.spread else (cores.proxy,)
    place = Place(folder=folder, pki=pki, upstreams=mock.urls, cores=bound, workers=case.workers)
    with peer.start(place) as running:
        yield Scene(
            access=running.access,
            direct=direct,
            mock=mock,
            proxy=running.pid,
            core=None if case.spread else cores.proxy,
        )


def _regions(pki: Pki, case: Case) -> MockConfig:
    """Two regions with one deployment each."""
    deployment = Deployment(name="gpt-4o", first_token=Seconds(case.first), between_tokens=Seconds(case.between))
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=tuple(
            Instance(name=name, region=region, api_key=_KEY, deployments=(deployment,))
            for name, region in (("swc", "Sweden Central"), ("frc", "France Central"))
        ),
    )
