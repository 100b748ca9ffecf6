"""Every record is in the audit log once, whole and numbered, whatever the disk, a crash or logrotate do."""

import errno
import json
import logging
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.record.audit import AuditLog, AuditWriteError
from proxy.record.chain import BEGINNING, ChainKey
from proxy.record.record import Record

HUGE = 1 << 40
KEY = ChainKey("the key of these tests, long enough")
WHEN = 1_764_000_000.0  # 2025-11-24T16:00:00Z


def line(name: str, **more: Any) -> bytes:
    return msgspec.json.encode(Record(request_id=name, **more))


def lines(*names: object) -> list[bytes]:
    return [line(str(name)) for name in names]


def opened(path: Path, rotate_at: int = HUGE, keep: int = 0) -> AuditLog:
    return AuditLog(path, KEY, checkpoint(path), rotate_at=rotate_at, keep=keep, wall=lambda: WHEN)


def checkpoint(path: Path) -> Path:
    return path.parent.with_suffix(".checkpoint")


def written(*paths: Path) -> list[tuple[int, str]]:
    """Number and id of each record, read as anyone would; fails if a line is not whole."""
    found = []
    for path in paths:
        text = path.read_text()
        assert text == "" or text.endswith("\n")
        found += [(record["seq"], record["request_id"]) for record in map(json.loads, text.splitlines())]
    return found


def numbered(*names: object) -> list[tuple[int, str]]:
    return [(seq, str(name)) for seq, name in enumerate(names, 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "audit.jsonl"


def rotated(path: Path) -> list[Path]:
    return sorted(path.parent.glob("audit-*.jsonl"), key=lambda found: int(found.stem.rpartition("-")[2]))


# Writing.


def test_records_are_numbered_and_otherwise_as_they_came(path: Path) -> None:
    log = opened(path)
    first = line("a", client='turbine "7"\n{"seq":0,', rule="§")
    sealed, hashed = KEY.seal(first.replace(b'{"seq":0', b'{"seq":1', 1), BEGINNING)
    assert log.append([first]) == ([sealed], len(sealed) + 1)
    assert path.read_bytes() == sealed + b"\n"
    assert sealed.endswith(f',"end":"refused","queued_ms":null,"prev":"{BEGINNING}","hash":"{hashed}"}}'.encode())
    assert len(log.append(lines("b", "c")).lines) == 2
    assert log.append([]) == ([], 0)
    assert written(path) == numbered("a", "b", "c")
    assert log.next_seq == 4
    assert repr(log) == "<AuditLog audit.jsonl next=4>"


def test_the_file_and_its_folder_are_not_for_everyone(path: Path) -> None:
    before = os.umask(0)
    try:
        opened(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    for name in "abc":
        log = opened(path)
        log.append(lines(name))
        log.close()
    assert written(path) == numbered("a", "b", "c")


@settings(max_examples=60)
@given(batches=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12), rotate_at=st.integers(1, 4000))
def test_any_course_of_writes_rotations_and_restarts_numbers_every_record_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, bool]], rotate_at: int
) -> None:
    path = tmp_path_factory.mktemp("course") / "audit.jsonl"
    log = opened(path, rotate_at)
    names = [str(n) for n in range(sum(count for count, _ in batches))]
    at = 0
    for count, restart in batches:
        assert len(log.append(lines(*names[at : at + count])).lines) == count
        at += count
        if restart:
            log.close()
            log = opened(path, rotate_at)
    log.close()
    assert written(*rotated(path), path) == numbered(*names)
    assert log.recent_ids(HUGE) == set(names)


def test_a_second_writer_is_turned_away(path: Path) -> None:
    log = opened(path)
    with pytest.raises(AuditWriteError, match="is being written by another process"):
        opened(path)
    log.append(lines("a"))
    log.close()
    opened(path).append(lines("b"))
    assert written(path) == numbered("a", "b")


# What a crash leaves.


def test_a_torn_last_record_is_cut_off_at_whatever_byte_it_broke(path: Path) -> None:
    log = opened(path)
    log.append(lines("a"))
    first, known = path.stat().st_size, checkpoint(path).read_bytes()
    log.append(lines("b"))
    log.close()
    whole = path.read_bytes()
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        checkpoint(path).write_bytes(known)
        log = opened(path)
        assert log.torn == length - first
        log.append(lines("c"))
        log.close()
        assert written(path) == numbered("a", "c")


def test_what_was_cut_off_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"seq":1,"request_id":"a"}\n{"seq":2,"requ' + bytes(4000))
    with caplog.at_level(logging.WARNING, "penstock.audit"):
        assert opened(path).torn == 4014
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: the last record was torn, 4014 bytes are cut off"
    ]
    assert written(path) == numbered("a")


def test_a_first_record_that_broke_leaves_an_empty_log(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"se')
    log = opened(path)
    log.append(lines("a"))
    assert written(path) == numbered("a")


@pytest.mark.parametrize(
    "content",
    [b"[listen]\naddress = 1\n", b"SQLite format 3\0" + bytes(5000) + b"x", b"x" * (3 << 20), b"\n", b'{"a":1}\n'],
    ids=["text", "binary", "without lines", "empty line", "other JSON"],
)
def test_a_file_of_something_else_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AuditWriteError, match="something else than audit records"):
        opened(path)
    assert path.read_bytes() == content


def test_lines_of_others_among_the_records_are_passed_over(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'# by hand\n{"seq":7,"request_id":"a"}\n# by hand\n\xff\n{"seq":"x"}\n')
    log = opened(path)
    assert log.next_seq == 8
    assert log.recent_ids(HUGE) == {"a"}


