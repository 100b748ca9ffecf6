"""Credentials kept fresh: under a clock that jumps, with a source that answers, fails, hangs or repeats itself."""

import itertools
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.config.structs import Credential, SecretRef
from proxy.messages import UpstreamCredential
from proxy.supervisor.backends.credential_sources import CredentialFailed, build
from proxy.supervisor.backends.credentials import Obtain, Refresher

HOUR = 3600.0
MANAGED = Credential(kind="managed_identity")


class Identity:
    """A source of tokens that live for `life` seconds. `fault` is what it fails with, `asked` when it was asked."""

    def __init__(self, life: float = HOUR) -> None:
        self.life = life
        self.fault: str | None = None
        self.hangs = False
        self.asked: list[float] = []
        self.clients: list[str | None] = []

    def obtainer(self, name: str, definition: Credential) -> Obtain:
        async def obtain() -> UpstreamCredential:
            self.asked.append(trio.current_time())
            self.clients.append(definition.client_id)
            if self.hangs:
                await trio.sleep_forever()
            if self.fault is not None:
                raise CredentialFailed(name, self.fault)
            return UpstreamCredential("authorization", f"Bearer {len(self.asked)}", trio.current_time() + self.life)

        return obtain


class Kept:
    """A refresher at work, and what it told."""

    def __init__(self, identity: Identity, *names: str) -> None:
        self.identity = identity
        self.published: list[dict[str, UpstreamCredential]] = []
        self.announced: list[str] = []
        self.refresher = Refresher(
            dict.fromkeys(names or ("gateway",), MANAGED),
            self.published.append,
            self.announced.append,
            obtainer=identity.obtainer,
            wall=trio.current_time,
            uniform=lambda: 0.0,
        )

    def serves(self) -> bool:
        held = self.refresher.current.get("gateway")
        return held is not None and held.expires > trio.current_time()


def pauses(identity: Identity) -> list[float]:
    """Seconds between one asking and the next."""
    return [round(late - early, 3) for early, late in itertools.pairwise(identity.asked)]


@pytest.fixture
def identity() -> Identity:
    return Identity()


