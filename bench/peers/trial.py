"""Whether a peer works here: a few plain requests, a few streams, and whether their events come one by one."""

import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.load.connection import Asked, Plan
from bench.load.engine import Load
from bench.load.workload import Workload, plain, stream
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockFailed, mock_process
from bench.peers.peer import Access, Peer, Place
from certs.pki import Pki, build
from proxy.config.structs import Seconds

_TOKENS = 40
_BETWEEN = 0.025
_LASTS = _TOKENS * _BETWEEN
_APART = 0.005  # seconds between two requests
_SLACK = 30.0  # seconds that a slow peer, or a busy machine, may take besides


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """`wrong`: what went wrong, by kind and count. `at_once`: streams whose events came together, or nearly."""

    answers: int
    streams: int
    at_once: int
    wrong: dict[str, int]

    @property
    def works(self) -> bool:
        """A few streams may come late and together on a busy machine; a proxy that holds answers back, holds all."""
        return not self.wrong and self.at_once < self.streams and self.answers > 0

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
    """A few plain requests over fewer connections, then streams, each over its own."""
    answers = _told(access, plain("localhost", access.headers), 12, connections=4)
    streamed = _told(access, stream("localhost", access.headers, _TOKENS), streams, connections=streams)
    whole = [one for one in streamed if not one.wrong and one.first is not None]
    return Tried(
        answers=sum(not one.wrong for one in answers),
        streams=len(whole),
        at_once=sum(one.first is not None and one.over - one.first < _LASTS / 2 for one in whole),
        wrong=dict(Counter(one.wrong for one in (*answers, *streamed) if one.wrong)),
    )


def _told(access: Access, workload: Workload, count: int, connections: int) -> list[Asked]:
    """What became of so many requests, which fall due one after the other."""
    told: list[Asked] = []
    load = Load(access.target)
    load.told = told.append
    begin, plan = time.monotonic(), Plan(workload=access.fitted(workload), returns=False)
    try:
        load.follow(((begin + number * _APART, plan) for number in range(count)), connections)
        while len(told) < count and time.monotonic() < begin + count * _APART + _LASTS + _SLACK:
            load.run(0.05)
        load.abandon()
    finally:
        load.close()
    return told


def _mock(pki: Pki) -> MockConfig:
    deployments = (Deployment(name="gpt-4o", first_token=Seconds(0.01), between_tokens=Seconds(_BETWEEN)),)
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=tuple(Instance(name=name, api_key="bench", deployments=deployments) for name in ("swc", "frc")),
    )
