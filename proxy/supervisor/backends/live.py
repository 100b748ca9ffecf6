"""The deployments while the gateway runs: what workers report of them, and what they are told of each other's.

Once a second at most, and only where something has changed; at once where a person has set something. A new worker is
told before it serves its first request.
"""

import time
from collections.abc import Callable, Iterable

import trio

from proxy.config.structs import Config
from proxy.messages import BreakerTold, DeploymentsSeen, Downward
from proxy.routing.breaker import BY_HAND
from proxy.routing.candidate import Key
from proxy.supervisor.backends.deployments import Deployments, Figures
from proxy.supervisor.backends.overrides import Overrides

_TELL_EVERY = 1.0


class LiveDeployments:
    """`post` tells one worker something, or all where it is None."""

    def __init__(self, config: Config, workers: int, post: Callable[[int | None, Downward], None]) -> None:
        self.overrides = Overrides()
        self._deployments = Deployments(keys_of(config))
        self._workers = workers
        self._post = post

    async def run(self) -> None:
        """Keep the workers up to date, for ever."""
        while True:
            await trio.sleep(_TELL_EVERY)
            for worker in range(self._workers):
                self._tell(worker)
                await trio.lowlevel.checkpoint()  # many workers and deployments take a while, and others wait

    def tell(self) -> None:
        """Tell every worker what has changed since it was told last."""
        for worker in range(self._workers):
            self._tell(worker)

    def _tell(self, worker: int) -> None:
        told = self._deployments.told(worker, self.overrides, time.monotonic())
        if told is not None:
            self._post(worker, told)

    def greeting(self, worker: int) -> list[Downward]:
        """What a worker has to know before it serves."""
        now = time.monotonic()
        held: list[Downward] = [
            BreakerTold(*key, "open", BY_HAND, until - now)
            for key in self.overrides.held
            if (until := self.overrides.held_until(key, now)) is not None
        ]
        told = self._deployments.anew(worker, self.overrides, now)
        return held if told is None else [told, *held]

    def hear(self, worker: int, message: DeploymentsSeen) -> None:
        self._deployments.seen(worker, message, time.monotonic())

    def worker_gone(self, worker: int) -> None:
        self._deployments.worker_gone(worker)

    def reconfigure(self, config: Config) -> None:
        keys = keys_of(config)
        self._deployments.reconfigure(keys)
        self.overrides.reconfigure(keys)

    def figures(self, key: Key) -> Figures:
        return self._deployments.figures(key, time.monotonic())

    # What people set.

    def drain(self, keys: Iterable[Key]) -> None:
        self.overrides.drain(keys, time.monotonic())
        self.tell()

    def undrain(self, keys: Iterable[Key]) -> None:
        self.overrides.undrain(keys)
        self.tell()

    def weigh(self, key: Key, present: float, goal: float | None, over: float) -> None:
        self.overrides.weigh(key, present, goal, over, time.monotonic())
        self.tell()

    def open_breakers(self, keys: Iterable[Key], seconds: float) -> None:
        """Hold them open for so long; then a probe finds out, as ever."""
        keys = list(keys)
        self.overrides.hold(keys, time.monotonic() + seconds)
        for key in keys:
            self._post(None, BreakerTold(*key, "open", BY_HAND, seconds))

    def close_breakers(self, keys: Iterable[Key]) -> None:
        keys = list(keys)
        self.overrides.let_go(keys)
        for key in keys:
            self._post(None, BreakerTold(*key, "closed", BY_HAND, 0.0))


def keys_of(config: Config) -> frozenset[Key]:
    """Every deployment that a model has."""
    return frozenset(
        (deployment.backend, deployment.deployment) for model in config.models for deployment in model.deployments
    )
