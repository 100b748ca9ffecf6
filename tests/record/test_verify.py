"""Whatever is done to the log without its key is found; what a gateway's own life does to it is not held against it.

Tampering here is by someone who can write the log and the checkpoint, and who has not the key.
"""

import gzip
import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.record.audit import AuditLog, AuditWriteError
from proxy.record.chain import ChainKey
from proxy.record.record import Record
from proxy.record.verify import Report, Unverifiable, verify

KEY = ChainKey("the key of these tests, long enough")
OTHER = ChainKey("another key, which is as long as that")
WHEN = 1_764_000_000.0
HUGE = 1 << 40


class Place(NamedTuple):
    """A folder with a log in it, and its checkpoint apart."""

    path: Path
    checkpoint: Path

    def opened(self, rotate_at: int = HUGE, keep: int = 0) -> AuditLog:
        return AuditLog(self.path, KEY, self.checkpoint, rotate_at=rotate_at, keep=keep, wall=lambda: WHEN)

    def judged(self, key: ChainKey = KEY, since: int = 1) -> Report:
        return verify(self.path, key, self.checkpoint, since=since)

    def files(self) -> list[Path]:
        """Oldest first."""
        rotated = sorted(self.path.parent.glob("audit-*.jsonl"), key=lambda f: int(f.stem.rpartition("-")[2]))
        return [*rotated, self.path]


def place(folder: Path) -> Place:
    return Place(folder / "log" / "audit.jsonl", folder / "state" / "audit.checkpoint")


def lines(*names: object) -> list[bytes]:
    return [msgspec.json.encode(Record(request_id=str(name))) for name in names]


