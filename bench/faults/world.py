"""A mock of two regions and a gateway before it, for as long as a measurement takes."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.load.engine import Load, Target
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from bench.peers.peer import Running
from bench.peers.penstock import Gateway, penstock
from certs.pki import Pki
from proxy.config.structs import Seconds

INTERVAL = 0.025
PACED, HURRIED = "gpt-4o", "gpt-4o-hurried"
"""Two models: one token each `INTERVAL`, and all tokens at once."""
FIRST, SECOND = "swc", "frc"
"""Two backends: the second is asked when the first cannot answer."""

Line = dict[str, Any]


class World(msgspec.Struct):
    """Everything a measurement needs."""

    mock: MockProcess
    gateway: Running

    @property
    def target(self) -> Target:
        return self.gateway.target

    @contextlib.contextmanager
    def load(self) -> Iterator[Load]:
        load = Load(self.target)
        try:
            yield load
        finally:
            load.close()

    def records(self) -> list[Line]:
        """The audit log as it is."""
        path = self.gateway.folder / "log" / "audit.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def await_records(self, enough: Callable[[list[Line]], bool], within: float = 8.0) -> list[Line]:
        """The audit log once it has what is waited for, or as it is when the time is up."""
        until = time.monotonic() + within
        while not enough(found := self.records()) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def status(self) -> Line:
        """The admin address' `/api/status`."""
        token = (self.gateway.folder / "state" / "admin.token").read_text().strip()
        request = urllib.request.Request(  # noqa: S310 - always http on loopback
            self.gateway.admin + "/api/status", headers={"authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            found: Line = json.loads(answer.read())
            return found

    def breaker(self, backend: str, model: str = PACED) -> str:
        """The state of a deployment's breaker."""
        return next(
            str(deployment["state"])
            for deployment in self.status()["deployments"]
            if (deployment["backend"], deployment["deployment"]) == (backend, model)
        )

    def await_breaker(self, backend: str, state: str, within: float = 2.0) -> str:
        """The breaker's state once it is the one waited for, or when the time is up."""
        until = time.monotonic() + within
        while (found := self.breaker(backend)) != state and time.monotonic() < until:
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def world(folder: Path, pki: Pki, *, workers: int = 1, more: str = "") -> Iterator[World]:
    """Start both; raises `BenchError`."""
    folder.mkdir()
    gateway = Gateway(workers=workers, models=(PACED, HURRIED), more=more)
    with mock_process(_mock(pki)) as mock, penstock(folder, pki, mock.urls, gateway) as running:
        yield World(mock, running)


def _mock(pki: Pki) -> MockConfig:
    deployments = (
        Deployment(name=PACED, first_token=Seconds(0.01), between_tokens=Seconds(INTERVAL)),
        Deployment(name=HURRIED),
    )
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        remember=20_000,
        instances=tuple(
            Instance(name=name, region=name, api_key="bench", deployments=deployments) for name in (FIRST, SECOND)
        ),
    )
