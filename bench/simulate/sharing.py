"""What workers tell each other of breakers, by way of the supervisor. Messages take their time, and stay in order."""

import random
from collections.abc import Callable, Sequence

from bench.simulate.clock import Clock
from bench.simulate.worker import Worker
from proxy.messages import BreakerChanged, BreakerTold
from proxy.routing.breakers import Change
from proxy.supervisor.backends.breakers import SharedBreakers


class Sharing:
    """Of these workers, whoever has the places at the time. `delay`: how long a message takes at most."""

    def __init__(self, workers: Sequence[Worker], clock: Clock, delay: float, uniform: random.Random) -> None:
        self._workers = workers
        self._clock = clock
        self._delay = delay
        self._uniform = uniform
        self._shared = SharedBreakers(len(workers), self._post, lambda _: None)
        self._sent: dict[tuple[str, int], float] = {}

    def announced(self, worker: Worker, change: Change) -> None:
        """To the supervisor."""
        seconds = change.until - self._clock.now
        message = BreakerChanged(change.backend, change.deployment, change.state, change.reason, seconds, change.asked)
        self._deliver(("up", worker.index), self._heard, worker.index, message)

    def greet(self, worker: Worker) -> None:
        """Tell one that is new what is known."""
        for told in self._shared.greeting(self._clock.now):
            self._told(worker, told)

    def _heard(self, index: int, message: BreakerChanged) -> None:
        self._shared.changed(index, message, self._clock.now)

    def _post(self, index: int, told: BreakerTold) -> None:
        """To a worker: that which has the place when it was sent."""
        self._deliver(("down", index), self._told, self._workers[index], told)

    def _told(self, worker: Worker, told: BreakerTold) -> None:
        if worker.alive:
            worker.told((told.backend, told.deployment), told.state, told.reason, told.seconds)

    def _deliver(self, way: tuple[str, int], do: Callable[..., None], *arguments: object) -> None:
        when = max(self._clock.now + self._uniform.random() * self._delay, self._sent.get(way, 0.0))
        self._sent[way] = when
        self._clock.at(when, do, *arguments)