@pytest.fixture
def at(tmp_path: Path) -> Place:
    return place(tmp_path)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Nine records in three files."""
    found = place(tmp_path_factory.mktemp("three"))
    log = found.opened(rotate_at=3 * 700)
    for name in range(9):
        log.append(lines(name))
    log.close()
    assert [len(file.read_bytes().splitlines()) for file in found.files()] == [3, 3, 3]
    return found


def copied(original: Place, folder: Path) -> Place:
    shutil.copytree(original.path.parent.parent, folder, dirs_exist_ok=True)
    return place(folder)


def test_a_whole_log_is_whole(three: Place) -> None:
    report = three.judged()
    last = json.loads(three.path.read_bytes().splitlines()[-1])
    assert (report.whole, report.fault, report.files) == (True, None, 3)
    assert (report.records, report.first, report.last, report.hash) == (9, 1, 9, last["hash"])
    assert (report.unchained, report.torn, report.checkpoint) == (0, 0, "2025-11-24T16:00:00.000Z")


# Tampering.


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found_in_its_line(
    tmp_path_factory: pytest.TempPathFactory, three: Place, data: st.DataObject
) -> None:
    at = copied(three, tmp_path_factory.mktemp("byte"))
    file = data.draw(st.sampled_from(at.files()))
    content = bytearray(file.read_bytes())
    byte = data.draw(st.integers(0, len(content) - 1))
    line = content[:byte].count(b"\n") + 1
    last = content.count(b"\n")
    content[byte] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    fault = at.judged().fault
    assert fault is not None
    if byte < len(content) - 1:
        assert (fault.file, fault.line) == (str(file), line)
    else:  # without its end, the record is none, and it is what follows that tells
        assert (fault.file, fault.line) != (str(file), last + 1)


def without(file: Path, *numbers: int) -> None:
    kept = [line for n, line in enumerate(file.read_bytes().splitlines(keepends=True), 1) if n not in numbers]
    file.write_bytes(b"".join(kept))


def swap(first: Path, second: Path) -> None:
    first.rename(first.with_name("between"))
    second.rename(first)
    first.with_name("between").rename(second)


def repeated(file: Path, number: int) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*found[:number], *found[number - 1 :]]))


def exchanged(file: Path) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([found[1], found[0], *found[2:]]))


def inserted(file: Path, line: bytes) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([found[0], line, *found[1:]]))


def stripped(file: Path) -> None:
    """Made to look as if from before records were chained."""
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    plain = [json.dumps({k: v for k, v in record.items() if k not in ("prev", "hash")}) for record in found]
    file.write_text("\n".join(plain) + "\n")


def resealed(file: Path) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    line = found[1].split(b',"prev"')[0].replace(b'"request_id":"', b'"request_id":"x') + b"}"
    prev = json.loads(found[1])["prev"]
    file.write_bytes(b"".join([found[0], OTHER.seal(line, prev)[0] + b"\n", *found[2:]]))


Do = Callable[[list[Path], Path], object]
TAMPERING: list[tuple[str, Do, str | None, int | None, str]] = [
    # what is done, how, and where and how it is named: the file by its number
    ("a line removed", lambda f, _: without(f[1], 2), "1", 2, "record 5 is missing before it"),
    ("the first line removed", lambda f, _: without(f[0], 1), "0", 1, "record 1 is missing before it"),
    ("the first lines removed", lambda f, _: without(f[0], 1, 2), "0", 1, "records 1 to 2 are missing before it"),
    ("the last line removed", lambda f, _: without(f[2], 3), "2", 2, "the log ends here, record 9 is missing after it"),
    ("a file's last line removed", lambda f, _: without(f[1], 3), "2", 1, "record 6 is missing before it"),
    ("the first file removed", lambda f, _: f[0].unlink(), "1", 1, "records 1 to 3 are missing before it"),
    ("a file between removed", lambda f, _: f[1].unlink(), "2", 1, "records 4 to 6 are missing before it"),
    ("the last file removed", lambda f, _: f[2].unlink(), "1", 3, "records 7 to 9 are missing after it"),
    ("all files removed", lambda f, _: deque(map(Path.unlink, f)), "2", None, "records 1 to 9 are missing after it"),
    ("the log emptied", lambda f, _: [file.write_bytes(b"") for file in f], "2", None, "records 1 to 9 are missing"),
    ("lines exchanged", lambda f, _: exchanged(f[1]), "1", 1, "record 4 is missing before it"),
    ("a line repeated", lambda f, _: repeated(f[1], 2), "1", 3, "record 5 stands after record 5"),
    ("a file repeated", lambda f, _: shutil.copy(f[0], f"{f[2]}.1"), None, 1, "record 1 stands after record 3"),
    ("a line of text put in", lambda f, _: inserted(f[1], b"# by hand\n"), "1", 2, "is no record of the chain"),
    ("an empty line put in", lambda f, _: inserted(f[1], b"\n"), "1", 2, "the line is no record of the chain"),
    ("a record without hash put in", lambda f, _: inserted(f[1], b'{"seq":5}\n'), "1", 2, "no record of the chain"),
    ("a far too long line put in", lambda f, _: inserted(f[1], b"x" * (3 << 20) + b"\n"), "1", 2, "no record of"),
    ("hashes taken off", lambda f, _: stripped(f[1]), "1", 1, "the line is no record of the chain"),
    ("all hashes taken off", lambda f, _: deque(map(stripped, f)), "0", 1, "the line is no record of the chain"),
    ("sealed with another key", lambda f, _: resealed(f[1]), "1", 2, "was changed: its hash does not fit"),
    ("text put at the end", lambda f, _: f[2].write_bytes(f[2].read_bytes() + b"x"), "2", 4, "no record of the chain"),
    ("the checkpoint removed", lambda _, c: c.unlink(), "c", None, "the checkpoint is missing"),
    ("the checkpoint emptied", lambda _, c: c.write_bytes(b""), "c", None, "the checkpoint was changed"),
    (
        "the checkpoint set back",
        lambda _, c: c.write_bytes(c.read_bytes().replace(b'"seq":9', b'"seq":6')),
        "c", None, "the checkpoint was changed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("do", "file", "line", "fact"), [t[1:] for t in TAMPERING], ids=[t[0] for t in TAMPERING])
def test_tampering_is_named_by_file_and_line(
    three: Place, tmp_path: Path, do: Do, file: str | None, line: int | None, fact: str
) -> None:
    at = copied(three, tmp_path)
    files = at.files()
    do(files, at.checkpoint)
    report = at.judged()
    assert not report.whole
    assert report.fault is not None
    assert fact in report.fault.fact
    assert report.fault.line == line
    if file is not None:
        assert report.fault.file == str(at.checkpoint if file == "c" else files[int(file)])
        assert str(report.fault).startswith(f"{report.fault.file}:{'' if line is None else f'{line}:'} ")


def test_a_tail_cut_at_any_byte_is_found(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    whole = at.path.read_bytes()
    for length in range(0, len(whole), 3):
        at.path.write_bytes(whole[:length])
        assert not at.judged().whole, length


def test_a_restart_does_not_cover_up_a_cut_tail(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    without(at.path, 2, 3)
    log = at.opened()
    assert log.doubts == ["records 8 to 9 are gone from the end of the log"]
    log.append(lines("after"))
    log.close()
    fault = at.judged().fault
    assert fault is not None
    assert (fault.line, fault.fact) == (2, "records 8 to 9 are missing before it")
    assert at.judged(since=10).whole, "what was written since is judged by itself"


def test_a_restart_does_not_cover_up_a_missing_checkpoint(three: Place, tmp_path: Path) -> None:
    for name, harm in (("gone", Path.unlink), ("changed", lambda path: path.write_bytes(b"x"))):
        at = copied(three, tmp_path / name)
        without(at.path, 2, 3)
        harm(at.checkpoint)
        log = at.opened()
        assert len(log.doubts) == 1
        log.append(lines("after"))
        log.close()
        fault = at.judged().fault
        assert fault is not None
        assert (fault.line, fault.fact) == (2, "the record does not follow from the one before it")


def test_a_restart_says_that_the_last_record_was_changed(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    at.path.write_bytes(at.path.read_bytes().replace(b'"request_id":"8"', b'"request_id":"0"'))
    log = at.opened()
    assert log.doubts == ["record 9, the last of the log, was changed"]
    log.append(lines("after"))
    fault = at.judged().fault
    assert fault is not None
    assert (fault.line, fault.fact) == (3, "the record was changed: its hash does not fit")


def test_another_key_says_nothing(three: Place, at: Place) -> None:
    with pytest.raises(Unverifiable, match="the key fits neither"):
        three.judged(OTHER)
    with pytest.raises(Unverifiable, match="there is no audit log"):
        at.judged()


def test_a_log_is_not_continued_with_another_key(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    with pytest.raises(AuditWriteError, match="was chained with another key; restore that"):
        AuditLog(at.path, OTHER, at.checkpoint, rotate_at=HUGE)
    at.checkpoint.unlink()
    with pytest.raises(AuditWriteError, match="was chained with another key"):
        AuditLog(at.path, OTHER, at.checkpoint, rotate_at=HUGE)
    at.opened().close()


# Honest lives.

Step = tuple[str, int, int]


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(("append", "append", "restart", "crash", "rename")), st.integers(0, 4), st.integers()
        ),
        max_size=12,
    ),
    rotate_at=st.integers(1, 6000),
    keep=st.integers(0, 3),
)
def test_any_honest_life_verifies(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], rotate_at: int, keep: int
) -> None:
    """A crash breaks an append at any byte: nobody was told of its records, and the checkpoint is as before."""
    at = place(tmp_path_factory.mktemp("life"))
    log = at.opened(rotate_at, keep)
    acknowledged = 0
    for index, (what, count, number) in enumerate(steps):
        if what == "restart":
            log.close()
            log = at.opened(rotate_at, keep)
        elif what == "rename":
            if at.path.exists():
                at.path.rename(at.path.with_name(f"audit.jsonl.{index}"))
        else:
            before, known = at.path.stat() if at.path.exists() else None, at.checkpoint.read_bytes()
            log.append(lines(*range(count)))
            if what == "append":
                acknowledged += count
                continue
            log.close()
            after = at.path.stat()
            if before is not None and os.path.samestat(before, after):  # else it has been rotated meanwhile
                os.truncate(at.path, before.st_size + number % (after.st_size - before.st_size + 1))
                at.checkpoint.write_bytes(known)
            assert at.judged().whole
            log = at.opened(rotate_at, keep)
        assert log.doubts == []
    log.close()
    report = at.judged()
    assert report.whole, report
    assert keep or report.records >= acknowledged
    assert report.torn == 0


def test_records_from_before_the_chain_are_told_apart(at: Place) -> None:
    at.path.parent.mkdir(parents=True)
    old = [line.replace(b'"seq":0', b'"seq":%d' % n) for n, line in enumerate(lines("a", "b", "c"), 1)]
    at.path.write_bytes(b"\n".join(old) + b"\n")
    report = at.judged()
    assert (report.whole, report.records, report.unchained) == (True, 0, 3)
    log = at.opened()
    assert log.doubts == []
    log.append(lines("d", "e"))
    log.close()
    log = at.opened()
    log.append(lines("f"))
    report = at.judged()
    assert (report.whole, report.records, report.unchained, report.first, report.last) == (True, 3, 3, 4, 6)
    without(at.path, 4)
    fault = at.judged().fault
    assert fault is not None
    assert (fault.line, fault.fact) == (4, "record 4 is missing before it")


def test_what_is_pruned_is_not_missed(at: Place) -> None:
    log = at.opened(rotate_at=1, keep=2)
    for name in range(6):
        log.append(lines(name))
    report = at.judged()
    assert (report.whole, report.files, report.records, report.first) == (True, 3, 3, 4)
    at.files()[0].unlink()
    assert not at.judged().whole
    assert at.judged(since=5).whole, "archived elsewhere, says who asks"


def test_compressed_files_are_read(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    first = at.files()[0]
    compressed = first.with_name(first.name + ".gz")
    compressed.write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    assert at.judged().records == 9
    compressed.write_bytes(compressed.read_bytes()[:-20])
    with pytest.raises(Unverifiable, match="cannot be decompressed"):
        at.judged()


def test_a_torn_record_that_nobody_was_told_of_is_no_fault(three: Place, tmp_path: Path) -> None:
    at = copied(three, tmp_path)
    at.path.write_bytes(at.path.read_bytes() + b'{"seq":10,"req' + bytes(10))
    report = at.judged()
    assert (report.whole, report.records, report.torn) == (True, 9, 24)


def test_it_verifies_while_the_log_is_written_rotated_and_pruned(at: Place) -> None:
    log = at.opened(rotate_at=5000, keep=3)
    log.append(lines("first"))
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            log.append(lines(*range(3)))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        judged = 0
        for _ in range(60):
            try:
                report = at.judged()
            except Unverifiable:
                continue  # a file a millisecond is more than anyone writes
            assert report.whole, report
            judged += 1
        assert judged
    finally:
        done.set()
        thread.join()
