"""Where requests wait while every deployment they may go to is unavailable: bounded in number and time.

Who is next, and how many at a time, is `proxy.routing.queue`'s to say. Nobody looks again and again: whoever waits is
woken when its turn has come, when there is no hope left, or when its client leaves.
"""

from collections.abc import Callable

import trio

from proxy.config.structs import Queueing
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key
from proxy.routing.queue import QueueFull, Ticket, Turns


class Waiter(Ticket):
    """A ticket, and the task that holds it."""

    __slots__ = ("error", "key", "why", "woken")

    def __init__(self, client: str, priority: int, keys: tuple[Key, ...], give_up: float) -> None:
        super().__init__(client, priority, keys, give_up)
        self.woken = trio.Event()
        self.key: Key | None = None
        self.error: Exception | None = None
        self.why = "timed_out"

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
        self._turns = Turns(settings, breakers)
        self._count = count
        self._now = now
        self._stirred = trio.Event()
        self.is_wanted = self._turns.is_wanted
        self.reconfigure = self._turns.reconfigure

    def __len__(self) -> int:
        return len(self._turns)

    def waiter(
        self, client: str, priority: int, keys: tuple[Key, ...], until: float, waited: float = 0.0
    ) -> Waiter | None:
        """One for a request that may wait until then, and has waited for so long; None where that would be in vain."""
        give_up = self._turns.give_up(keys, until, waited, self._now())
        if give_up is None:
            return None
        return Waiter(client, priority, keys, give_up)

    async def wait(self, waiter: Waiter) -> Key | None:
        """Wait for a deployment; None if there was none. What it returns is to be followed by `over`.

        Raises what the waiter was failed with.
        """
        try:
            displaced = self._turns.join(waiter)
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
            self._turns.leave(waiter)
            self._count(waiter.why, waiter.priority)
        if waiter.error is not None:
            raise waiter.error
        return waiter.key

    def over(self, key: Key, answered: bool | None) -> None:
        """One that waited has been answered, or not; None: it came to neither."""
        self._turns.over(key, answered)
        self._stirred.set()

    def changed(self) -> None:
        """A breaker has."""
        self._turns.changed()
        self._stirred.set()

    async def run(self) -> None:
        """Let those who wait go on, for ever."""
        while True:
            self._stirred = trio.Event()
            due = self._release()
            with trio.move_on_after(max(0.0, due - self._now())):
                await self._stirred.wait()

    def _release(self) -> float:
        """Wake whose turn has come, and who waits in vain; when to look again, if nothing happens before."""
        released, in_vain, due = self._turns.release(self._now())
        for waiter, key in released:
            assert isinstance(waiter, Waiter)
            waiter.key = key
            waiter.wake("released")
        for waiter in in_vain:
            assert isinstance(waiter, Waiter)
            waiter.wake("in_vain")
        return due
