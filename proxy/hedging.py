"""Two deployments asked for one answer: whose begins first is the client's, and the other is given up at once.

Each side of a race is an attempt like any other, in a task of its own. The second begins when the first has kept the
client waiting for too long. A side that fails leaves the race to the other; one whose backend's error is the client's
to see says nothing while the other may still answer.
"""

from collections.abc import Awaitable, Callable

import trio

from proxy.routing.outcome import Outcome
from proxy.wire.link import Link
from proxy.wire.server import ClientConnection

Attempt = Callable[[], Awaitable[Outcome]]


class Side:
    """One of the two. It stands in for the client's connection while its backend is waited for."""

    __slots__ = ("_race", "ended", "link", "scope", "spent")

    def __init__(self, race: "Race") -> None:
        self._race = race
        self.scope = trio.CancelScope()
        self.spent = trio.Event()  # no answer will begin here: there is an error at best
        self.ended = trio.Event()
        self.link: Link | None = None

    @property
    def gone(self) -> bool:
        return self._race.connection.gone

    def await_on(self, link: Link | None) -> None:
        self.link = link
        if link is not None:
            self._race.connection.await_on(self._race)

    @property
    def first(self) -> bool:
        return self._race.sides[0] is self

    @property
    def lost(self) -> bool:
        """The other one has won."""
        return self._race.winner not in (None, self)

    @property
    def contested(self) -> bool:
        """There is another one, and it goes on."""
        return any(not other.ended.is_set() for other in self._race.sides if other is not self)

    def wins(self) -> bool:
        """An answer has begun here; false if the other was faster, which is given up if it was not."""
        return self._race.won_by(self)

    async def outlast(self) -> None:
        """Wait until the other has come to nothing; then this one wins, such as it is. Cancelled, if the other wins."""
        self.spent.set()
        for other in self._race.sides:
            if other is not self:
                await other.spent.wait()
        if not self.wins():
            await trio.sleep_forever()


class Race:
    """Up to two sides; the connection of the client they run for hears of both."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.sides: list[Side] = []
        self.winner: Side | None = None
        self._decided = trio.Event()  # there is a winner, or nobody is left
        self._outcome = Outcome.CANCELLED
        self._raised: Exception | None = None

    def enter(self) -> Side:
        side = Side(self)
        self.sides.append(side)
        return side

    def won_by(self, side: Side) -> bool:
        if self.winner is None:
            self.winner = side
            self._decided.set()
            self.connection.await_on(None)
            for other in self.sides:
                if other is not side:
                    other.scope.cancel()
        return self.winner is side

    def fail(self, error: Exception) -> None:
        """The client has left: nobody needs to wait any more."""
        for side in self.sides:
            if side.link is not None:
                side.link.fail(error)

    async def run(self, first: Attempt, after: float, second: Callable[[], Attempt | None]) -> Outcome:
        """Run `first`, and what `second` gives if it is not decided `after` so many seconds; the winner's outcome.

        Where nobody wins, that of the side that ended last. Raises what a side raises.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, self.sides[0], first, nursery.cancel_scope)
            with trio.move_on_after(after):
                await self._decided.wait()
            attempt = None if self._decided.is_set() else second()
            if attempt is not None:
                nursery.start_soon(self._run, self.sides[1], attempt, nursery.cancel_scope)
        if self._raised is not None:
            raise self._raised
        return self._outcome

    async def _run(self, side: Side, attempt: Attempt, all_of_it: trio.CancelScope) -> None:
        try:
            with side.scope:
                outcome = await attempt()
                if not side.lost:
                    self._outcome = outcome
        except Exception as error:
            self._raised = error
            all_of_it.cancel()
        finally:
            side.spent.set()
            side.ended.set()
            if self.winner is None and all(other.ended.is_set() for other in self.sides):
                self._decided.set()
                self.connection.await_on(None)
