"""Who waits for a deployment, and who is next. Pure.

Those of a better priority go first; within one, clients take turns, whatever each has waiting; a client's own requests
go in their order. The queue is bounded: who comes when it is full takes the place of somebody of a worse priority, or
of the client that has the most waiting, if that is more than its own; else there is none.

A deployment that comes back is not met by all who wait at once: one is let through, and for each that is answered twice
as many as before may be under way there.

`Turns` is all of it before a worker's breakers. When to look, and how somebody is woken, is its owner's business.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from proxy.config.structs import Queueing
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key

INTERACTIVE, BATCH = 0, 1
_WINDOW_AT_MOST = 64


class Ticket:
    """One who waits: for any of `keys`, the best first, until `give_up`."""

    __slots__ = ("client", "give_up", "keys", "priority", "waits")

    def __init__(self, client: str, priority: int, keys: tuple[Key, ...], give_up: float = math.inf) -> None:
        self.client = client
        self.priority = priority
        self.keys = keys
        self.give_up = give_up
        self.waits = False


class QueueFull(Exception):
    """There is no place, and nobody who has to give way."""


class Queue:
    """`size` may change; those who wait keep their places."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._levels: tuple[dict[str, deque[Ticket]], ...] = ({}, {})  # by client; the next one's turn first
        self._wanted: dict[Key, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Ticket]:
        """All who wait, in no particular order."""
        for level in self._levels:
            for tickets in level.values():
                yield from tickets

    @property
    def wanted(self) -> Collection[Key]:
        """What is waited for."""
        return self._wanted.keys()

    def join(self, ticket: Ticket) -> Ticket | None:
        """Wait; the one that had to give way, if the queue was full. Raises `QueueFull`."""
        displaced = None
        if self._count >= self.size:
            displaced = self._to_give_way(ticket)
            if displaced is None:
                raise QueueFull
            self.leave(displaced)
        self._levels[ticket.priority].setdefault(ticket.client, deque()).append(ticket)
        for key in ticket.keys:
            self._wanted[key] = self._wanted.get(key, 0) + 1
        self._count += 1
        ticket.waits = True
        return displaced

    def leave(self, ticket: Ticket) -> None:
        """Wait no more; nothing, if it does not."""
        if not ticket.waits:
            return
        ticket.waits = False
        self._count -= 1
        level = self._levels[ticket.priority]
        tickets = level[ticket.client]
        tickets.remove(ticket)
        if not tickets:
            del level[ticket.client]
        for key in ticket.keys:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key]

    def next(self, usable: Collection[Key]) -> tuple[Ticket, Key] | None:
        """Take out whose turn it is, of those who wait for something usable; and what that is."""
        if not usable:
            return None
        for level in self._levels:
            for client, tickets in level.items():
                for ticket in tickets:
                    key = next((key for key in ticket.keys if key in usable), None)
                    if key is None:
                        continue
                    level[client] = level.pop(client)  # to the end of the round
                    self.leave(ticket)
                    return ticket, key
        return None

    def _to_give_way(self, newcomer: Ticket) -> Ticket | None:
        """The newest of the client with the most waiting, at the worst priority there is."""
        level = self._levels[BATCH] or self._levels[INTERACTIVE]
        if not level:
            return None
        most = max(level.values(), key=len)
        worse = most[-1].priority > newcomer.priority
        own = len(self._levels[newcomer.priority].get(newcomer.client, ()))
        if worse or (most[-1].priority == newcomer.priority and len(most) > own + 1):
            return most[-1]
        return None