@pytest.fixture
async def kept(identity: Identity) -> AsyncIterator[Kept]:
    made = Kept(identity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.refresher.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_token_is_renewed_in_the_middle_of_its_life(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    await trio.sleep(1.75 * HOUR)
    assert kept.identity.asked == [0, HOUR / 2, HOUR, 1.5 * HOUR]
    assert [one["gateway"].value for one in kept.published] == ["Bearer 1", "Bearer 2", "Bearer 3", "Bearer 4"]
    assert kept.announced == []


async def test_all_workers_are_told_of_each_change_and_of_all_credentials(autojump_clock: MockClock) -> None:
    kept = Kept(Identity(), "one", "two")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.refresher.run)
        await kept.refresher.first.wait()
        assert set(kept.published[-1]) == {"one", "two"}
        nursery.cancel_scope.cancel()


async def test_a_source_that_gives_the_same_token_again_is_not_asked_without_pause(autojump_clock: MockClock) -> None:
    identity = Identity()
    same = UpstreamCredential("authorization", "Bearer same", 600.0)

    def obtainer(name: str, definition: Credential) -> Obtain:
        async def obtain() -> UpstreamCredential:
            identity.asked.append(trio.current_time())
            return same

        return obtain

    published: list[dict[str, UpstreamCredential]] = []
    refresher = Refresher(
        {"gateway": MANAGED}, published.append, lambda _: None,
        obtainer=obtainer, wall=trio.current_time, uniform=lambda: 0.0,
    )  # fmt: skip
    with trio.move_on_after(590):
        await refresher.run()
    assert len(published) == 1
    assert min(pauses(identity)) >= 1.0
    assert len(identity.asked) < 15


async def test_while_its_source_is_out_a_token_serves_for_as_long_as_it_is_valid(
    kept: Kept, autojump_clock: MockClock
) -> None:
    await kept.refresher.first.wait()
    kept.identity.fault = "the endpoint does not answer"
    await trio.sleep(HOUR / 2 + 10)
    assert kept.serves()
    assert kept.refresher.failing == {"gateway": "the endpoint does not answer"}
    assert len(kept.announced) == 1
    assert "the endpoint does not answer; the old one serves for 30 min more" in kept.announced[0]
    await trio.sleep(HOUR / 2 - 20)
    assert kept.serves()
    assert len(kept.announced) == 1  # once, however often it was asked in vain
    await trio.sleep(60)
    assert not kept.serves()
    assert len(kept.announced) == 2
    assert "its backends cannot be used" in kept.announced[1]
    kept.identity.fault = None
    await trio.sleep(60)
    assert kept.serves()
    assert kept.refresher.failing == {}
    assert kept.announced[2:] == ["credential 'gateway' is obtained again"]
    assert len(kept.published) == 2


async def test_a_source_that_is_out_is_asked_every_1_to_30_seconds(kept: Kept, autojump_clock: MockClock) -> None:
    kept.identity.fault = "out"
    await kept.refresher.first.wait()
    assert kept.refresher.current == {}
    await trio.sleep(300)
    between = pauses(kept.identity)
    assert between[0] == pytest.approx(1.0)
    assert between == sorted(between)
    assert 15.0 <= between[-1] <= 30.0
    assert len(kept.announced) == 1


async def test_a_source_that_hangs_is_given_up(kept: Kept, autojump_clock: MockClock) -> None:
    kept.identity.hangs = True
    await kept.refresher.first.wait()
    assert trio.current_time() == 10.0
    assert kept.refresher.failing == {"gateway": "no answer within 10 s"}


async def test_a_token_that_has_expired_already_is_none(autojump_clock: MockClock) -> None:
    kept = Kept(Identity(life=0.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.refresher.run)
        await kept.refresher.first.wait()
        assert kept.refresher.current == {}
        assert "expired" in kept.refresher.failing["gateway"]
        nursery.cancel_scope.cancel()


# What a backend does not take.


def held(kept: Kept) -> bytes:
    return kept.refresher.current["gateway"].fingerprint


async def test_what_a_backend_does_not_take_is_renewed_once_for_all_who_say_so(
    kept: Kept, autojump_clock: MockClock
) -> None:
    await kept.refresher.first.wait()
    await trio.sleep(10)
    rejected = held(kept)
    for _ in range(100):
        kept.refresher.rejected("gateway", rejected, "swc")
    await trio.sleep(1)
    assert kept.identity.asked == [0, 10]
    kept.refresher.rejected("gateway", rejected, "swc")  # by one who has not heard of the new one yet
    await trio.sleep(1)
    assert kept.identity.asked == [0, 10]
    assert kept.announced == ["backend 'swc' does not take credential 'gateway' (401); it is obtained anew"]
    assert [one["gateway"].value for one in kept.published] == ["Bearer 1", "Bearer 2"]
    await trio.sleep(HOUR / 2)
    assert len(kept.identity.asked) == 3  # at its usual time


async def test_where_renewing_does_not_help_it_is_done_ever_more_rarely(kept: Kept, autojump_clock: MockClock) -> None:
    kept.identity.life = 100 * HOUR
    await kept.refresher.first.wait()
    with trio.move_on_after(HOUR):
        while True:
            kept.refresher.rejected("gateway", held(kept), "swc")
            await trio.sleep(1)
    waits = pauses(kept.identity)[1:]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(60, abs=2)
    assert waits[-1] == pytest.approx(600, abs=2)
    await trio.sleep(3 * HOUR)
    for _ in range(2):  # long ago: it is as before
        kept.refresher.rejected("gateway", held(kept), "swc")
        await trio.sleep(61)
    assert pauses(kept.identity)[-1] == pytest.approx(61, abs=2)


async def test_a_source_that_is_out_is_not_hurried(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    kept.identity.fault = "out"
    kept.refresher.rejected("gateway", held(kept), "swc")
    await trio.sleep(0.5)
    asked = len(kept.identity.asked)
    assert kept.refresher.failing == {"gateway": "out"}
    for _ in range(100):
        kept.refresher.rejected("gateway", held(kept), "swc")
    await trio.sleep(0.4)
    assert len(kept.identity.asked) == asked
    kept.identity.fault = None
    await trio.sleep(2)
    assert kept.refresher.current["gateway"].value != "Bearer 1"


async def test_a_credential_that_nobody_knows_is_not_renewed(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    kept.refresher.rejected("another", held(kept), "swc")
    kept.refresher.rejected("gateway", b"", "swc")
    await trio.sleep(1)
    assert kept.identity.asked == [0]


# New definitions.


async def test_what_is_unchanged_is_not_asked_for_again(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    kept.refresher.reconfigure({"gateway": Credential(kind="managed_identity")})
    await trio.sleep(10)
    assert kept.identity.asked == [0]


async def test_what_changed_is_asked_for_at_once_and_serves_until_then(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    kept.identity.fault = "not yet"
    kept.refresher.reconfigure({"gateway": Credential(kind="managed_identity", client_id="other")})
    await trio.sleep(0.5)
    assert kept.identity.clients == [None, "other"]
    assert kept.serves()
    kept.identity.fault = None
    await trio.sleep(10)
    assert kept.refresher.current["gateway"].value != "Bearer 1"


async def test_what_is_gone_is_forgotten_and_what_is_new_is_obtained(kept: Kept, autojump_clock: MockClock) -> None:
    await kept.refresher.first.wait()
    kept.refresher.reconfigure({"other": MANAGED})
    await trio.sleep(1)
    assert set(kept.published[-1]) == {"other"}
    asked = len(kept.identity.asked)
    await trio.sleep(HOUR / 4)
    assert len(kept.identity.asked) == asked


async def test_a_source_that_failed_is_asked_again_at_once(kept: Kept, autojump_clock: MockClock) -> None:
    kept.identity.fault = "out"
    await trio.sleep(100)
    before = len(kept.identity.asked)
    kept.refresher.reconfigure({"gateway": MANAGED})
    await trio.sleep(0.1)
    assert len(kept.identity.asked) == before + 1


async def test_an_answer_that_a_new_definition_overtook_is_not_used(autojump_clock: MockClock) -> None:
    kept = Kept(Identity())
    kept.identity.hangs = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.refresher.run)
        await trio.sleep(1)
        kept.identity.hangs = False
        kept.refresher.reconfigure({"gateway": Credential(kind="managed_identity", client_id="other")})
        await trio.sleep(1)
        assert kept.identity.clients == [None, "other"]
        assert len(kept.published) == 1
        assert kept.announced == []
        nursery.cancel_scope.cancel()


# Keys.


def test_a_key_is_read_from_where_it_is_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("the-secret-key\n")
    source = build("gateway", Credential(kind="api_key", key=SecretRef(file=str(path))))
    assert source() == UpstreamCredential("api-key", "the-secret-key", math.inf)
    assert "the-secret-key" not in repr(source())
    path.write_text("another-key")
    assert source().value == "another-key"


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    source = build("gateway", Credential(kind="api_key", key=SecretRef(file=str(tmp_path / "none"))))
    with pytest.raises(CredentialFailed, match="credential 'gateway': ") as failed:
        source()
    assert "\n" not in failed.value.fact
