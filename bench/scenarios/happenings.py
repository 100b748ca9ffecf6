"""What is done while the load runs: faults come and go, the gateway is reloaded or loses a worker, and what its
backends were asked is counted, moment by moment.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench.failure import BenchError
from bench.faults.world import World
from bench.mock.client import ControlFailed
from bench.scenarios.schedule import Step, steps
from bench.scenarios.structs import Scenario

Act = Callable[[], None]
Configure = Callable[[str | None], str]
"""The gateway's configuration, with these further tables instead of the scenario's own."""


class Happenings:
    """`attempts`: by moment, the requests that each backend got in it. `now`: what is going on, in words."""

    def __init__(self, scenario: Scenario, world: World, configure: Configure) -> None:
        self.attempts: dict[int, dict[str, int]] = {}
        self.now: tuple[str, ...] = ()
        self._scenario = scenario
        self._world = world
        self._configure = configure
        self._start = 0.0
        self._posted: dict[str, int] = {}

    def begin(self, start: float) -> Iterator[tuple[float, Act]]:
        """All there is to do, and when (monotonic), in order. `start` is the scenario's 0. Acts raise `BenchError`."""
        self._start = start
        self._posted = self._asked()
        for at, act in self._acts():
            yield start + at, act

    def _acts(self) -> Iterator[tuple[float, Act]]:
        """The end of a moment, what happens, the end of the next."""
        coming = steps(self._scenario)
        grain = self._scenario.grain
        for moment in range(round(self._scenario.duration / grain)):
            end = (moment + 1) * grain
            while coming and coming[0].at < end - grain / 1000:
                step = coming.pop(0)
                yield step.at, partial(self._do, step)
            yield end, partial(self._count, moment)

    def _count(self, moment: int) -> None:
        """What came in a moment that is over. One for which there was no time is counted with the next."""
        grain = self._scenario.grain
        late = time.monotonic() - self._start - (moment + 1) * grain
        if late > grain and (moment + 2) * grain <= self._scenario.duration:
            return
        before, self._posted = self._posted, self._asked()
        self.attempts[moment] = {name: count - before.get(name, 0) for name, count in self._posted.items()}

    def _asked(self) -> dict[str, int]:
        try:
            return dict(self._world.mock.stats()["posted"])
        except OSError as error:
            raise BenchError(f"the mock does not say what it was asked: {error}") from None

    def _do(self, step: Step) -> None:
        try:
            self._happen(step)
        except (OSError, ControlFailed) as error:
            raise BenchError(f"at {step.at:g} s, {step.what}: {error}") from None

    def _happen(self, step: Step) -> None:
        event, mock = step.event, self._world.mock
        if event.gateway == "kill_worker":
            worker = next((one for one in self._world.status()["workers"] if one["state"] == "serving"), None)
            if worker is None:
                raise BenchError(f"at {step.at:g} s, {step.what}: no worker serves")
            os.kill(int(worker["pid"]), signal.SIGKILL)
        elif event.gateway == "reload":
            (self._world.gateway.folder / "penstock.toml").write_text(self._configure(event.configuration))
            os.kill(self._world.gateway.pid, signal.SIGHUP)
        elif step.off:
            mock.clear(instance=event.backend, kind=event.fault)
            self.now = tuple(what for what in self.now if what != event.what)
        else:
            fault = event.asked()
            mock.fault(fault.kind, **{name: getattr(fault, name) for name in fault.__struct_fields__ if name != "kind"})
            self.now = (*self.now, event.what)