# A disk that does not take it.


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """The kernel takes a write up to `size` and fails the rest: a full disk, but for the name of the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_halfway_leaves_nothing_of_it(path: Path) -> None:
    log = opened(path)
    size = log.append(lines("a")).bytes
    with files_at_most(size * 2 + 10), pytest.raises(AuditWriteError) as raised:
        log.append(lines("b", "c"))
    assert raised.value.path == path
    assert raised.value.fact == os.strerror(errno.EFBIG)
    assert str(raised.value) == f"{path}: {raised.value.fact}"
    assert written(path) == numbered("a")
    assert len(log.append(lines("b", "c")).lines) == 2
    assert written(path) == numbered("a", "b", "c")


def test_what_cannot_be_cut_back_at_once_is_cut_back_before_the_next_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(path)
    size = log.append(lines("a")).bytes

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        with files_at_most(size * 2 + 10), pytest.raises(AuditWriteError, match=os.strerror(errno.EFBIG)):
            log.append(lines("b", "c"))
        assert path.stat().st_size == size * 2 + 10
        with pytest.raises(AuditWriteError, match=os.strerror(errno.EIO)):
            log.append(lines("b", "c"))
    log.append(lines("b", "c"))
    assert written(path) == numbered("a", "b", "c")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_a_path_that_cannot_be_a_log_says_so_at_the_start(path: Path, make: Any) -> None:
    path.parent.mkdir()
    make(path)
    with pytest.raises(AuditWriteError) as raised:
        opened(path)
    assert str(raised.value) in (f"{path}: Is a directory", f"{path}: is not a regular file")


def test_a_folder_that_cannot_be_made_says_so_at_the_start(path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(AuditWriteError, match=r"File exists|Not a directory"):
        opened(path)


# Rotation.


def test_a_file_that_would_grow_too_long_is_renamed_with_time_and_first_number(path: Path) -> None:
    log = opened(path)
    size = log.append(lines("a")).bytes
    log.close()
    log = opened(path, rotate_at=size * 2)
    log.append(lines("b"))
    assert rotated(path) == []
    log.append(lines("c"))
    log.append(lines("d", "e", "f"))
    assert [found.name for found in rotated(path)] == [
        "audit-20251124T160000Z-1.jsonl",
        "audit-20251124T160000Z-3.jsonl",
    ]
    assert written(*rotated(path), path) == numbered(*"abcdef")
    assert written(path) == [(4, "d"), (5, "e"), (6, "f")]  # a batch stays together


def test_the_newest_rotated_files_stay_and_others_files_too(path: Path) -> None:
    log = opened(path, rotate_at=1, keep=2)
    for other in ("audit-2025.jsonl", "audit-20251124T160000Z-0.jsonl.gz", "audit.jsonl.1"):
        (path.parent / other).write_text("")
    log.append(lines(*range(8)))
    for name in range(8, 13):
        log.append(lines(name))
    assert sorted(found.name for found in path.parent.iterdir()) == [
        "audit-2025.jsonl",
        "audit-20251124T160000Z-0.jsonl.gz",
        "audit-20251124T160000Z-11.jsonl",
        "audit-20251124T160000Z-12.jsonl",
        "audit.jsonl",
        "audit.jsonl.1",
    ]


def test_a_file_that_cannot_be_renamed_grows_on_and_that_is_said_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(path, rotate_at=1)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        for name in "abc":
            log.append(lines(name))
    assert written(path) == numbered("a", "b", "c")
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: cannot be rotated and grows on: Permission denied"
    ]
    log.append(lines("d"))
    assert written(*rotated(path), path) == numbered(*"abcd")


@pytest.mark.parametrize("name", ["audit.jsonl.1", "audit.jsonl-20251124", "audit-20251124.jsonl"])
@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_logrotate_renames_and_nothing_is_lost(path: Path, name: str, told: bool) -> None:
    log = opened(path)
    log.append(lines("a", "b"))
    moved = path.rename(path.with_name(name))
    if told:
        log.reopen()
    log.append(lines("c"))
    assert written(moved, path) == numbered("a", "b", "c")
    path.unlink()
    log.close()
    log = opened(path)
    assert log.next_seq == 4  # the file of "c" is gone, and its number is not given twice
    assert log.doubts == ["record 3 is gone from the end of the log"]


def test_logrotate_empties_the_file_in_place(path: Path) -> None:
    log = opened(path)
    log.append(lines("a", "b"))
    os.truncate(path, 0)
    log.append(lines("c"))
    assert written(path) == [(3, "c")]


def test_a_removed_file_is_noticed(path: Path) -> None:
    log = opened(path)
    log.append(lines("a"))
    path.unlink()
    log.append(lines("b"))
    assert written(path) == [(2, "b")]


def test_reopening_from_another_thread_disturbs_no_write(path: Path) -> None:
    log = opened(path, rotate_at=20_000)
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            log.reopen()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for start in range(0, 400, 4):
            log.append(lines(*range(start, start + 4)))
    finally:
        done.set()
        thread.join(timeout=10)
    assert written(*rotated(path), path) == numbered(*range(400))


# Looking back.


def test_recent_ids_reach_as_far_as_asked_and_over_rotated_files(path: Path) -> None:
    log = opened(path)
    size = log.append(lines("a")).bytes
    log.close()
    log = opened(path, rotate_at=size * 2)
    for name in "bcde":
        log.append(lines(name))
    assert written(path) == [(5, "e")]
    assert log.recent_ids(size - 1) == set()
    assert log.recent_ids(size) == {"e"}
    assert log.recent_ids(size * 2 + 5) == {"d", "e"}
    assert log.recent_ids(size * 4) == {"b", "c", "d", "e"}
    assert log.recent_ids(HUGE) == {"a", "b", "c", "d", "e"}
