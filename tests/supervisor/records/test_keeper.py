"""Each admitted request leaves exactly one record, whatever dies and whatever fails meanwhile."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from proxy.messages import Uncounted
from proxy.record.audit import Appended, AuditLog, AuditWriteError
from proxy.record.journal import Journal
from proxy.record.record import End, Record, Tokens
from proxy.supervisor.events.events import Event
from proxy.supervisor.records.keeper import RecordKeeper, Source

NOW = datetime.now(UTC).isoformat()


class Audit:
    """An audit log in memory. `failing`: how many of the next writes fail."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.failing = 0

    def append(self, lines: Sequence[bytes]) -> Appended:
        if self.failing:
            self.failing -= 1
            raise AuditWriteError(Path("audit.jsonl"), "no space left")
        self.lines += lines
        return Appended(list(lines), sum(map(len, lines)))

    @property
    def records(self) -> list[Record]:
        return [msgspec.json.decode(line, type=Record) for line in self.lines]


class Keeping:
    """A keeper of records at work, and what it told whom."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.counted: list[Record] = []
        self.lost: list[Record] = []
        self.acknowledged: list[int] = []
        self.announced: list[Event] = []
        self.source = Source(self.acknowledged.extend, lambda _: None)
        self.keeper = RecordKeeper(
            cast(AuditLog, audit),
            counted=self.counted.append,
            lost=self.lost.append,
            announce=self.announced.append,
        )

    def take(self, slots: list[int], lines: list[bytes]) -> None:
        self.keeper.take(self.source, slots, lines)


@pytest.fixture
def keeping(nursery: trio.Nursery) -> Keeping:
    made = Keeping(Audit())
    nursery.start_soon(made.keeper.run)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.create(tmp_path / "worker.journal", slots=8)


def line(request_id: str, end: End = End.COMPLETE) -> bytes:
    return msgspec.json.encode(Record(request_id=request_id, time=NOW, end=end))


def ids(audit: Audit) -> list[str]:
    return [record.request_id for record in audit.records]


def uncounted(slot: int, one: bytes, *, text: bytes = b"Hello, world", tokenizer: str = "o200k_base") -> Uncounted:
    return Uncounted(slot, one, "chat.completions", tokenizer, b"", text, len(text), len(text))


# Written.


async def test_a_record_is_acknowledged_once_it_is_written(keeping: Keeping) -> None:
    keeping.take([3, -1, 5], [line("a"), line("b"), line("c")])
    assert keeping.acknowledged == []
    await keeping.keeper.drained()
    assert keeping.audit.lines == [line("a"), line("b"), line("c")]
    assert keeping.acknowledged == [3, 5]
    assert keeping.keeper.written == 3


async def test_each_worker_hears_of_its_own(keeping: Keeping) -> None:
    others: list[int] = []
    other = Source(others.extend, lambda _: None)
    keeping.take([1], [line("a")])
    keeping.keeper.take(other, [1, 2], [line("b"), line("c")])
    keeping.keeper.take(None, [-1], [line("d")])
    await keeping.keeper.drained()
    assert (keeping.acknowledged, others) == ([1], [1, 2])
    assert ids(keeping.audit) == ["a", "b", "c", "d"]


async def test_while_the_log_cannot_be_written_records_are_kept_and_tried_again(
    keeping: Keeping, autojump_clock: MockClock
) -> None:
    keeping.audit.failing = 3
    keeping.take([1], [line("a")])
    while not keeping.keeper.failing:
        await trio.sleep(0.001)
    assert keeping.acknowledged == []
    keeping.take([2], [line("b")])
    await keeping.keeper.drained()
    assert ids(keeping.audit) == ["a", "b"]
    assert keeping.acknowledged == [1, 2]
    assert (keeping.keeper.failures, keeping.keeper.failing) == (3, False)
    assert [event.severity for event in keeping.announced] == ["error", "info"]  # once each, not at every attempt


# Counted.


async def test_usage_that_only_a_tokenizer_can_tell_is_counted_first(keeping: Keeping) -> None:
    keeping.keeper.count(keeping.source, uncounted(4, line("a")))
    await keeping.keeper.drained()
    (record,) = keeping.audit.records
    assert record.tokens == Tokens(completion=3, total=3, estimated=True)
    assert keeping.counted == [record]
    assert keeping.acknowledged == [4]


async def test_a_tokenizer_that_fails_leaves_the_estimate(keeping: Keeping, caplog: pytest.LogCaptureFixture) -> None:
    estimate = Tokens(prompt=5, total=5, estimated=True)
    one = msgspec.json.encode(Record(request_id="a", tokens=estimate))
    keeping.keeper.count(keeping.source, uncounted(4, one, tokenizer="no such encoding"))
    await keeping.keeper.drained()
    assert keeping.audit.records[0].tokens == estimate
    assert keeping.acknowledged == [4]
    assert "keeps its estimate" in caplog.text


# Recovered.


async def test_what_a_lost_worker_left_is_recorded(keeping: Keeping, journal: Journal) -> None:
    journal.admit(line("open"))
    journal.finish(journal.admit(line("b", End.WORKER_LOST)), line("finished", End.CLIENT_GONE))
    assert keeping.keeper.recover(journal.path, source=keeping.source, known=set()) == 2
    await keeping.keeper.drained()
    ends = {record.request_id: record.end for record in keeping.audit.records}
    assert ends == {"open": End.WORKER_LOST, "finished": End.CLIENT_GONE}
    (lost,) = keeping.lost
    assert (lost.request_id, lost.reason) == ("open", "worker_lost")
    assert lost.duration_ms is not None
    assert lost.duration_ms >= 0
    assert not journal.path.exists()


@pytest.mark.parametrize("counted", [False, True])
async def test_what_had_arrived_is_not_recorded_again(keeping: Keeping, journal: Journal, counted: bool) -> None:
    """The worker died before it heard that its record is written, or before it was."""
    slot = journal.admit(line("a", End.WORKER_LOST))
    journal.finish(slot, line("a"))
    if counted:
        keeping.keeper.count(keeping.source, uncounted(slot, line("a")))
    else:
        keeping.take([slot], [line("a")])
    assert keeping.keeper.recover(journal.path, source=keeping.source, known=set()) == 0
    await keeping.keeper.drained()
    assert ids(keeping.audit) == ["a"]


async def test_a_slot_that_is_used_again_is_another_record(keeping: Keeping, journal: Journal) -> None:
    slot = journal.admit(line("first", End.WORKER_LOST))
    journal.finish(slot, line("first"))
    keeping.take([slot], [line("first")])
    await keeping.keeper.drained()
    journal.free(slot)
    assert journal.admit(line("second")) == slot
    assert keeping.keeper.recover(journal.path, source=keeping.source, known=set()) == 1
    await keeping.keeper.drained()
    assert ids(keeping.audit) == ["first", "second"]


async def test_after_the_supervisor_died_too_what_the_log_has_is_not_recorded_again(
    keeping: Keeping, journal: Journal
) -> None:
    for name in ("known", "new"):
        journal.finish(journal.admit(line(name, End.WORKER_LOST)), line(name))
    assert keeping.keeper.recover(journal.path, source=None, known={"known"}) == 1
    await keeping.keeper.drained()
    assert ids(keeping.audit) == ["new"]


async def test_what_a_lost_worker_left_is_kept_even_where_too_much_waits_to_be_written(
    keeping: Keeping, journal: Journal
) -> None:
    """Its journal goes with it, so that there is no other place for it."""
    keeping.keeper.take(None, [-1] * 200_001, [b"{}"] * 200_001)
    assert keeping.keeper.failures == 1
    journal.admit(line("open"))
    assert keeping.keeper.recover(journal.path, source=keeping.source, known=set()) == 1
    await keeping.keeper.drained()
    assert len(keeping.audit.lines) == 200_001
    assert msgspec.json.decode(keeping.audit.lines[-1], type=Record).request_id == "open"


async def test_a_journal_that_is_none_is_said_and_left(
    keeping: Keeping, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "odd.journal"
    path.write_bytes(b"nothing of the kind")
    assert keeping.keeper.recover(path, source=None, known=set()) == 0
    assert path.exists()
    assert "journal cannot be read" in caplog.text
    assert keeping.keeper.recover(tmp_path / "gone", source=None, known=set()) == 0


async def test_an_entry_that_is_no_record_harms_no_other(keeping: Keeping, journal: Journal) -> None:
    journal.admit(b"no record")
    journal.admit(line("good"))
    assert keeping.keeper.recover(journal.path, source=None, known=set()) == 1
    await keeping.keeper.drained()
    assert ids(keeping.audit) == ["good"]


# Exactly once.


class WorkerLife:
    """A worker as the keeper sees it: what it admits, finishes, reports, and hears of."""

    def __init__(self, keeping: Keeping, journal: Journal) -> None:
        self.keeping = keeping
        self.journal = journal
        self.admitted: list[str] = []
        self._open: list[tuple[int, str]] = []
        self._finished: list[tuple[int, bytes]] = []

    def admit(self) -> None:
        name = f"r{len(self.admitted)}"
        slot = self.journal.admit(line(name, End.WORKER_LOST))
        if slot >= 0:
            self.admitted.append(name)
            self._open.append((slot, name))

    def finish(self) -> None:
        if self._open:
            slot, name = self._open.pop(0)
            self.journal.finish(slot, line(name))
            self._finished.append((slot, line(name)))

    def report(self) -> None:
        if self._finished:
            self.keeping.take([slot for slot, _ in self._finished], [one for _, one in self._finished])
            self._finished.clear()

    def report_uncounted(self) -> None:
        if self._finished:
            slot, one = self._finished.pop()
            self.keeping.keeper.count(self.keeping.source, uncounted(slot, one, text=b""))

    def hear(self) -> None:
        for slot in self.keeping.acknowledged:
            self.journal.free(slot)
        self.keeping.acknowledged.clear()

    def fail_to_write(self) -> None:
        self.keeping.audit.failing += 1


STEPS = ("admit", "admit", "finish", "report", "report_uncounted", "hear", "fail_to_write", "let it write")


@settings(max_examples=40)
@given(st.lists(st.sampled_from(STEPS), max_size=40), st.booleans())
def test_every_admitted_request_has_exactly_one_record(steps: list[str], supervisor_dies: bool) -> None:
    async def main(folder: str) -> None:
        keeping = Keeping(Audit())
        life = WorkerLife(keeping, Journal.create(Path(folder) / "worker.journal", slots=4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeping.keeper.run)
            for step in steps:
                if step == "let it write":
                    await keeping.keeper.drained()
                else:
                    getattr(life, step)()
            if supervisor_dies:
                nursery.cancel_scope.cancel()
            else:
                keeping.keeper.recover(life.journal.path, source=keeping.source, known=set())
                await keeping.keeper.drained()
                nursery.cancel_scope.cancel()
        if supervisor_dies:
            keeping.audit.failing = 0
            after = Keeping(keeping.audit)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(after.keeper.run)
                after.keeper.recover(life.journal.path, source=None, known=set(ids(keeping.audit)))
                await after.keeper.drained()
                nursery.cancel_scope.cancel()
        assert Counter(ids(keeping.audit)) == Counter(life.admitted)
        life.journal.close()

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, folder, clock=MockClock(autojump_threshold=0))
