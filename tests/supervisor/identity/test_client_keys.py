"""The running gateway's keys: whoever changes the store, it is noticed, announced once and told to the workers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from proxy.admin.body import Cannot
from proxy.admin.keys import IssueKey, RotateKey
from proxy.config.structs import Client, SecretRef, State
from proxy.identity.key import KeyedHash
from proxy.identity.known import ClientKey
from proxy.messages import ClientKeys, ClientKeysChanged, KeysUsed, decode_downward, encode
from proxy.supervisor.events.events import Event
from proxy.supervisor.identity.client_keys import ClientKeyring
from proxy.supervisor.store.keys import KeyStore

DAY = 86_400.0


class World:
    """A keyring, what it published and announced, and another process's way to the store."""

    def __init__(self, folder: Path) -> None:
        self.state = State(path=str(folder / "s.db"), pepper=SecretRef(file=str(folder / "pepper")))
        self.clients = [Client(name="a", keys=True), Client(name="b", keys=True), Client(name="off")]
        self.published: list[ClientKeys | ClientKeysChanged] = []
        self.events: list[Event] = []
        self.other = KeyStore.open(self.state)
        self.ring = self.start()

    def start(self) -> ClientKeyring:
        return ClientKeyring(
            self.state, clients=lambda: self.clients, publish=self.published.append, announce=self.events.append
        )

    def told(self) -> list[str]:
        """What was announced since the last time."""
        kinds, self.events[:] = [f"{event.kind} {event.facts.get('client', '')}".strip() for event in self.events], []
        return kinds

    def workers_know(self) -> dict[str, ClientKey]:
        """What a worker has that heard everything, by id."""
        known: dict[bytes, ClientKey] = {}
        for message in self.published:
            heard = decode_downward(encode(message))
            assert isinstance(heard, ClientKeys | ClientKeysChanged)
            known = known | heard.by_digest if isinstance(heard, ClientKeysChanged) else heard.by_digest
        return {key.id: key for key in known.values()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.other.close()
    made.ring._store.close()


async def test_what_another_process_does_is_noticed_announced_and_told(world: World) -> None:
    issued = world.other.issue("a", lifetime=DAY)
    await world.ring.look()
    assert world.told() == ["key_issued a"]
    (message,) = world.published
    digest = KeyedHash(world.ring.known().pepper).digest(issued.key.encode())
    assert message.by_digest == {digest: ClientKey(issued.row.id, "a", issued.row.expires or 0)}
    second = world.other.rotate("a", old_lives=60).row
    world.other.revoke(second.id)
    await world.ring.look()
    assert world.told() == ["key_ends a", "key_issued a", "key_revoked a"]
    known = world.workers_know()
    assert known[second.id].revoked
    assert known[issued.row.id].expires < (issued.row.expires or 0)
    await world.ring.look()
    assert world.told() == []
    assert len(world.published) == 2


async def test_what_is_there_at_the_start_is_known_and_no_news(world: World) -> None:
    row = world.other.issue("a").row
    again = world.start()
    await again.look()
    assert world.told() == []
    assert [key.id for key in again.known().by_digest.values()] == [row.id]
    again._store.close()


async def test_it_is_noticed_within_a_quarter_of_a_second(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inline(work: Callable[..., object], *arguments: object) -> object:
        return work(*arguments)  # the clock of the test knows nothing of threads

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.ring.run)
        await trio.sleep(1)
        began = trio.current_time()
        row = world.other.issue("a").row
        while row.id not in world.workers_know():
            await trio.sleep(0.01)
            assert trio.current_time() - began < 0.25
        nursery.cancel_scope.cancel()


async def test_over_the_admin_address_it_is_told_at_once_and_once(world: World) -> None:
    made = await world.ring.issue(IssueKey(client="a", expires="90d", note="n"))
    assert made.issued.id in world.workers_know()
    rotated = await world.ring.rotate(RotateKey(client="a", old_expires="1h"))
    assert rotated.other is not None
    assert (rotated.other.id, rotated.other.state) == (made.issued.id, "live")
    assert (await world.ring.revoke(made.issued.id)).state == "revoked"
    assert world.workers_know()[made.issued.id].revoked
    await world.ring.look()
    assert world.told() == ["key_issued a", "key_issued a", "key_ends a", "key_revoked a"]
    assert not any(key in f"{world.events}{world.published}" for key in (made.key, rotated.key))
    assert [(key.id, key.state) for key in world.ring.listing()] == [
        (made.issued.id, "revoked"),
        (rotated.issued.id, "live"),
    ]


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        (IssueKey(client="nobody"), 422, "UnknownClient"),
        (IssueKey(client="off"), 422, "TakesNoKeys"),
        (IssueKey(client="a", expires="soon"), 400, "BadRequest"),
        (IssueKey(client="a", expires="0s"), 400, "BadRequest"),
        (IssueKey(client="a", expires="99999999d"), 400, "BadRequest"),
        (IssueKey(client="a", note="two\nlines"), 400, "BadRequest"),
        (IssueKey(client="a", note="x" * 201), 400, "BadRequest"),
        (IssueKey(client="a"), 409, "TwoLiveKeys"),
        (RotateKey(client="a"), 409, "TwoLiveKeys"),
        (RotateKey(client="b"), 409, "NoLiveKey"),
        (RotateKey(client="b", old_expires="-1d"), 400, "BadRequest"),
    ],
)
async def test_what_cannot_be_changed(world: World, wanted: IssueKey, status: int, code: str) -> None:
    world.other.issue("a")
    world.other.issue("a")
    with pytest.raises(Cannot) as caught:
        await (world.ring.rotate(wanted) if isinstance(wanted, RotateKey) else world.ring.issue(wanted))
    assert (caught.value.status, caught.value.code) == (status, code)
    with pytest.raises(Cannot) as caught:
        await world.ring.revoke("key-none")
    assert caught.value.status == 404
    assert len(world.other.all()) == 2


