"""Keeping keys: ahead of need, through outages, and at most one fetch an interval whatever tokens make up."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trio.testing

from proxy.config.structs import Issuer, Seconds
from proxy.identity.jwks import KeySet
from proxy.identity.known import AskKeys, Settled, SigningKey
from proxy.messages import SigningKeys
from proxy.supervisor.events.events import Event
from proxy.supervisor.identity.discovery import KeysUnavailable
from proxy.supervisor.identity.issuers import Issuers

CONTOSO = Issuer(
    name="contoso",
    issuer="https://contoso.example",
    audiences=("a",),
    refresh=Seconds(600),
    refetch_interval=Seconds(30),
)
FABRIKAM = Issuer(name="fabrikam", issuer="https://fabrikam.example", audiences=("a",))


class Endpoint:
    """All issuers' endpoints: what they publish, whether they are out, how slow they are, who asked when."""

    def __init__(self) -> None:
        self.kid = "1"
        self.out = False
        self.takes = 0.0
        self.asked: list[tuple[str, float]] = []

    async def __call__(self, issuer: Issuer) -> KeySet:
        self.asked.append((issuer.name, trio.current_time()))
        await trio.sleep(self.takes)
        if self.out:
            raise KeysUnavailable("cannot be reached")
        return KeySet((SigningKey(self.kid, b"{}"),), ())


class World:
    def __init__(self) -> None:
        self.endpoint = Endpoint()
        self.published: list[SigningKeys] = []
        self.answers: list[tuple[int, Settled]] = []
        self.events: list[Event] = []
        self.issuers: Issuers

    @property
    def kids(self) -> dict[str, str | None]:
        """What workers have been told last."""
        return {name: keys.keys[0].kid for name, keys in self.published[-1].by_issuer.items()}

    def fetches(self, name: str = "contoso") -> int:
        return sum(asked == name for asked, _ in self.endpoint.asked)


@asynccontextmanager
async def running(
    *issuers: Issuer, prepare: Callable[[Endpoint], None] = lambda _: None, uniform: float = 0.0
) -> AsyncIterator[World]:
    world = World()
    prepare(world.endpoint)
    world.issuers = Issuers(
        issuers,
        world.published.append,
        lambda worker, settled: world.answers.append((worker, settled)),
        world.events.append,
        fetch=world.endpoint,
        uniform=lambda: uniform,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.issuers.run)
        await world.issuers.first.wait()
        yield world
        nursery.cancel_scope.cancel()


async def test_keys_are_there_first_and_published_on_change_only(autojump_clock: trio.testing.MockClock) -> None:
    async with running(CONTOSO, FABRIKAM) as world:
        assert world.kids == {"contoso": "1", "fabrikam": "1"}
        told = len(world.published)
        await trio.sleep(2_000)
        assert world.fetches() == 4
        assert len(world.published) == told
        version = world.issuers.current["contoso"].version
        world.endpoint.kid = "2"
        await trio.sleep(600)
        assert world.kids["contoso"] == "2"
        assert world.issuers.current["contoso"].version > version


async def test_no_issuers(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as world:
        await trio.sleep(10)
        assert world.published == []
        world.issuers.reconfigure((CONTOSO,))
        await trio.sleep(1)
        assert world.kids == {"contoso": "1"}


async def test_an_outage_leaves_the_keys_and_is_announced_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(CONTOSO) as world:
        world.endpoint.out = True
        await trio.sleep(1_000)
        assert world.kids == {"contoso": "1"}
        assert world.issuers.failing == {"contoso": "cannot be reached"}
        assert 10 < world.fetches() < 60, "ever more seldom, at least every half minute"
        world.endpoint.out = False
        world.endpoint.kid = "2"
        await trio.sleep(31)
        assert world.kids == {"contoso": "2"}
        kinds = [event.kind for event in world.events]
        assert kinds == [
            "issuer_keys_changed", "issuer_keys_unavailable", "issuer_keys_available", "issuer_keys_changed",
        ]  # fmt: skip


async def test_an_issuer_that_is_out_from_the_start_holds_up_no_other(autojump_clock: trio.testing.MockClock) -> None:
    def out(endpoint: Endpoint) -> None:
        endpoint.out = True

    async with running(CONTOSO, prepare=out) as world:
        world.issuers.ask(0, AskKeys("contoso"))
        assert world.answers == [(0, Settled("keys:contoso", available=False))]
        world.endpoint.out = False
        await trio.sleep(2)
        world.issuers.ask(0, AskKeys("contoso"))
        assert world.answers[1:] == [(0, Settled("keys:contoso", available=True))]
        assert world.kids == {"contoso": "1"}


async def test_an_unknown_key_is_fetched_before_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with running(CONTOSO) as world:
        await trio.sleep(30)
        world.endpoint.kid = "2"
        world.endpoint.takes = 1.0
        world.issuers.ask(0, AskKeys("contoso"))
        await trio.sleep(0.5)
        world.issuers.ask(1, AskKeys("contoso"))
        world.issuers.ask(1, AskKeys("contoso"))
        assert world.answers == []
        await trio.sleep(1)
        assert sorted(worker for worker, _ in world.answers) == [0, 1]
        assert world.kids == {"contoso": "2"}
        assert world.fetches() == 2


@pytest.mark.parametrize("takes", [0.0, 1.0])
async def test_a_storm_of_unknown_keys_is_one_fetch_an_interval(
    autojump_clock: trio.testing.MockClock, takes: float
) -> None:
    async with running(CONTOSO) as world:
        world.endpoint.takes = takes
        for _ in range(5_990):
            world.issuers.ask(0, AskKeys("contoso"))
            await trio.sleep(0.1)
        times = [when for _, when in world.endpoint.asked]
        assert len(times) == 20
        assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(times))
        await trio.sleep(takes + 1)
        assert len(world.answers) + 20 * 12 > 5_990, "all are answered, those in a fetch's time together"


async def test_a_storm_while_the_source_is_out_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def fetches(storm: bool) -> int:
        async with running(CONTOSO) as world:
            world.endpoint.out = True
            await trio.sleep(601)
            for _ in range(1_000):
                if storm:
                    world.issuers.ask(0, AskKeys("contoso"))
                await trio.sleep(0.1)
            assert all(not settled.available for _, settled in world.answers)
            return world.fetches()

    assert await fetches(storm=True) <= await fetches(storm=False) + 4


async def test_an_issuer_that_is_removed_is_forgotten_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(CONTOSO, FABRIKAM) as world:
        world.endpoint.takes = 1.0
        await trio.sleep(30)
        world.issuers.ask(0, AskKeys("contoso"))
        await trio.sleep(0.5)
        world.issuers.reconfigure((FABRIKAM,))
        assert world.kids == {"fabrikam": "1"}
        assert len(world.answers) == 1
        world.issuers.ask(0, AskKeys("contoso"))
        assert len(world.answers) == 2
        await trio.sleep(5_000)
        assert world.kids == {"fabrikam": "1"}
        assert world.fetches() == 2


async def test_keys_stay_where_only_rules_changed(autojump_clock: trio.testing.MockClock) -> None:
    async with running(CONTOSO) as world:
        told = len(world.published)
        world.issuers.reconfigure((msgspec.structs.replace(CONTOSO, audiences=("b",)),))
        await trio.sleep(1)
        assert len(world.published) == told
        assert world.fetches() == 1
        world.endpoint.out = True
        world.issuers.reconfigure((msgspec.structs.replace(CONTOSO, jwks="https://elsewhere.example"),))
        assert world.published[-1].by_issuer == {}
        await trio.sleep(1)
        assert world.issuers.failing.keys() == {"contoso"}
