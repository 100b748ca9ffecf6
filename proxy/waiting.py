"""Where requests wait while every deployment they may go to is unavailable: bounded in number and time.

Who is next, and how many at a time, is `proxy.routing.queue`'s to say. Nobody looks again and again: whoever waits is
woken when its turn has come, when there is no hope left, or when its client leaves.
"""

import math
from collections.abc import Callable, Iterable

import trio

from proxy.config.structs import Queueing
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key
from proxy.routing.queue import Gates, Queue, QueueFull, Ticket


class Waiter(Ticket, eq=False, weakref=False, kw_only=True):
    """A ticket, and the task that holds it. `give_up` is a time."""

    give_up: float
    woken: trio.Event
    key: Key | None = None
    error: Exception | None = None
    why: str = "timed_out"

    def wake(self, why: str) -> None:
        self.why = why
        self.woken.set()

    def fail(self, error: Exception) -> None:
        """The client has left."""
        if self.waits:
            self.error = error
            self.wake("client_gone")


class WaitingRoom:
    """A worker's. Times are as `now` gives them; `count` hears how each wait ended, with its priority."""

    def __init__(
        self,
        settings: Queueing,
        breakers: Breakers,
        count: Callable[[str, int], None],
        now: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._breakers = breakers
        self._count = count
        self._now = now
        self._queue = Queue(settings.size)
        self._gates = Gates()
        self._stirred = trio.Event()
        self._changed = False

    def __len__(self) -> int:
        return len(self._queue)

    def is_wanted(self, key: Key) -> bool:
        """Whether somebody waits for a deployment, so that who comes now has to."""
        return key in self._queue.wanted

    def reconfigure(self, settings: Queueing) -> None:
        self.settings = settings
        self._queue.size = settings.size

    def soonest(self, keys: Iterable[Key], now: float) -> float:
        """When one of these may be asked, as far as is known; infinity if waiting does not help."""
        return min((self._available_at(key, now) for key in keys), default=math.inf)

    def _available_at(self, key: Key, now: float) -> float:
        breaker = self._breakers.get(key)
        if breaker is None:
            return math.inf
        cause = breaker.unavailable(now)
        if cause is None or cause is Unavailable.PROBING:
            return now  # how long a probe takes, nobody knows
        return math.inf if cause is Unavailable.MISCONFIGURED else breaker.until

    def waiter(
        self, client: str, priority: int, keys: tuple[Key, ...], until: float, waited: float = 0.0
    ) -> Waiter | None:
        """One for a request that may wait until then, and has waited for so long; None where that would be in vain."""
        now = self._now()
        give_up = min(now + self.settings.wait - waited, until)
        if give_up <= now or self.soonest(keys, now) > give_up:
            return None
        return Waiter(client=client, priority=priority, keys=keys, give_up=give_up, woken=trio.Event())

    async def wait(self, waiter: Waiter) -> Key | None:
        """Wait for a deployment; None if there was none. What it returns is to be followed by `over`.

        Raises what the waiter was failed with.
        """
        try:
            displaced = self._queue.join(waiter)
        except QueueFull:
            self._count("full", waiter.priority)
            return None
        if isinstance(displaced, Waiter):
            displaced.wake("full")
        self._stirred.set()
        try:
            with trio.move_on_after(waiter.give_up - self._now()):
                await waiter.woken.wait()
        except trio.Cancelled:
            if waiter.key is not None:
                self.over(waiter.key, None)
            raise
        finally:
            self._queue.leave(waiter)
            self._count(waiter.why, waiter.priority)
        if waiter.error is not None:
            raise waiter.error
        return waiter.key

    def over(self, key: Key, answered: bool | None) -> None:
        """One that waited has been answered, or not; None: it came to neither."""
        self._gates.over(key, answered)
        self._stirred.set()

    def changed(self) -> None:
        """A breaker has."""
        self._changed = True
        self._stirred.set()

    async def run(self) -> None:
        """Let those who wait go on, for ever."""
        while True:
            self._stirred = trio.Event()
            due = self._release()
            with trio.move_on_after(max(0.0, due - self._now())):
                await self._stirred.wait()

    def _release(self) -> float:
        """Let go on who may; when to look again, if nothing happens before."""
        now, queue = self._now(), self._queue
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
            waiter.key = key
            self._gates.passed(key)
            waiter.wake("released")
        if self._changed:
            self._changed = False
            self._turn_away(now)
        breakers = (self._breakers.get(key) for key in queue.wanted)
        return min((b.until for b in breakers if b is not None and b.until > now), default=math.inf)

    def _turn_away(self, now: float) -> None:
        """Those for whom nothing comes back in time need not wait to be told."""
        soonest: dict[tuple[Key, ...], float] = {}
        for waiter in list(self._queue):
            assert isinstance(waiter, Waiter)
            if waiter.keys not in soonest:
                soonest[waiter.keys] = self.soonest(waiter.keys, now)
            if soonest[waiter.keys] > waiter.give_up:
                self._queue.leave(waiter)
                waiter.wake("in_vain")
