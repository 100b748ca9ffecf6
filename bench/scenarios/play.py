"""One scenario, for real: the mock with its faults, a gateway process, and load that waits for neither.

Nothing here is judged; see `bench.scenarios.bars`.
"""

import time
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.faults.world import World
from bench.load.generate import Generating, generating
from bench.load.job import Job
from bench.mock.mint import TokenIssuer
from bench.mock.process import MockFailed, mock_process
from bench.peers.peer import Access, Running
from bench.peers.penstock import Ports, penstock_of
from bench.peers.process import free_ports
from bench.report.stored import Second
from bench.scenarios.gateway import Around, configuration
from bench.scenarios.happenings import Happenings
from bench.scenarios.identities import ISSUER, identities
from bench.scenarios.live import Glance, Show
from bench.scenarios.measure import Moment, Played
from bench.scenarios.scenario import job, mock_config
from bench.scenarios.structs import Scenario
from bench.scenarios.vitals import Watch
from certs.pki import Pki


def play(scenario: Scenario, folder: Path, pki: Pki, show: Show = lambda _: None) -> Played:
    """Play it in a folder of its own. Raises `BenchError`."""
    began = time.monotonic()
    folder.mkdir()
    try:
        with mock_process(mock_config(scenario, pki)) as mock:
            issuer = TokenIssuer(f"{mock.issuers}/{ISSUER}")
            mock.issuer(ISSUER, issuer.jwks)
            ports = Ports(*free_ports(3))  # once the mock has its own
            around = Around(pki, mock.urls, issuer.iss, ports)
            with penstock_of(folder, configuration(scenario, around), ports) as pid:
                access = Access(url=f"https://localhost:{ports.listen}", root=str(pki.server_root))
                world = World(mock, Running(pid=pid, access=access, folder=folder, admin=ports.admin_url))
                happenings = Happenings(scenario, world, lambda more: configuration(scenario, around, more))
                load = job(scenario, access, identities(scenario, pki, folder / "clients", issuer))
                return _Run(scenario, happenings, Watch(pid), show).played(load, began)
    except MockFailed as error:
        raise BenchError(str(error)) from None


_LOOK = 0.2  # seconds before the measured time in which the gateway is looked at
_MORE = 15.0  # seconds at the most that a warm-up takes longer than it should


class _Run:
    """The load, what happens meanwhile, and who watches."""

    def __init__(self, scenario: Scenario, happenings: Happenings, watch: Watch, show: Show) -> None:
        self._scenario = scenario
        self._happenings = happenings
        self._watch = watch
        self._show = show
        self._moments: dict[int, Moment] = {}
        self._last = Glance(at=-1)
        self._measures = self._well = False
        self._errors = {"failed": 0, "broken": 0, "refused": 0}

    def played(self, load: Job, began: float) -> Played:
        if self._scenario.arrivals is None:
            load = msgspec.structs.replace(load, duration=load.duration + _MORE + 2)
        with generating(load, self._second, apart=True) as running:
            self._show(self._last)
            self._warm(running, load.warm_up)
            for moment, act in self._happenings.begin(running.began):
                running.run_until(moment)
                act()
            self._show(msgspec.structs.replace(self._last, now=("waiting for the last answers",)))
            running.finish()
            outcome = running.outcome()
        return Played(
            grain=self._scenario.grain,
            results=outcome.results,
            tallies=outcome.tallies,
            attempts=self._happenings.attempts,
            moments=self._moments,
            clients=("", *load.apart),
            took=time.monotonic() - began,
        )

    def _warm(self, running: Generating, seconds: float) -> None:
        """Of requests that come at a constant rate, more, until a second goes by in which all are answered."""
        running.run_until(running.began + seconds - _LOOK)
        self._watch.look()
        running.warm()
        until = time.monotonic() + _MORE
        while self._scenario.arrivals is None and time.monotonic() < until and not self._well:
            running.run_until(running.began + 1 + _LOOK)
            self._watch.look()
            running.fresh()
        self._measures = True

    def _second(self, second: Second) -> None:
        """A second of the load is over."""
        if not self._measures:
            self._well = second.answered > 0 and not (second.failed or second.broken or second.refused)
            return
        vitals = self._watch.look()
        moment = Moment(
            at=second.at,
            events=second.events,
            handshakes=int(second.more.get("handshakes", 0)),
            open=int(second.more.get("open", 0)),
            late_p99=second.late_p99,
            vitals=vitals,
        )
        self._moments[second.at] = moment
        for name in self._errors:
            self._errors[name] += getattr(second, name)
        self._last = Glance(
            at=second.at,
            answered=second.answered,
            events=second.events,
            open=moment.open,
            ttft_p50=second.ttft_p50,
            ttft_p99=second.ttft_p99,
            late_p99=second.late_p99,
            cpu_share=moment.cpu_share,
            memory_mb=moment.memory_mb,
            descriptors=moment.descriptors,
            now=self._happenings.now,
            **self._errors,
        )
        self._show(self._last)
