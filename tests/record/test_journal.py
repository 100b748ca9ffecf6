"""What was admitted and not yet freed is in the journal, whole, whenever and however its worker dies."""

import itertools
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.record.journal import Entry, EntryState, Journal, JournalError

OPEN, FINAL = EntryState.OPEN, EntryState.FINAL
SLOT = 128
ROOM = SLOT // 2 - 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.journal"


def read(path: Path) -> list[Entry]:
    """As the supervisor does: from the file, with nothing of the worker's memory."""
    journal = Journal.open(path)
    try:
        return list(journal.entries())
    finally:
        journal.close()


def test_the_life_of_a_record(path: Path) -> None:
    journal = Journal.create(path, slots=4, slot_bytes=SLOT)
    slot = journal.admit(b"open")
    assert read(path) == [Entry(slot, OPEN, b"open")]
    assert journal.finish(slot, b"final")
    assert read(path) == [Entry(slot, FINAL, b"final")]
    journal.free(slot)
    assert read(path) == []


def test_a_full_journal_keeps_what_it_has_and_counts_the_rest(path: Path) -> None:
    journal = Journal.create(path, slots=2, slot_bytes=SLOT)
    first, second = journal.admit(b"1"), journal.admit(b"2")
    assert journal.admit(b"3") == -1
    assert journal.overflowed == 1
    journal.free(first)
    assert journal.admit(b"4") == first
    assert {entry.line for entry in read(path)} == {b"2", b"4"}
    assert second != first


def test_a_line_fits_half_a_slot_or_is_counted(path: Path) -> None:
    journal = Journal.create(path, slots=2, slot_bytes=SLOT)
    slot = journal.admit(b"a" * ROOM)
    assert slot >= 0
    assert journal.admit(b"a" * (ROOM + 1)) == -1
    assert not journal.finish(slot, b"b" * (ROOM + 1))
    assert journal.overflowed == 2
    assert read(path) == [Entry(slot, OPEN, b"a" * ROOM)]
    assert journal.finish(slot, b"b" * ROOM)
    assert read(path) == [Entry(slot, FINAL, b"b" * ROOM)]


def test_no_slot_finishes_twice_or_unadmitted_and_freeing_twice_is_once(path: Path) -> None:
    journal = Journal.create(path, slots=2, slot_bytes=SLOT)
    assert not journal.finish(-1, b"x")
    assert not journal.finish(0, b"x")
    slot = journal.admit(b"open")
    assert journal.finish(slot, b"final")
    assert not journal.finish(slot, b"again")
    assert read(path) == [Entry(slot, FINAL, b"final")]
    for freed in (slot, slot, -1):
        journal.free(freed)
    assert sorted(journal.admit(b"x") for _ in range(3)) == [-1, 0, 1]


def test_an_opened_journal_goes_on_where_the_other_stopped(path: Path) -> None:
    journal = Journal.create(path, slots=3, slot_bytes=SLOT)
    kept = journal.admit(b"kept")
    journal.close()
    again = Journal.open(path)
    assert repr(again) == "<Journal worker.journal 1/3>"
    assert kept not in (again.admit(b"a"), again.admit(b"b"))
    assert again.admit(b"c") == -1
    assert again.finish(kept, b"done")
    assert Entry(kept, FINAL, b"done") in read(path)


