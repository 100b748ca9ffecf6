"""One scenario, for real: the mock with its faults, a gateway process, and open-loop load that never waits for either.

Nothing here is judged; see `bench.scenarios.bars`.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from bench.failure import BenchError
from bench.faults.world import World
from bench.load.connection import Asked, Plan
from bench.load.engine import Load
from bench.load.workload import plain, stream
from bench.mock.process import MockFailed, mock_process
from bench.peers.peer import Access, Running
from bench.peers.penstock import Ports, penstock_of
from bench.peers.process import free_ports
from bench.scenarios.gateway import configuration, key_of
from bench.scenarios.measure import Arrival, Played, request_of
from bench.scenarios.scenario import mock_config
from bench.scenarios.schedule import Step, steps
from bench.scenarios.structs import ALONE, CHAT, Scenario
from bench.scenarios.structs import Load as Wanted
from certs.pki import Pki

_CONNECTIONS = 2_000
_WARM_AT_MOST = 15.0
_GRACE = 5.0  # for what is under way at the end; what takes longer was never answered
_TURNS = 100  # over which the mix of plans comes out as it was asked for

Progress = Callable[[str], None]


def play(scenario: Scenario, folder: Path, pki: Pki, progress: Progress = lambda _: None) -> Played:
    """Play it in a folder of its own. Raises `BenchError`."""
    began = time.monotonic()
    folder.mkdir()
    try:
        with mock_process(mock_config(scenario, pki)) as mock:
            ports = Ports(*free_ports(3))  # once the mock has its own
            text = configuration(scenario, pki, mock.urls, ports)
            with penstock_of(folder, text, ports) as pid:
                access = Access(url=f"https://localhost:{ports.listen}", root=str(pki.server_root))
                world = World(mock, Running(pid=pid, access=access, folder=folder, admin=ports.admin_url))
                return _Run(scenario, world, pki, ports, progress).played(began)
    except MockFailed as error:
        raise BenchError(str(error)) from None


def _mixed(wanted: tuple[Wanted, ...]) -> tuple[list[Plan], dict[int, str]]:
    """Whose turn it is to ask for what, spread evenly, and the client of each plan by its id."""
    total = sum(one.rate or 0.0 for one in wanted)
    parts: list[tuple[float, Plan]] = []
    clients: dict[int, str] = {}
    for one in wanted:
        headers = {"api-key": key_of(one.client or ALONE)}
        for share, workload in (
            (one.streams, stream("localhost", headers, _most(one.tokens), CHAT)),
            (1 - one.streams, plain("localhost", headers, _most(one.tokens), CHAT)),
        ):
            if share:
                plan = Plan(workload=workload)
                clients[id(plan)] = one.client or ALONE
                parts.append((share * (one.rate or 0.0) / total, plan))
    places = [
        ((turn + 0.5) / share, number)
        for number, (share, _) in enumerate(parts)
        for turn in range(max(1, round(share * _TURNS)))
    ]
    return [parts[number][1] for _, number in sorted(places)], clients


def _most(tokens: int | tuple[int, int]) -> int:
    return tokens if isinstance(tokens, int) else tokens[1]


class _Run:
    """The load and what happens meanwhile."""

    def __init__(self, scenario: Scenario, world: World, pki: Pki, ports: Ports, progress: Progress) -> None:
        self._scenario = scenario
        self._world = world
        self._pki = pki
        self._ports = ports
        self._progress = progress
        self._told: list[Asked] = []

    def played(self, began: float) -> Played:
        plans, clients = _mixed(self._scenario.load)
        with self._world.load() as load:
            load.told = self._told.append
            load.offer(sum(one.rate or 0.0 for one in self._scenario.load), plans, _CONNECTIONS)
            self._warm(load)
            start, wall = time.monotonic(), time.time()
            self._happen(load, start)
            load.finish(_GRACE)
            load.abandon()
        requests = [request_of(asked, clients[id(asked.plan)], start) for asked in self._told if asked.due >= start]
        arrivals = [
            Arrival(shown["at"] - wall, shown["instance"])
            for shown in self._world.mock.received(since=wall)
            if shown["method"] == "POST"
        ]
        requests.sort(key=lambda request: request.due)
        return Played(requests, arrivals, time.monotonic() - began)

    def _warm(self, load: Load) -> None:
        """Until a second goes by in which all is well, or there is no more time for it."""
        self._progress("warming up")
        until = time.monotonic() + _WARM_AT_MOST
        load.run(self._scenario.warm_up)
        while time.monotonic() < until:
            self._told.clear()
            load.run(1.0)
            if self._told and not any(asked.wrong for asked in self._told):
                break

    def _happen(self, load: Load, start: float) -> None:
        for step in steps(self._scenario):
            load.run(start + step.at - time.monotonic())
            self._progress(f"{step.at:g} s: {step.event.what}{' is over' if step.off else ''}")
            self._do(step)
        load.run(start + self._scenario.duration - time.monotonic())

    def _do(self, step: Step) -> None:
        event, mock = step.event, self._world.mock
        if event.gateway == "kill_worker":
            worker = next(one for one in self._world.status()["workers"] if one["state"] == "serving")
            os.kill(int(worker["pid"]), signal.SIGKILL)
        elif event.gateway == "reload":
            text = configuration(self._scenario, self._pki, mock.urls, self._ports, event.configuration)
            (self._world.gateway.folder / "penstock.toml").write_text(text)
            os.kill(self._world.gateway.pid, signal.SIGHUP)
        elif step.off:
            mock.clear(instance=event.backend, kind=event.fault)
        else:
            fault = event.asked()
            mock.fault(fault.kind, **{name: getattr(fault, name) for name in fault.__struct_fields__ if name != "kind"})
