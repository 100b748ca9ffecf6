"""Whether a peer works here: a few plain requests, a few streams, and whether their events come one by one."""

import tempfile
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.load.connection import Asked, Plan
from bench.load.engine import Load
from bench.load.workload import plain, stream
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockFailed, mock_process
from bench.peers.peer import Access, Peer, Place
from certs.pki import Pki, build
from proxy.config.structs import Seconds

_TOKENS = 40
_BETWEEN = 0.025
_LASTS = _TOKENS * _BETWEEN
_SLACK = 30.0  # seconds that a slow peer, or a busy machine, may take besides


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """`wrong`: what went wrong, by kind and count. `at_once`: streams whose events came together, or nearly."""

    answers: int
    streams: int
    at_once: int
    wrong: dict[str, int]

    @property
    def works(self) -> bool:
        return not self.wrong and not self.at_once and self.answers > 0 and self.streams > 0

    def __str__(self) -> str:
        if self.works:
            return f"works: {self.answers} plain answers, {self.streams} streams, events one by one"
        wrongs = [f"{count} × {kind}" for kind, count in self.wrong.items()]
        if self.at_once:
            wrongs.append(f"{self.at_once} of {self.streams} streams came all at once")
        return f"does not work: {', '.join(wrongs) or 'nothing was answered'}"


def trial(peer: Peer, streams: int = 4) -> Tried:
    """Start it before a mock, ask, and end it. Raises `BenchError`."""
    with tempfile.TemporaryDirectory(prefix="penstock-peer-") as folder:
        pki = build(Path(folder) / "pki")
        try:
            with mock_process(_mock(pki)) as mock:
                place = Place(folder=Path(folder), pki=pki, upstreams=mock.urls)
                with peer.start(place) as running:
                    return asked(running.access, streams)
        except MockFailed as error:
            raise BenchError(str(error)) from None


def asked(access: Access, streams: int) -> Tried:
    """Plain requests over a few connections, then streams; those that are under way are waited for."""
    told: list[Asked] = []
    load = Load(access.target)
    load.told = told.append
    try:
        _ask(load, Plan(workload=access.fitted(plain("localhost", access.headers)), returns=False), 4)
        answers = len(told)
        _ask(load, Plan(workload=access.fitted(stream("localhost", access.headers, _TOKENS)), returns=False), streams)
    finally:
        load.close()
    whole = [one for one in told[answers:] if not one.wrong and one.first is not None]
    at_once = sum(one.first is not None and one.over - one.first < _LASTS / 2 for one in whole)
    wrong: dict[str, int] = {}
    for one in told:
        if one.wrong:
            wrong[one.wrong] = wrong.get(one.wrong, 0) + 1
    return Tried(answers=sum(not one.wrong for one in told[:answers]), streams=len(whole), at_once=at_once, wrong=wrong)


def _ask(load: Load, plan: Plan, clients: int) -> None:
    load.ending = False
    load.start(clients, plan, ramp=0.1)
    load.finish(_LASTS + _SLACK)
    load.abandon()


def _mock(pki: Pki) -> MockConfig:
    deployments = (Deployment(name="gpt-4o", first_token=Seconds(0.01), between_tokens=Seconds(_BETWEEN)),)
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=tuple(Instance(name=name, api_key="bench", deployments=deployments) for name in ("swc", "frc")),
    )
