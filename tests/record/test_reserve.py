"""Room that is held is there when the disk is not, and costs readers nothing."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from proxy.record import reserve
from proxy.record.audit import AuditLog
from tests.record.test_audit import HUGE, KEY, WHEN, checkpoint, lines, rotated, written

SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "audit.jsonl"


def opened(path: Path, rotate_at: int = HUGE) -> AuditLog:
    return AuditLog(path, KEY, checkpoint(path), rotate_at=rotate_at, reserve=SIZE, wall=lambda: WHEN)


def held(path: Path) -> int:
    found = path.stat()
    return found.st_blocks * 512 - found.st_size


def test_room_is_held_beyond_the_end_and_follows_it(path: Path) -> None:
    log = opened(path)
    assert log.room == SIZE
    assert held(path) >= SIZE
    assert path.stat().st_size == 0
    for _ in range(40):
        log.append(lines(*range(50)))
        assert SIZE * 3 // 4 <= log.room <= SIZE
        assert held(path) >= log.room
    log.close()
    assert held(path) < SIZE // 4, "given back"
    assert len(written(path)) == 2000
    assert opened(path).room == SIZE


def test_each_file_holds_its_own_and_what_is_rotated_holds_none(path: Path) -> None:
    log = opened(path, rotate_at=20_000)
    for _ in range(3):
        log.append(lines(*range(30)))
    assert len(rotated(path)) == 2
    assert all(held(file) < SIZE // 4 for file in rotated(path))
    assert held(path) >= log.room >= SIZE * 3 // 4
    os.truncate(path, 0)
    log.append(lines("after"))
    assert held(path) >= log.room >= SIZE * 3 // 4


def test_a_disk_that_is_full_gives_less_room_and_gives_it_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(path, rotate_at=20_000)
    with monkeypatch.context() as patch:
        patch.setattr(reserve, "_libc", FullDisk())
        patch.setattr(reserve.Reserve, "can_move", lambda *_: False)
        before = log.room
        written = sum(log.append(lines(*range(30))).bytes for _ in range(30))
        assert log.room == before - written
        assert rotated(path) == [], "another file would have no room"
        log.replenish()
        assert log.room == before - written
    log.replenish()
    assert log.room == SIZE
    log.append(lines("a"))
    assert len(rotated(path)) == 1


class FullDisk:
    """A C library on whose disks there is no room."""

    def fallocate(self, *_: int) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1


def test_without_a_reserve_nothing_is_held(path: Path) -> None:
    log = AuditLog(path, KEY, checkpoint(path), rotate_at=HUGE)
    log.append(lines("a"))
    assert log.room == 0
    assert held(path) < SIZE // 4