class Gates:
    """How many of those who waited may be under way at each deployment before they are answered."""

    def __init__(self) -> None:
        self._windows: dict[Key, int] = {}
        self._under_way: dict[Key, int] = {}

    def open(self, key: Key) -> bool:
        return self._under_way.get(key, 0) < self._windows.get(key, 1)

    def passed(self, key: Key) -> None:
        """One is let through; `over` follows."""
        self._under_way[key] = self._under_way.get(key, 0) + 1

    def over(self, key: Key, answered: bool | None) -> None:
        """It was answered, or turned away; None: neither, nobody knows."""
        left = self._under_way.get(key, 1) - 1
        if left:
            self._under_way[key] = left
        else:
            self._under_way.pop(key, None)
        if answered:
            self._windows[key] = min(self._windows.get(key, 1) * 2, _WINDOW_AT_MOST)
        elif answered is False:
            self._windows.pop(key, None)

    def forget(self, wanted: Collection[Key]) -> None:
        """What nobody waits for begins anew."""
        if self._windows:
            self._windows = {key: window for key, window in self._windows.items() if key in wanted}


class Release(NamedTuple):
    """Who goes on, and where to; whose wait is in vain; and when to look again, if nothing happens before."""

    released: list[tuple[Ticket, Key]]
    in_vain: list[Ticket]
    due: float


class Turns:
    """Those who wait at one worker, and what lets them go on. Times are monotonic seconds."""

    def __init__(self, settings: Queueing, breakers: Breakers) -> None:
        self.settings = settings
        self._breakers = breakers
        self._queue = Queue(settings.size)
        self._gates = Gates()
        self._changed = False
        self.join = self._queue.join
        self.leave = self._queue.leave

    def __len__(self) -> int:
        return len(self._queue)

    def is_wanted(self, key: Key) -> bool:
        """Whether somebody waits for a deployment, so that who comes now has to."""
        return key in self._queue.wanted

    def reconfigure(self, settings: Queueing) -> None:
        self.settings = settings
        self._queue.size = settings.size

    def give_up(self, keys: tuple[Key, ...], until: float, waited: float, now: float) -> float | None:
        """When a request gives up that may wait until then, and has waited for so long; None: waiting is in vain."""
        at = min(now + self.settings.wait - waited, until)
        return None if at <= now or self.soonest(keys, now) > at else at

    def soonest(self, keys: Iterable[Key], now: float) -> float:
        """When one of these may be asked, as far as is known; infinity if waiting does not help."""
        return min((self._available_at(key, now) for key in keys), default=math.inf)

    def over(self, key: Key, answered: bool | None) -> None:
        """One that waited has been answered, or not; None: it came to neither."""
        self._gates.over(key, answered)

    def changed(self) -> None:
        """A breaker has."""
        self._changed = True

    def release(self, now: float) -> Release:
        """Let go on who may; `over` follows for each. Nobody that is named here waits any more."""
        queue = self._queue
        released: list[tuple[Ticket, Key]] = []
        self._gates.forget(queue.wanted)
        while (found := queue.next(self._usable(now))) is not None:
            self._gates.passed(found[1])
            released.append(found)
        in_vain: list[Ticket] = []
        if self._changed:
            self._changed = False
            in_vain = self._turned_away(now)
        breakers = (self._breakers.get(key) for key in queue.wanted)
        due = min((one.until for one in breakers if one is not None and one.until > now), default=math.inf)
        return Release(released, in_vain, due)

    def _usable(self, now: float) -> set[Key]:
        gates, breakers = self._gates, self._breakers
        return {key for key in self._queue.wanted if gates.open(key) and breakers.unavailable(key, now) is None}

    def _turned_away(self, now: float) -> list[Ticket]:
        """Those for whom nothing comes back in time need not wait to be told."""
        soonest: dict[tuple[Key, ...], float] = {}
        in_vain = []
        for ticket in list(self._queue):
            if ticket.keys not in soonest:
                soonest[ticket.keys] = self.soonest(ticket.keys, now)
            if soonest[ticket.keys] > ticket.give_up:
                self._queue.leave(ticket)
                in_vain.append(ticket)
        return in_vain

    def _available_at(self, key: Key, now: float) -> float:
        breaker = self._breakers.get(key)
        if breaker is None:
            return math.inf
        cause = breaker.unavailable(now)
        if cause is None or cause is Unavailable.PROBING:
            return now  # how long a probe takes, nobody knows
        return math.inf if cause is Unavailable.MISCONFIGURED else breaker.until
