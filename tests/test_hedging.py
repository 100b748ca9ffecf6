"""A race of two attempts, by virtual time: who wins, who is given up, and what the client's leaving does."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from proxy.hedging import Attempt, Race, Side
from proxy.routing.outcome import Outcome

AFTER = 1.0
NEVER = 3600.0


class Connection:
    """As far as a race knows a client's connection."""

    def __init__(self) -> None:
        self.gone = False
        self.awaiting: Any = None

    def await_on(self, waiter: Any) -> None:
        self.awaiting = waiter


class World:
    """`tell` is what happened, in order."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.race = Race(self.connection)  # type: ignore[arg-type]
        self.told: list[str] = []

    def attempt(self, name: str, seconds: float, end: Outcome | Exception) -> Attempt:
        """An answer that begins after `seconds` and takes as long again; or an error, the client's to see or not."""
        side = self.race.enter()

        async def run() -> Outcome:
            self.told.append(f"{name} begins at {trio.current_time() - self.began:g}")
            try:
                await trio.sleep(seconds)
                return await self._answer(name, side, seconds, end)
            except trio.Cancelled:
                self.told.append(f"{name} is given up at {trio.current_time() - self.began:g}, lost: {side.lost}")
                raise

        return run

    async def _answer(self, name: str, side: Side, seconds: float, end: Outcome | Exception) -> Outcome:
        if isinstance(end, Exception):
            raise end
        if end is Outcome.OK:
            if not side.wins():
                return Outcome.HEDGE_LOST
            await trio.sleep(seconds)
        elif end is Outcome.CLIENT_ERROR:
            await side.outlast()
        self.told.append(f"{name} ends at {trio.current_time() - self.began:g}")
        return end

    async def run(self, first: tuple[float, Any], second: tuple[float, Any] | None) -> Outcome:
        self.began = trio.current_time()
        make: Callable[[], Attempt | None] = lambda: self.attempt("B", *second) if second else None  # noqa: E731
        return await self.race.run(self.attempt("A", *first), AFTER, make)


OK, ERROR, FAILED = Outcome.OK, Outcome.CLIENT_ERROR, Outcome.RESET_BEFORE_HEAD


@pytest.mark.parametrize(
    ("first", "second", "outcome", "told"),
    [
        ((0.5, OK), (0.1, OK), OK, ["A ends at 1"]),
        ((0.5, FAILED), (0.1, OK), FAILED, ["A ends at 0.5"]),
        ((0.5, ERROR), (0.1, OK), ERROR, ["A ends at 0.5"]),
        ((2, OK), None, OK, ["A ends at 4"]),
        ((NEVER, OK), (0.5, OK), OK, ["B begins at 1", "A is given up at 1.5, lost: True", "B ends at 2"]),
        ((1.5, OK), (NEVER, OK), OK, ["B begins at 1", "B is given up at 1.5, lost: True", "A ends at 3"]),
        ((1.5, FAILED), (2, OK), OK, ["B begins at 1", "A ends at 1.5", "B ends at 5"]),
        ((2, OK), (0.5, FAILED), OK, ["B begins at 1", "B ends at 1.5", "A ends at 4"]),
        ((2, OK), (0.5, ERROR), OK, ["B begins at 1", "B is given up at 2, lost: True", "A ends at 4"]),
        ((1.5, ERROR), (1, FAILED), ERROR, ["B begins at 1", "B ends at 2", "A ends at 2"]),
        ((1.5, FAILED), (1, FAILED), FAILED, ["B begins at 1", "A ends at 1.5", "B ends at 2"]),
    ],
)
async def test_a_race(autojump_clock: MockClock, first: Any, second: Any, outcome: Outcome, told: list[str]) -> None:
    world = World()
    assert await world.run(first, second) is outcome
    assert world.told == ["A begins at 0", *told]
    assert world.connection.awaiting is None


async def test_two_errors_at_once_are_one_answer(autojump_clock: MockClock) -> None:
    world = World()
    with trio.fail_after(NEVER):
        assert await world.run((1.5, ERROR), (0.5, ERROR)) is ERROR
    assert len([line for line in world.told if "ends" in line]) == 1


async def test_what_a_side_raises_ends_the_race(autojump_clock: MockClock) -> None:
    world = World()
    with pytest.raises(KeyError):
        await world.run((NEVER, OK), (0.5, KeyError()))
    assert world.told == ["A begins at 0", "B begins at 1", "A is given up at 1.5, lost: False"]


async def test_a_caller_that_is_cancelled_gives_up_both(autojump_clock: MockClock) -> None:
    world = World()
    with trio.move_on_after(2):
        await world.run((NEVER, OK), (NEVER, OK))
    assert sorted(world.told[2:]) == ["A is given up at 2, lost: False", "B is given up at 2, lost: False"]


async def test_a_client_that_leaves_fails_both_waits() -> None:
    class Link:
        failed: Exception | None = None

        def fail(self, error: Exception) -> None:
            self.failed = error

    world = World()
    sides = [world.race.enter(), world.race.enter()]
    links = [Link(), Link()]
    for side, link in zip(sides, links, strict=True):
        side.await_on(link)  # type: ignore[arg-type]
    assert world.connection.awaiting is world.race
    world.connection.gone = True
    assert all(side.gone for side in sides)
    error = ConnectionError()
    sides[1].await_on(None)
    world.connection.awaiting.fail(error)
    assert [link.failed for link in links] == [error, None]