def test_only_the_owner_reads_it_and_no_journal_is_overwritten(path: Path) -> None:
    Journal.create(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Journal.create(path)
    journal = Journal.open(path)
    journal.unlink()
    journal.unlink()
    assert not path.exists()


def test_its_blocks_are_reserved_so_that_a_full_disk_is_met_at_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = []

    def full(descriptor: int, start: int, length: int) -> None:
        reserved.append(length)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Journal.create(path, slots=16, slot_bytes=SLOT)
    assert reserved == [4096 + 16 * SLOT]
    assert not path.exists()


@pytest.mark.parametrize(("slots", "slot_bytes"), [(0, 4096), (8, 63)])
def test_a_journal_of_no_use_is_not_made(path: Path, slots: int, slot_bytes: int) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        Journal.create(path, slots=slots, slot_bytes=slot_bytes)
    assert not path.exists()


# Files that are not, or no longer, what was written.


def rewritten(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda file: file[:at] + value + file[at + len(value) :]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda file: b"", "too short for a journal"),
        (lambda file: file[:19], "too short for a journal"),
        (rewritten(0, b"X"), "not a journal"),
        (rewritten(8, b"\x09"), "journal of version 9, this build reads 3"),
        (rewritten(12, b"\x00\x00\x00\x00"), f"journal of 0 slots of {SLOT} bytes"),
        (rewritten(16, b"\x04\x00\x00\x00"), "journal of 4 slots of 4 bytes"),
        (rewritten(12, b"\xff\xff\xff\xff"), f"journal of {4096 + 4 * SLOT} bytes, its header says "),
        (lambda file: file[:-1], f"journal of {4095 + 4 * SLOT} bytes, its header says {4096 + 4 * SLOT}"),
        (lambda file: file + b"x", f"journal of {4097 + 4 * SLOT} bytes, its header says {4096 + 4 * SLOT}"),
    ],
)
def test_a_file_that_is_no_journal_says_which_and_why(path: Path, change: Callable[[bytes], bytes], fact: str) -> None:
    Journal.create(path, slots=4, slot_bytes=SLOT).close()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(JournalError) as raised:
        Journal.open(path)
    assert raised.value.path == path
    assert raised.value.fact.startswith(fact)
    assert str(raised.value).startswith(f"{path}: {fact}")


def test_of_a_damaged_final_record_the_open_one_is_left(path: Path) -> None:
    journal = Journal.create(path, slots=2, slot_bytes=SLOT)
    slot = journal.admit(b"open")
    journal.finish(slot, b"final")
    journal.close()
    path.write_bytes(path.read_bytes().replace(b"final", b"fiNal"))
    assert read(path) == [Entry(slot, OPEN, b"open")]
    path.write_bytes(path.read_bytes().replace(b"open", b"opEn"))
    journal = Journal.open(path)
    assert list(journal.entries()) == []
    assert journal.damaged == 1


