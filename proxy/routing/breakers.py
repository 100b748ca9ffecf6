"""How every deployment stands at this worker: their breakers, and what there is to announce of them. Pure."""

from collections.abc import Callable, Container, Iterable

from proxy.config.structs import Breaker as Settings
from proxy.frozen import Frozen
from proxy.routing.breaker import PROBE_FOR, Breaker, State, Unavailable
from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome


class Change(Frozen, frozen=True):
    """A deployment became unavailable, or available again. `until` is monotonic.

    `state` is closed, open, half_open (a probe is under way, until then at most), throttled or misconfigured. `asked`:
    the seconds it asked for, where they were too many to be believed.
    """

    backend: str
    deployment: str
    state: str
    reason: str
    until: float
    asked: float = 0.0


class Standing(Frozen, frozen=True):
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

    def probing(self, key: Key, now: float) -> Change | None:
        """A probe has begun; what there is to announce of it."""
        breaker = self._breakers.get(key)
        if breaker is None:
            return None
        breaker.probing(now + PROBE_FOR)
        return Change(*key, State.HALF_OPEN.value, breaker.reason, now + PROBE_FOR, breaker.asked)

    def judge(self, key: Key, outcome: Outcome, now: float, wait: float | None, *, probe: bool) -> Change | None:
        """How it went; the change to announce, if there is one."""
        breaker = self._breakers.get(key)
        word = None if breaker is None else breaker.end(outcome, now, wait, probe=probe)
        if breaker is None or word is None:
            return None
        return Change(*key, word, breaker.reason, breaker.until, breaker.asked)

    def told(self, key: Key, word: str, reason: str, until: float, now: float) -> Change | None:
        """What another worker or a person found. It is not announced again, unless it crossed what was found here."""
        breaker = self._breakers.get(key)
        if breaker is None or not breaker.told(word, reason, until, now):
            return None
        return Change(*key, State.CLOSED.value, reason, breaker.until)

    def forgive(self, backends: Container[str], now: float) -> list[Change]:
        """Another credential is there for these backends; the changes to announce."""
        return [
            Change(*key, breaker.word(now), breaker.reason, breaker.until)
            for key, breaker in self._breakers.items()
            if key[0] in backends and breaker.forgive(now)
        ]

    def words(self, backend: str, now: float) -> set[str]:
        """How the deployments at a backend stand."""
        return {breaker.word(now) for key, breaker in self._breakers.items() if key[0] == backend}

    def view(self, now: float) -> list[Standing]:
        """How every deployment stands."""
        return [
            Standing(*key, breaker.word(now), breaker.reason, breaker.until)
            for key, breaker in sorted(self._breakers.items())
        ]
