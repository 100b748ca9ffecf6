"""Keys in the store: two live ones a client, digests only, revocations that stay, and a pepper that must fit."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from proxy.config.structs import SecretRef, State
from proxy.identity.key import KeyedHash, is_whole
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.store.database import StoreError
from proxy.supervisor.store.keys import KeyStore, NoLiveKey, StoredKey, TwoLiveKeys, UnknownKeyId

FORK = multiprocessing.get_context("fork")
DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(path=str(tmp_path / "state" / "s.db"), pepper=SecretRef(file=str(tmp_path / "state" / "pepper")))


@pytest.fixture
def store(state: State, clock: Clock) -> Iterator[KeyStore]:
    opened = KeyStore.open(state, clock)
    yield opened
    opened.close()


def by_id(store: KeyStore) -> dict[str, StoredKey]:
    return {row.id: row for row in store.all()}


def test_an_issued_key_is_whole_and_known_by_its_keyed_digest_alone(store: KeyStore, state: State) -> None:
    issued = store.issue("turbine", lifetime=90 * DAY, note="line 7")
    assert is_whole(issued.key.encode())
    assert issued.row.digest == KeyedHash(store.pepper).digest(issued.key.encode())
    assert issued.row.expires == issued.row.created + 90 * DAY
    assert (issued.row.client, issued.row.note, issued.other) == ("turbine", "line 7", None)
    assert store.all() == [issued.row]
    for file in Path(state.path).parent.iterdir():
        assert issued.key.encode() not in file.read_bytes()
        assert issued.key[9:52].encode() not in file.read_bytes()
    assert issued.key not in repr(issued)
    assert Path(state.pepper.file or "").stat().st_mode & 0o777 == 0o600


def test_two_live_keys_a_client_and_no_third(store: KeyStore, clock: Clock) -> None:
    first = store.issue("turbine", lifetime=DAY)
    second = store.issue("turbine")
    assert second.other == first.row
    assert second.key != first.key
    with pytest.raises(TwoLiveKeys) as caught:
        store.issue("turbine")
    assert caught.value.ids == [first.row.id, second.row.id]
    store.issue("another")
    clock.now += 2 * DAY
    third = store.issue("turbine")
    with pytest.raises(TwoLiveKeys):
        store.rotate("turbine")
    store.revoke(third.row.id)
    assert store.rotate("turbine").other == second.row


def test_rotation_leaves_the_old_key_as_it_is_or_ends_it_later(store: KeyStore) -> None:
    with pytest.raises(NoLiveKey):
        store.rotate("turbine")
    assert store.all() == []
    first = store.issue("turbine").row
    second = store.rotate("turbine")
    assert second.other == first
    store.revoke(first.id)
    third = store.rotate("turbine", old_lives=7 * DAY)
    assert third.other is not None
    assert third.other.id == second.row.id
    assert third.other.expires == third.row.created + 7 * DAY
    store.revoke(second.row.id)
    store.rotate("turbine", lifetime=DAY, old_lives=5 * DAY)


def test_a_rotation_never_makes_the_old_key_live_longer(store: KeyStore) -> None:
    first = store.issue("turbine", lifetime=DAY).row
    assert store.rotate("turbine", old_lives=5 * DAY).other == by_id(store)[first.id]
    assert by_id(store)[first.id].expires == first.expires


def test_a_revocation_stays(store: KeyStore) -> None:
    row = store.issue("turbine").row
    revoked = store.revoke(row.id)
    assert revoked.state(revoked.created) == "revoked"
    assert store.revoke(row.id) == revoked
    assert store.all() == [revoked]
    for key_id in ("", "key-000000000000", "' OR 1=1 --", row.id.upper()):
        with pytest.raises(UnknownKeyId):
            store.revoke(key_id)


def test_what_is_newer_is_told_once(store: KeyStore) -> None:
    first, second = store.issue("a").row, store.issue("b").row
    assert store.newer(0) == [first, second]
    assert store.newer(second.revision) == []
    revoked = store.revoke(first.id)
    assert store.newer(second.revision) == [revoked]
    store.note_uses({second.id: 5.0})
    assert store.newer(revoked.revision) == []


def test_ended_keys_are_kept_but_not_for_ever_and_none_goes_untold(store: KeyStore) -> None:
    other = store.issue("other").row
    first = store.issue("turbine").row
    last = store.revoke(store.issue("turbine").row.id)
    for _ in range(40):
        last = store.revoke(store.issue("turbine").row.id)
        seen = last.revision
        assert [row.id for row in store.newer(seen)] == []
    revoked_last = store.revoke(first.id)
    newest = store.issue("turbine").row
    assert newest.revision > revoked_last.revision
    rows = by_id(store)
    assert len(rows) == 1 + 20 + 1
    assert {other.id, last.id, newest.id} <= rows.keys()
    assert first.id not in rows


def test_the_last_use_never_goes_back(store: KeyStore) -> None:
    row = store.issue("turbine").row
    for moment, kept in ((10.0, 10.0), (20.0, 20.0), (15.0, 20.0)):
        store.note_uses({row.id: moment, "key-gone": moment})
        assert by_id(store)[row.id].last_used == kept


# The pepper.


def test_the_same_pepper_serves_every_start(state: State) -> None:
    first = KeyStore.open(state)
    second = KeyStore.open(state)
    assert first.pepper == second.pepper
    first.close()
    second.close()


def test_a_pepper_that_is_gone_is_not_made_anew(state: State, store: KeyStore) -> None:
    pepper = Path(state.pepper.file or "")
    pepper.rename(pepper.with_name("away"))
    with pytest.raises(SecretUnusable, match="is gone; put it back"):
        KeyStore.open(state)
    assert not pepper.exists()
    pepper.with_name("away").rename(pepper)
    KeyStore.open(state).close()


def test_another_pepper_is_refused(state: State, store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pepper = Path(state.pepper.file or "")
    old = pepper.read_text().strip()
    pepper.write_text("x" * 43 + "\n")
    with pytest.raises(StoreError, match=r"state\.pepper is not the one") as caught:
        KeyStore.open(state)
    assert "xxx" not in str(caught.value)
    monkeypatch.setenv("PEPPER", old)
    KeyStore.open(State(path=state.path, pepper=SecretRef(env="PEPPER"))).close()


@pytest.mark.parametrize(("value", "words"), [("", "PEPPER is not set"), ("short", "at least 32 characters")])
def test_a_pepper_from_the_environment_must_be_one(
    state: State, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("PEPPER", value)
    with pytest.raises(SecretUnusable, match=words):
        KeyStore.open(State(path=state.path, pepper=SecretRef(env="PEPPER")))


def test_a_pepper_that_others_can_read_is_refused(state: State, store: KeyStore) -> None:
    Path(state.pepper.file or "").chmod(0o644)
    with pytest.raises(SecretUnusable, match=r"0644.*chmod 600"):
        KeyStore.open(state)


# Many processes.


def test_of_many_who_issue_at_once_two_succeed(state: State) -> None:
    ours, theirs = FORK.Pipe(duplex=False)

    def issue() -> None:
        store = KeyStore.open(state)
        try:
            theirs.send(store.issue("turbine").row.id)
        except TwoLiveKeys:
            theirs.send(None)

    processes = [FORK.Process(target=issue) for _ in range(8)]
    for process in processes:
        process.start()
    answers = [ours.recv() for _ in processes]
    for process in processes:
        process.join()
    store = KeyStore.open(state)
    assert sorted(filter(None, answers)) == sorted(row.id for row in store.all())
    assert answers.count(None) == 6
    store.close()


def change_for_ever(state: State, told: Connection) -> None:
    store = KeyStore.open(state)
    while True:
        row = store.issue("turbine").row
        told.send((row.id, False))
        store.revoke(store.rotate("turbine", old_lives=DAY).row.id)
        told.send((store.revoke(row.id).id, True))


@pytest.mark.parametrize("acknowledged", [1, 2, 3, 7, 16])
def test_whoever_is_killed_what_it_had_said_is_done_is_done(state: State, acknowledged: int) -> None:
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=change_for_ever, args=(state, theirs))
    process.start()
    said = dict(ours.recv() for _ in range(acknowledged))
    process.kill()
    process.join()
    store = KeyStore.open(state)
    rows = by_id(store)
    for key_id, revoked in said.items():
        assert (rows[key_id].revoked is not None) or not revoked
    live = [row for row in rows.values() if row.state(0) == "live"]
    assert len(live) <= 2
    for row in live:
        store.revoke(row.id)
    store.issue("turbine")
    store.close()
