"""`proxy.waiting.WaitingRoom` in virtual time: the same turns, looked at in the same moments."""

import math
from collections.abc import Callable

from bench.simulate.clock import Clock
from proxy.config.structs import Queueing
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key
from proxy.routing.queue import QueueFull, Ticket, Turns


class Waiter(Ticket):
    """`resume` hears, after `arguments`, of the deployment whose turn it is, or None: there was none."""

    __slots__ = ("arguments", "over", "resume")

    def __init__(
        self,
        client: str,
        priority: int,
        keys: tuple[Key, ...],
        give_up: float,
        resume: Callable[..., None],
        arguments: tuple[object, ...],
    ) -> None:
        super().__init__(client, priority, keys, give_up)
        self.resume = resume
        self.arguments = arguments
        self.over = False


class Room:
    """A worker's."""

    def __init__(self, settings: Queueing, breakers: Breakers, clock: Clock) -> None:
        self._clock = clock
        self._turns = Turns(settings, breakers)
        self._stirred = False
        self.is_wanted = self._turns.is_wanted

    def waiter(
        self,
        client: str,
        priority: int,
        keys: tuple[Key, ...],
        until: float,
        waited: float,
        resume: Callable[..., None],
        arguments: tuple[object, ...],
    ) -> Waiter | None:
        """One for a request that may wait until then, and has waited for so long; None where that would be in vain."""
        give_up = self._turns.give_up(keys, until, waited, self._clock.now)
        if give_up is None:
            return None
        return Waiter(client, priority, keys, give_up, resume, arguments)

    def wait(self, waiter: Waiter) -> None:
        try:
            displaced = self._turns.join(waiter)
        except QueueFull:
            self._wake(waiter, None)
            return
        if displaced is not None:
            self._wake(displaced, None)
        self._clock.at(waiter.give_up, self._wake, waiter, None)
        self._stir()

    def over(self, key: Key, answered: bool | None) -> None:
        self._turns.over(key, answered)
        self._stir()

    def changed(self) -> None:
        self._turns.changed()
        self._stir()

    def _wake(self, waiter: Ticket, key: Key | None) -> None:
        """Its task goes on, a moment later; once."""
        assert isinstance(waiter, Waiter)
        if not waiter.over:
            waiter.over = True
            self._turns.leave(waiter)
            self._clock.at(self._clock.now, waiter.resume, *waiter.arguments, key)

    def _stir(self) -> None:
        if not self._stirred:
            self._stirred = True
            self._clock.at(self._clock.now, self._release)

    def _release(self) -> None:
        """Let go on who may, and look again when something falls due."""
        self._stirred = False
        released, in_vain, due = self._turns.release(self._clock.now)
        for waiter, key in released:
            self._wake(waiter, key)
        for waiter in in_vain:
            self._wake(waiter, None)
        if due < math.inf:
            self._clock.at(due, self._stir)
