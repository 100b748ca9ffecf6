"""The journal of one worker: records of requests it has admitted and not yet seen written, in a mapped file.

A store to mapped memory costs no system call, and the kernel keeps the page when the process is killed. So whatever a
worker was doing when it died is here, and its supervisor reads it. (A machine that loses power may lose it.)

The file is a header, one state byte a slot, and slots of one size. A slot has two halves: the open record, written at
admission, and the final one. Each half is a length, a checksum and bytes. The state byte is written last and says which
half counts, so a death between any two stores leaves what was there before. States lie together, then all open halves,
then all final ones: opening, allocating and reading touch no page of a slot that is not in use, and a stream under way
holds half a page.

Bounded: a full journal, or a record longer than half a slot, is counted in `overflowed` and not kept. The file's blocks
are reserved when it is made: a store that finds the disk full would be a SIGBUS.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

SLOTS = 8192
SLOT_BYTES = 4096

_MAGIC = b"PENSTOCK"
_VERSION = 3
_HEADER = struct.Struct("=8sIII")
_STATES_AT = 64
_HALF = struct.Struct("=II")
_HALF_HEAD = _HALF.size
_SMALLEST_SLOT = 64
_PAGE = 4096
_SEED = 1  # so that zeroes are no record


class EntryState(Enum):
    """The state byte of a slot that holds something."""

    OPEN = 1
    FINAL = 2


_FREE = 0
_OPEN = EntryState.OPEN.value
_FINAL = EntryState.FINAL.value


class JournalError(Exception):
    """A file that is no journal, or not one that this build reads. `fact` says why."""

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
        self.fact = fact


class Entry(NamedTuple):
    slot: int
    state: EntryState
    line: bytes


class Journal:
    """An open journal, for one thread.

    `room` is how long a record may be, in bytes. `overflowed` counts the records there was no room for, `damaged` the
    slots that `entries` last found unreadable.
    """

    def __init__(self, path: Path, slots: int, slot_bytes: int, descriptor: int) -> None:
        self.path = path
        self.overflowed = 0
        self.damaged = 0
        self._slots = slots
        self._half = slot_bytes // 2
        self.room = self._half - _HALF_HEAD
        self._open_at = _slots_at(slots)
        self._final_at = self._open_at + slots * self._half
        self._map = mmap.mmap(descriptor, _file_bytes(slots, slot_bytes))
        states = self._states()
        self._free = [slot for slot in range(slots - 1, -1, -1) if states[slot] == _FREE]

    def __repr__(self) -> str:
        return f"<Journal {self.path.name} {self._slots - len(self._free)}/{self._slots}>"

    @classmethod
    def create(cls, path: Path, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> "Journal":
        """A new, empty journal, readable by its owner alone. Raises `OSError`, and leaves no file if it does."""
        if slots < 1 or slot_bytes < _SMALLEST_SLOT:
            raise ValueError(f"a journal has at least one slot of {_SMALLEST_SLOT} bytes")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _file_bytes(slots, slot_bytes))
            os.pwrite(descriptor, _HEADER.pack(_MAGIC, _VERSION, slots, slot_bytes), 0)
            return cls(path, slots, slot_bytes, descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """An existing journal. Raises `OSError`, `JournalError`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            header = os.pread(descriptor, _HEADER.size, 0)
            if len(header) < _HEADER.size:
                raise JournalError(path, "too short for a journal")
            magic, version, slots, slot_bytes = _HEADER.unpack(header)
            if magic != _MAGIC:
                raise JournalError(path, "not a journal")
            if version != _VERSION:
                raise JournalError(path, f"journal of version {version}, this build reads {_VERSION}")
            if not slots or slot_bytes < _SMALLEST_SLOT:
                raise JournalError(path, f"journal of {slots} slots of {slot_bytes} bytes")
            found, expected = os.fstat(descriptor).st_size, _file_bytes(slots, slot_bytes)
            if found != expected:
                raise JournalError(path, f"journal of {found} bytes, its header says {expected}")
            return cls(path, slots, slot_bytes, descriptor)
        finally:
            os.close(descriptor)

    # The hot path: for each request one of each, under 2 µs together with checksums and copies of usual records.

    def admit(self, line: bytes) -> int:
        """Keep an open record; its slot, or -1 if there is no room."""
        length = len(line)
        if length > self.room or not self._free:
            self.overflowed += 1
            return -1
        slot = self._free.pop()
        at = self._open_at + slot * self._half
        _HALF.pack_into(self._map, at, length, crc32(line, _SEED))
        at += _HALF_HEAD
        self._map[at : at + length] = line
        self._map[_STATES_AT + slot] = _OPEN
        return slot

    def finish(self, slot: int, line: bytes) -> bool:
        """Replace the open record by the final one. False where there is no open one, or, and it stays, if too long."""
        if slot < 0 or self._map[_STATES_AT + slot] != _OPEN:
            return False
        length = len(line)
        if length > self.room:
            self.overflowed += 1
            return False
        at = self._final_at + slot * self._half
        _HALF.pack_into(self._map, at, length, crc32(line, _SEED))
        at += _HALF_HEAD
        self._map[at : at + length] = line
        self._map[_STATES_AT + slot] = _FINAL
        return True

    def free(self, slot: int) -> None:
        """The record is written elsewhere. Twice is once, and -1 is nothing."""
        at = _STATES_AT + slot
        if slot >= 0 and self._map[at] != _FREE:
            self._map[at] = _FREE
            self._free.append(slot)

    # For whoever reads what a worker left.

    def entries(self) -> Iterator[Entry]:
        """Everything kept. Of a final record that does not match its checksum, the open one."""
        self.damaged = 0
        for slot, state in enumerate(self._states()):
            if state == _FREE:
                continue
            at = slot * self._half
            if state == _FINAL and (line := self._read(self._final_at + at)) is not None:
                yield Entry(slot, EntryState.FINAL, line)
            elif (line := self._read(self._open_at + at)) is not None:
                yield Entry(slot, EntryState.OPEN, line)
            else:
                self.damaged += 1

    def close(self) -> None:
        self._map.close()

    def unlink(self) -> None:
        self.path.unlink(missing_ok=True)

    def _states(self) -> bytes:
        return self._map[_STATES_AT : _STATES_AT + self._slots]

    def _read(self, at: int) -> bytes | None:
        length, checksum = _HALF.unpack_from(self._map, at)
        if length > self.room:
            return None
        line = self._map[at + _HALF_HEAD : at + _HALF_HEAD + length]
        return line if crc32(line, _SEED) == checksum else None


def _slots_at(slots: int) -> int:
    """Where slots begin: on the page after the states."""
    return -(-(_STATES_AT + slots) // _PAGE) * _PAGE


def _file_bytes(slots: int, slot_bytes: int) -> int:
    return _slots_at(slots) + slots * slot_bytes
