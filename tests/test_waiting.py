"""Waiting for a deployment, on a clock that jumps: nobody looks again and again, and nobody is forgotten."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from proxy.config.structs import Breaker, Queueing, Seconds
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome
from proxy.routing.queue import BATCH, INTERACTIVE
from proxy.waiting import WaitingRoom

A, B = ("swc", "gpt-4o"), ("frc", "gpt-4o")


class Place:
    """A room before two deployments, and who has come out of it, when, and where to."""

    def __init__(self, nursery: trio.Nursery, settings: Queueing) -> None:
        self.began = trio.current_time()
        self.breakers = Breakers([A, B], Breaker(), lambda: 0.0)
        self.ends: list[tuple[str, int]] = []
        self.room = WaitingRoom(settings, self.breakers, lambda *end: self.ends.append(end), trio.current_time)
        self.out: list[tuple[str, float, Key | None]] = []
        self._nursery = nursery
        nursery.start_soon(self.room.run)

    @property
    def now(self) -> float:
        return round(trio.current_time() - self.began, 3)

    def throttle(self, key: Key, seconds: float) -> None:
        self.breakers.judge(key, Outcome.THROTTLED, trio.current_time(), seconds, probe=False)
        self.room.changed()

    def come(
        self,
        name: str,
        *,
        priority: int = INTERACTIVE,
        keys: tuple[Key, ...] = (A, B),
        within: float = 60.0,
        then: Callable[[Key], None] | None = None,
    ) -> bool:
        waiter = self.room.waiter(name, priority, keys, trio.current_time() + within)
        if waiter is None:
            return False

        async def wait() -> None:
            key = await self.room.wait(waiter)
            self.out.append((name, self.now, key))
            if key is not None:
                (then or self._answered)(key)

        self._nursery.start_soon(wait)
        return True

    def _answered(self, key: Key) -> None:
        self._nursery.start_soon(self._answer, key)

    async def _answer(self, key: Key) -> None:
        await trio.sleep(0.01)
        self.room.over(key, True)


@pytest.fixture
def settings() -> Queueing:
    return Queueing(wait=Seconds(2), size=100)


async def test_everything_throttled_for_a_moment_is_waited_for(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 0.5)
    place.throttle(B, 1.5)
    for number in range(7):
        assert place.come(f"c{number}")
    await trio.sleep(0.499)
    assert place.out == []
    await trio.sleep(0.5)
    assert [at for _, at, _ in place.out] == [0.5, 0.51, 0.51, 0.52, 0.52, 0.52, 0.52]
    assert {key for *_, key in place.out} == {A}
    assert place.ends == [("released", INTERACTIVE)] * 7


async def test_what_is_too_far_away_is_not_waited_for(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 3.0)
    place.throttle(B, 2.5)
    assert not place.come("late")
    place.throttle(A, 1.0)
    assert not place.come("still", keys=(A,))
    assert not place.come("hurried", keys=(B,), within=0.4)
    assert not Place(nursery, Queueing(wait=Seconds(0), size=10)).come("never")


async def test_who_waits_in_vain_is_told_at_once_and_who_waited_too_long_in_time(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 1.0)
    place.come("vain", keys=(A,))
    await trio.sleep(0.25)
    place.throttle(A, 30.0)
    await trio.sleep(0.25)
    assert place.out == [("vain", 0.25, None)]
    place.throttle(B, 1.0)
    place.come("prober", keys=(B,), then=lambda _: None)  # and never comes back
    await trio.testing.wait_all_tasks_blocked()
    place.come("late", keys=(B,))
    await trio.sleep(5)
    assert place.out[1:] == [("prober", 1.5, B), ("late", 2.5, None)]
    assert [how for how, _ in place.ends] == ["in_vain", "released", "timed_out"]


async def test_a_breaker_that_somebody_closes_wakes_at_once(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    now = trio.current_time()
    for key in (A, B):
        place.breakers.told(key, "open", "backend_error", now + 0.9, now)
    place.come("one")
    await trio.sleep(0.3)
    place.breakers.told(B, "closed", "recovered", trio.current_time(), trio.current_time())
    place.room.changed()
    await trio.sleep(0.1)
    assert place.out == [("one", 0.3, B)]


async def test_a_deployment_that_throttles_again_is_asked_one_at_a_time(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)

    def throttled(key: Key) -> None:
        place.throttle(key, 0.2)
        place.room.over(key, False)

    place.throttle(A, 0.2)
    for number in range(10):
        place.come(f"c{number}", keys=(A,), then=throttled)
    await trio.sleep(1.1)
    assert [at for _, at, _ in place.out] == [0.2, 0.4, 0.6, 0.8, 1.0]


async def test_batch_yields_to_interactive(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 0.5)
    for number in range(5):
        place.come(f"b{number}", priority=BATCH, keys=(A,))
    await trio.sleep(0.1)
    for number in range(5):
        place.come(f"i{number}", keys=(A,))
    await trio.sleep(1)
    times = {kind: [at for name, at, _ in place.out if name[0] == kind] for kind in "ib"}
    assert len(times["i"]) == len(times["b"]) == 5
    assert max(times["i"]) <= min(times["b"])


async def test_a_client_that_leaves_is_out_at_once_and_nobody_waits_for_it(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 0.5)
    waiter = place.room.waiter("gone", INTERACTIVE, (A,), trio.current_time() + 9)
    assert waiter is not None

    class Left(Exception):
        pass

    async def leave() -> None:
        await trio.sleep(0.2)
        waiter.fail(Left())

    nursery.start_soon(leave)
    with pytest.raises(Left):
        await place.room.wait(waiter)
    assert (place.now, len(place.room)) == (0.2, 0)
    place.come("next", keys=(A,))
    await trio.sleep(1)
    assert place.out == [("next", 0.5, A)]


async def test_one_that_is_cancelled_when_it_may_go_gives_its_turn_to_the_next(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 0.5)
    waiter = place.room.waiter("cancelled", INTERACTIVE, (A,), trio.current_time() + 9)
    assert waiter is not None
    async with trio.open_nursery() as inner:
        inner.start_soon(place.room.wait, waiter)
        await trio.testing.wait_all_tasks_blocked()
        place.come("next", keys=(A,))
        await trio.sleep(0.2)
        inner.cancel_scope.cancel()
        now = trio.current_time()
        place.breakers.told(A, "closed", "recovered", now, now)
        place.breakers.reconfigure([B], Breaker())
        place.breakers.reconfigure([A, B], Breaker())  # as good as new
        place.room.changed()
    await trio.sleep(1)
    assert [name for name, *_ in place.out] == ["next"]


async def test_what_a_request_may_wait_it_may_wait_in_all(
    nursery: trio.Nursery, settings: Queueing, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, settings)
    place.throttle(A, 0.5)
    until = trio.current_time() + 60
    assert place.room.waiter("again", INTERACTIVE, (A,), until, settings.wait - 0.4) is None, "it is back too late"
    waiter = place.room.waiter("again", INTERACTIVE, (A,), until, settings.wait - 0.6)
    assert waiter is not None
    assert waiter.give_up == pytest.approx(trio.current_time() + 0.6)


async def test_when_it_is_full_the_worst_placed_gives_way(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    place = Place(nursery, Queueing(wait=Seconds(2), size=2))
    place.throttle(A, 0.5)
    place.throttle(B, 0.5)
    place.come("batch", priority=BATCH)
    await trio.sleep(0.1)
    place.come("greedy")
    await trio.sleep(0.1)
    place.come("modest")
    await trio.sleep(0.1)
    place.come("one too many")
    await trio.sleep(1)
    assert sorted(place.out[:2]) == [("batch", 0.2, None), ("one too many", 0.3, None)]
    assert sorted(place.out[2:]) == [("greedy", 0.5, A), ("modest", 0.5, B)]
