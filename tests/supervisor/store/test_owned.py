"""What is remembered of stored things: never another's, never more than may be, and not longer than it lives."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from proxy.config.structs import State
from proxy.stored.entry import Count, Drop, Entry, Find, Keep, Owner, Page, Question, Told
from proxy.supervisor.store.owned import OwnedStore

A, B = Owner("t", "a"), Owner(None, "b")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def thing(number: int, owner: Owner = A, **more: object) -> Entry:
    return msgspec.structs.replace(Entry(f"file-{number:03}", "file", owner, "swc", float(number)), **more)


class Asker:
    def __init__(self, path: Path, clock: Clock, at_most: int = 100) -> None:
        self.state = State(path=str(path / "penstock.db"))
        self.store = OwnedStore(self.state, clock, at_most)

    def ask(self, question: Question) -> Told:
        return self.store.answer([question])[0]

    def ids(self, *owners: Owner, **page: object) -> list[str]:
        told = self.ask(msgspec.structs.replace(Page(owners, "file"), **page))
        return [entry.id for entry in told.entries]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asker(tmp_path: Path, clock: Clock) -> Iterator[Asker]:
    made = Asker(tmp_path, clock, at_most=20)
    yield made
    made.store.close()


def test_what_is_kept_is_found_again_after_a_restart(asker: Asker, tmp_path: Path, clock: Clock) -> None:
    entry = thing(1, label="batch", model="m", operation="chat.completions", tokens=7, pending=True, expires=2000.0)
    assert asker.ask(Keep((entry,))).ok
    asker.store.close()
    again = Asker(tmp_path, clock)
    assert again.ask(Find((entry.id, "file-none"))).entries == (entry,)
    again.store.close()


def test_what_is_anothers_is_never_taken_over(asker: Asker) -> None:
    assert asker.ask(Keep((thing(1),))).ok
    for other in (thing(1, B), thing(1, backend="frc"), thing(1, kind="batch"), thing(1, Owner("u", "a"))):
        assert asker.ask(Keep((thing(2), other))).why == "taken"
    assert asker.ask(Find(("file-001", "file-002"))).entries == (thing(1),)


def test_the_owner_may_tell_another_end(asker: Asker, clock: Clock) -> None:
    asker.ask(Keep((thing(1, expires=1500.0, label="x"),)))
    asker.ask(Keep((thing(1, expires=3000.0),)))
    clock.now = 2000.0
    assert asker.ask(Find(("file-001",))).entries == (thing(1, expires=3000.0, label="x"),)
    clock.now = 3000.0
    assert asker.ask(Find(("file-001",))).entries == ()
    assert asker.ids(A) == []
    assert asker.store.prune() == 1


def test_a_client_keeps_so_much_and_no_more(asker: Asker, clock: Clock) -> None:
    assert asker.ask(Keep(tuple(thing(n, expires=1500.0) for n in range(20)))).ok
    assert asker.ask(Keep((thing(20),))).why == "full"
    assert asker.ask(Keep((thing(1, expires=1500.0),))).ok, "it is kept already"
    assert asker.ask(Keep((thing(21, B),))).ok
    asker.ask(Drop(("file-000",)))
    assert asker.ask(Keep((thing(20),))).ok
    clock.now = 1500.0
    assert asker.ask(Keep((thing(22),))).ok


def test_a_page_of_a_large_tenant(asker: Asker) -> None:
    asker.ask(Keep((thing(1),)))
    asker.ask(Keep((thing(2, B),)))
    others = [Owner("t", f"client-{number}") for number in range(3_000)]
    assert asker.ids(*others) == []
    assert asker.ids(*others, A) == ["file-001"]
    assert asker.ids(*others, Owner("t", "b"), Owner(None, "a")) == []


def test_pages(asker: Asker) -> None:
    asker.ask(Keep(tuple(thing(n, A, label="x" if n % 2 else "y") for n in range(10))))
    asker.ask(Keep(tuple(thing(n + 50, B) for n in range(3))))
    assert asker.ids(A, limit=3) == ["file-009", "file-008", "file-007"]
    assert asker.ids(A, limit=3, ascending=True, after="file-003") == ["file-004", "file-005", "file-006"]
    assert asker.ids(A, limit=3, after="file-003") == ["file-002", "file-001", "file-000"]
    assert asker.ids(A, limit=2, before="file-003") == ["file-005", "file-004"]
    assert asker.ids(A, limit=2, before="file-003", ascending=True) == ["file-001", "file-002"]
    assert asker.ids(A, label="x") == ["file-009", "file-007", "file-005", "file-003", "file-001"]
    assert len(asker.ids(A, B, limit=100)) == 13
    assert asker.ask(Page((A,), "file", limit=10)).more is False
    assert asker.ask(Page((A,), "file", limit=9)).more is True
    assert asker.ask(Page((A,), "batch")).entries == ()
    for mark in ("file-050", "file-none"):
        assert asker.ask(Page((A,), "file", after=mark)).why == "unknown"


def test_what_is_used_is_counted_once(asker: Asker) -> None:
    asker.ask(Keep((thing(1, pending=True), thing(2))))
    assert [asker.ask(Count(f"file-00{n}")).ok for n in (1, 1, 2, 3)] == [True, False, False, False]


def test_questions_that_come_together_are_answered_in_their_order(asker: Asker) -> None:
    told = asker.store.answer([Find(("file-001",)), Keep((thing(1),)), Find(("file-001",)), Drop(("file-001",))])
    assert [len(one.entries) for one in told] == [0, 1, 1, 0]