async def test_a_client_that_takes_no_keys_any_more_has_its_keys_suspended(world: World) -> None:
    await world.ring.issue(IssueKey(client="a"))
    world.clients[0] = Client(name="a")
    assert [key.state for key in world.ring.listing()] == ["suspended"]


async def test_uses_are_shown_at_once_and_written_later(world: World) -> None:
    row = world.other.issue("a").row
    await world.ring.look()
    for moment in (50.0, 70.0, 60.0):
        world.ring.used(KeysUsed({row.id: moment}))
    assert [key.last_used for key in world.ring.listing()] == [70.0]
    assert world.other.all()[0].last_used is None
    await world.ring.write_uses()
    assert world.other.all()[0].last_used == 70.0
    await world.ring.look()
    assert len(world.published) == 1


async def test_a_store_that_is_gone_leaves_keys_as_they_are_and_says_so_once(world: World) -> None:
    row = world.other.issue("a").row
    await world.ring.look()
    world.told()
    for suffix in ("", "-wal", "-shm"):
        os.rename(world.state.path + suffix, world.state.path + ".away" + suffix)
    for _ in range(3):
        await world.ring.look()
    assert world.told() == ["key_store_failed"]
    with pytest.raises(Cannot) as caught:
        await world.ring.revoke(row.id)
    assert caught.value.status == 503
    assert not Path(world.state.path).exists()
    assert list(world.workers_know()) == [row.id]
    for suffix in ("", "-wal", "-shm"):
        os.rename(world.state.path + ".away" + suffix, world.state.path + suffix)
    world.told()
    await world.ring.look()
    assert world.told() == ["key_store_back"]


async def test_a_store_from_a_backup_takes_its_place_whole(world: World, tmp_path: Path) -> None:
    kept = world.other.issue("a").row
    backup = State(path=str(tmp_path / "backup.db"), pepper=world.state.pepper)
    world.other.close()
    world.ring._store.close()
    (tmp_path / "backup.db").write_bytes(Path(world.state.path).read_bytes())
    world.ring = world.start()
    world.other = KeyStore.open(world.state)
    later = world.other.issue("a").row
    await world.ring.look()
    assert set(world.workers_know()) == {later.id}
    os.replace(backup.path, world.state.path)
    for suffix in ("-wal", "-shm"):
        Path(world.state.path + suffix).unlink()
    await world.ring.look()
    assert "key_store_replaced" in world.told()
    assert set(world.workers_know()) == {kept.id}
