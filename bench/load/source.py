"""Where requests come from: a closed loop, in which each client asks again when it has its answer, or an open one, in
which requests fall due whatever has become of the earlier ones.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.load.connection import Connection, Plan, State
from bench.load.identities import Caller

if TYPE_CHECKING:
    from bench.load.engine import Load

BACKLOG = 100_000
"""Requests that may be due and have no connection; what comes on top is an overrun."""
_BREATH = 0.01  # before a client that failed is replaced
_Place = tuple[Caller | None, bool]


class Closed:
    """One client, over one connection at a time."""

    def __init__(self, load: "Load", plans: Iterator[Plan]) -> None:
        self._load = load
        self._plans = plans
        self._connection: Connection | None = None

    def begin(self) -> None:
        if not self._load.ending:
            self._connection = Connection(self._load, self, next(self._plans))

    def over(self, connection: Connection, *, failed: bool) -> None:
        if self._load.ending or (failed and not connection.plan.returns):
            connection.close()
        elif failed:
            self._connection = connection  # the constructor itself may have failed
            self._load.at(time.monotonic() + _BREATH, lambda: self._again(connection))
        else:
            self._again(connection)

    def _again(self, connection: Connection) -> None:
        if connection is not self._connection:
            return  # it was replaced meanwhile
        plan = next(self._plans)
        if connection.state is State.IDLE and not self._load.ending and plan.workload is not None:
            connection.plan = plan
            connection.ask()
        else:
            connection.close()
            self.begin()


class Open:
    """Requests that fall due, over at most so many connections. Who has a connection of its own that is idle uses it;
    where all are in use, a request waits for the next to come free, and its time counts from when it was due.
    """

    def __init__(self, load: "Load", arrivals: Iterator[tuple[float, Plan]], connections: int) -> None:
        self._load = load
        self._arrivals = arrivals
        self._at_most = connections
        self._open = 0
        self._idle: dict[_Place, dict[Connection, None]] = {}
        self._backlog: deque[tuple[float, Plan]] = deque()
        self._next = next(arrivals, None)
        self._wake()

    @property
    def waiting(self) -> int:
        """Requests that are due and not sent."""
        return len(self._backlog)

    def stop(self) -> None:
        """Nothing more falls due."""
        self._next = None

    def drop(self) -> list[tuple[float, Plan]]:
        """Give up on what waits: when it was due, and what it was."""
        dropped = list(self._backlog)
        self._backlog.clear()
        return dropped

    def over(self, connection: Connection, *, failed: bool) -> None:
        if connection.state is State.CLOSED:
            self._open -= 1
            self._forget(connection)
        else:
            self._idle.setdefault(_place(connection.plan), {})[connection] = None
        if not self._backlog:
            if self._load.ending:
                connection.close()
        elif failed:
            self._load.at(time.monotonic(), self._serve)  # later: a connection can fail while it is made
        else:
            self._serve()

    def _wake(self) -> None:
        if self._next is not None:
            self._load.at(self._next[0], self._fall_due)

    def _fall_due(self) -> None:
        """One at a time: what else is to be done at a moment between two of them is done there."""
        if self._next is None:
            return  # it was stopped
        due, plan = self._next
        self._load.came_due(due, plan)
        if not self._placed(due, plan):
            if len(self._backlog) < BACKLOG:
                self._backlog.append((due, plan))
            else:
                self._load.lost(due, plan, "overrun")
        self._next = next(self._arrivals, None)
        self._wake()

    def _serve(self) -> None:
        while self._backlog:
            due, plan = self._backlog[0]
            if not self._placed(due, plan, ahead=True):
                return
            self._backlog.popleft()

    def _placed(self, due: float, plan: Plan, *, ahead: bool = False) -> bool:
        """Give a request a connection, if there is one for it; whether there was. `ahead`: nobody waits before it."""
        if self._backlog and not ahead:
            return False
        mine = self._idle.get(_place(plan))
        if mine and plan.workload is not None:
            connection, _ = mine.popitem()
            if not mine:
                del self._idle[_place(plan)]
            connection.plan = plan
            connection.ask(due)
            return True
        if self._open >= self._at_most and not self._made_room():
            return False
        self._open += 1
        Connection(self._load, self, plan, due)
        return True

    def _made_room(self) -> bool:
        """Close an idle connection of someone else."""
        for there in self._idle.values():
            connection = next(iter(there))
            self._forget(connection)
            connection.close()
            self._open -= 1
            return True
        return False

    def _forget(self, connection: Connection) -> None:
        place = _place(connection.plan)
        there = self._idle.get(place)
        if there is not None and connection in there:
            del there[connection]
            if not there:
                del self._idle[place]


def _place(plan: Plan) -> _Place:
    return plan.caller, plan.narrow