@settings(max_examples=300)
@given(flips=st.lists(st.tuples(st.integers(0, 4096 + 4 * SLOT - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_damage_never_invents_a_record(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("damage") / "worker.journal"
    journal = Journal.create(path, slots=4, slot_bytes=SLOT)
    lines = [b"open-%d" % n for n in range(3)] + [b"final-0"]
    slots = [journal.admit(line) for line in lines[:3]]
    journal.finish(slots[0], lines[3])
    journal.close()
    file = bytearray(path.read_bytes())
    for at, bits in flips:
        file[at] ^= bits
    path.write_bytes(file)
    try:
        found = read(path)
    except JournalError:
        found = []
    assert {entry.line for entry in found} <= set(lines)


class Model(RuleBasedStateMachine):
    """Any sequence of operations leaves in the file exactly what a dictionary would hold."""

    folder: Path

    @initialize(slots=st.integers(1, 5), slot_bytes=st.integers(64, 200))
    def create(self, slots: int, slot_bytes: int) -> None:
        path = self.folder / f"{time.monotonic_ns()}.journal"
        self.journal = Journal.create(path, slots=slots, slot_bytes=slot_bytes)
        self.count = slots
        self.room = slot_bytes // 2 - 8
        self.overflowed = 0
        self.kept: dict[int, tuple[EntryState, bytes]] = {}

    @rule(line=st.binary(max_size=110))
    def admit(self, line: bytes) -> None:
        slot = self.journal.admit(line)
        if len(line) > self.room or len(self.kept) == self.count:
            assert slot == -1
            self.overflowed += 1
        else:
            assert slot not in self.kept
            self.kept[slot] = OPEN, line

    @rule(slot=st.integers(-1, 4), line=st.binary(max_size=110))
    def finish(self, slot: int, line: bytes) -> None:
        slot = min(slot, self.count - 1)
        is_open = slot in self.kept and self.kept[slot][0] is OPEN
        done = self.journal.finish(slot, line)
        assert done == (is_open and len(line) <= self.room)
        if done:
            self.kept[slot] = FINAL, line
        elif is_open:
            self.overflowed += 1

    @rule(slot=st.integers(-1, 4))
    def free(self, slot: int) -> None:
        slot = min(slot, self.count - 1)
        self.journal.free(slot)
        self.kept.pop(slot, None)

    @rule()
    def reopen(self) -> None:
        path = self.journal.path
        self.journal.close()
        self.journal = Journal.open(path)
        self.overflowed = 0

    @invariant()
    def the_file_holds_what_is_kept(self) -> None:
        if hasattr(self, "journal"):
            assert read(self.journal.path) == [Entry(slot, *self.kept[slot]) for slot in sorted(self.kept)]
            assert self.journal.overflowed == self.overflowed

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.journal.unlink()


def test_any_sequence_of_operations(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class Here(Model):
        folder = tmp_path

    run_state_machine_as_test(Here, settings=settings(max_examples=60, stateful_step_count=25))


# Death.


class Died(BaseException):
    """Raised between two instructions of the journal."""


def dying_at(instruction: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that ends the journal's code before its n-th instruction."""
    passed = itertools.count()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name not in ("admit", "finish", "free"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(passed) == instruction:
            raise Died
        return trace

    return trace


def test_a_death_between_any_two_instructions_leaves_the_state_before_or_after(path: Path) -> None:
    """Not one record less, not one that is half another: slot by slot, at every instruction of a life and a reuse."""
    steps: list[tuple[Callable[[Journal], object], list[Entry]]] = [
        (lambda journal: journal.admit(b"open 1"), [Entry(0, OPEN, b"open 1")]),
        (lambda journal: journal.finish(0, b"final 1"), [Entry(0, FINAL, b"final 1")]),
        (lambda journal: journal.free(0), []),
        (lambda journal: journal.admit(b"open two"), [Entry(0, OPEN, b"open two")]),
        (lambda journal: journal.finish(0, b"final two"), [Entry(0, FINAL, b"final two")]),
    ]
    outer = sys.gettrace()
    for instruction in itertools.count():
        journal = Journal.create(path, slots=1, slot_bytes=SLOT)
        before: list[Entry] = []
        after: list[Entry] = []
        died = False
        sys.settrace(dying_at(instruction))
        try:
            for step, left in steps:
                before, after = after, left
                step(journal)
        except Died:
            died = True
        finally:
            sys.settrace(outer)
        assert read(path) in ((before, after) if died else (after,))
        journal.unlink()
        if not died:
            break
    assert instruction > 100


WORKER = """
import mmap, sys
from pathlib import Path
from proxy.record.journal import Journal

journal = Journal.open(Path(sys.argv[1]))
with open(sys.argv[2], "r+b") as file:
    told = memoryview(mmap.mmap(file.fileno(), 4096)).cast("Q")

def line(kind, number):
    return b"%b %d " % (kind, number) + b"%d" % (number % 10) * (number % 700)

slots = {}
number = 0
while True:
    number += 1
    slots[number] = journal.admit(line(b"open", number))
    told[0] = number
    if number > 8:
        journal.finish(slots[number - 8], line(b"final", number - 8))
        told[1] = number - 8
    if number > 16:
        told[2] = number - 16
        journal.free(slots.pop(number - 16))
"""


def wait_for(told: memoryview, number: int) -> None:
    until = time.monotonic() + 20
    while told[0] < number:
        assert time.monotonic() < until, "the worker does not get on"
        os.sched_yield()


def whole(entry: Entry) -> int:
    """The number of a worker's record; fails if a byte of it is not as it was written."""
    kind, number, rest = entry.line.split(b" ")
    assert kind == (b"open" if entry.state is OPEN else b"final")
    assert rest == b"%d" % (int(number) % 10) * (int(number) % 700)
    return int(number)


def test_killed_workers_leave_every_record_they_had(tmp_path: Path) -> None:
    chance = random.Random(20)
    for life in range(20):
        path, ledger = tmp_path / f"{life}.journal", tmp_path / f"{life}.told"
        Journal.create(path, slots=64, slot_bytes=2048).close()
        ledger.write_bytes(bytes(4096))
        with ledger.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as shared:
            told = memoryview(shared).cast("Q")
            with subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(ledger)]) as worker:
                try:
                    wait_for(told, chance.randrange(20, 3000))
                finally:
                    worker.send_signal(signal.SIGKILL)
            admitted, finished, freeing = told[:3].tolist()
            told.release()
        found = {whole(entry): entry.state for entry in read(path)}
        assert set(range(freeing + 1, admitted + 1)) <= set(found) <= set(range(freeing, admitted + 2))
        assert all(found[number] is FINAL for number in range(freeing + 1, finished + 1))
