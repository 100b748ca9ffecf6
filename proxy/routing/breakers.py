"""How every deployment stands at this worker: their breakers, and what there is to announce of them. Pure."""

from collections.abc import Callable, Iterable

import msgspec

from proxy.config.structs import Breaker as Settings
from proxy.routing.breaker import Breaker, Unavailable
from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome


class Change(msgspec.Struct, frozen=True):
    """A deployment became unavailable, or available again. `until` is monotonic."""

    backend: str
    deployment: str
    state: str
    reason: str
    until: float


class Standing(msgspec.Struct, frozen=True):
    """How a deployment stands, for people to see."""

    backend: str
    deployment: str
    state: str
    reason: str
    until: float

    @property
    def key(self) -> Key:
        return self.backend, self.deployment


class Breakers:
    """A breaker for each deployment that is configured. Times are monotonic; `uniform` is in [0, 1)."""

    def __init__(self, keys: Iterable[Key], settings: Settings, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._breakers: dict[Key, Breaker] = {}
        self.reconfigure(keys, settings)

    def reconfigure(self, keys: Iterable[Key], settings: Settings) -> None:
        """A new configuration; deployments that remain keep their breakers."""
        self._breakers = {key: self._breakers.get(key) or Breaker(settings, self._uniform) for key in keys}
        for breaker in self._breakers.values():
            breaker.settings = settings

    def get(self, key: Key) -> Breaker | None:
        return self._breakers.get(key)

    def unavailable(self, key: Key, now: float) -> Unavailable | None:
        breaker = self._breakers.get(key)
        return None if breaker is None else breaker.unavailable(now)

    def begin(self, key: Key) -> bool:
        """A request goes to a deployment; true if it is a probe."""
        breaker = self._breakers.get(key)
        return breaker is not None and breaker.begin()

    def judge(self, key: Key, outcome: Outcome, now: float, wait: float | None, *, probe: bool) -> Change | None:
        """How it went; the change to announce, if there is one."""
        breaker = self._breakers.get(key)
        if breaker is None or not breaker.end(outcome, now, wait, probe=probe):
            return None
        return Change(*key, _state(breaker, now), breaker.reason, breaker.until)

    def view(self, now: float) -> list[Standing]:
        """How every deployment stands."""
        return [
            Standing(*key, _state(breaker, now), breaker.reason, breaker.until)
            for key, breaker in sorted(self._breakers.items())
        ]


def _state(breaker: Breaker, now: float) -> str:
    cause = breaker.unavailable(now)
    if cause in (Unavailable.THROTTLED, Unavailable.MISCONFIGURED):
        return str(cause.value)
    return str(breaker.state.value)
