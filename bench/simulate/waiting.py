"""`proxy.waiting.WaitingRoom` in virtual time: the same queue and gates, looked at in the same moments."""

import math
from collections.abc import Callable

from bench.simulate.clock import Clock
from proxy.config.structs import Queueing
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key
from proxy.routing.queue import Gates, Queue, QueueFull, Ticket


class Waiter(Ticket, eq=False, weakref=False, kw_only=True):
    """`resume` hears of the deployment whose turn it is, or None: there was none."""

    give_up: float
    resume: Callable[[Key | None], None]
    over: bool = False


class Room:
    """A worker's."""

    def __init__(self, settings: Queueing, breakers: Breakers, clock: Clock) -> None:
        self._settings = settings
        self._breakers = breakers
        self._clock = clock
        self._queue = Queue(settings.size)
        self._gates = Gates()
        self._stirred = False
        self._changed = False

    def is_wanted(self, key: Key) -> bool:
        return key in self._queue.wanted

    def waiter(
        self,
        client: str,
        priority: int,
        keys: tuple[Key, ...],
        until: float,
        waited: float,
        resume: Callable[[Key | None], None],
    ) -> Waiter | None:
        """One for a request that may wait until then, and has waited for so long; None where that would be in vain."""
        now = self._clock.now
        give_up = min(now + self._settings.wait - waited, until)
        if give_up <= now or self._soonest(keys) > give_up:
            return None
        return Waiter(client=client, priority=priority, keys=keys, give_up=give_up, resume=resume)

    def wait(self, waiter: Waiter) -> None:
        try:
            displaced = self._queue.join(waiter)
        except QueueFull:
            self._wake(waiter, None)
            return
        if isinstance(displaced, Waiter):
            self._wake(displaced, None)
        self._clock.at(waiter.give_up, lambda: self._wake(waiter, None))
        self._stir()

    def over(self, key: Key, answered: bool | None) -> None:
        self._gates.over(key, answered)
        self._stir()

    def changed(self) -> None:
        self._changed = True
        self._stir()

    def _soonest(self, keys: tuple[Key, ...]) -> float:
        return min(map(self._available_at, keys), default=math.inf)

    def _available_at(self, key: Key) -> float:
        breaker, now = self._breakers.get(key), self._clock.now
        if breaker is None:
            return math.inf
        cause = breaker.unavailable(now)
        if cause is None or cause is Unavailable.PROBING:
            return now
        return math.inf if cause is Unavailable.MISCONFIGURED else breaker.until

    def _wake(self, waiter: Waiter, key: Key | None) -> None:
        """Its task goes on, a moment later; once."""
        if not waiter.over:
            waiter.over = True
            self._queue.leave(waiter)
            self._clock.at(self._clock.now, lambda: waiter.resume(key))

    def _stir(self) -> None:
        if not self._stirred:
            self._stirred = True
            self._clock.at(self._clock.now, self._release)

    def _release(self) -> None:
        """Let go on who may, and look again when something falls due."""
        self._stirred = False
        now, queue = self._clock.now, self._queue
        self._gates.forget(queue.wanted)
        while True:
            usable = {
                key for key in queue.wanted if self._gates.open(key) and self._breakers.unavailable(key, now) is None
            }
            found = queue.next(usable)
            if found is None:
                break
            waiter, key = found
            assert isinstance(waiter, Waiter)
            self._gates.passed(key)
            self._wake(waiter, key)
        if self._changed:
            self._changed = False
            for waiting in list(queue):
                assert isinstance(waiting, Waiter)
                if self._soonest(waiting.keys) > waiting.give_up:
                    self._wake(waiting, None)
        breakers = (self._breakers.get(key) for key in queue.wanted)
        due = min((one.until for one in breakers if one is not None and one.until > now), default=math.inf)
        if due < math.inf:
            self._clock.at(due, self._stir)
