"""The journal of one worker: records of requests it has admitted and not yet seen written, in a mapped file.

A store to mapped memory costs no system call, and the kernel keeps the page when the process is killed. So whatever a
worker was doing when it died is here, and its supervisor reads it.

The file is a header and slots of one size. A slot has two halves: the open record, written at admission, and the final
one. Each half is a length, a checksum and bytes; one state byte, written last, says which half counts. A death between
any two stores leaves the slot as it was before. Bounded: a full journal, or a record longer than half a slot, is
counted in `overflowed` and not kept.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

SLOTS = 8192
SLOT_BYTES = 4096

_MAGIC = b"PENSTOCK"
_VERSION = 1
_HEADER = struct.Struct("=8sIII")
_HEADER_BYTES = 64
_HALF = struct.Struct("=II")
_HALVES_AT = 8  # after the state byte, aligned


class EntryState(Enum):
    """The state byte of a slot that holds something."""

    OPEN = 1
    FINAL = 2


_FREE = 0


class JournalError(Exception):
    """A file that is no journal, or not one of this version."""

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
        self.fact = fact


class Entry(NamedTuple):
    slot: int
    state: EntryState
    line: bytes


class Journal:
    """An open journal. `overflowed` counts the records there was no room for."""

    def __init__(self, path: Path, slots: int, slot_bytes: int, descriptor: int) -> None:
        self.path = path
        self.overflowed = 0
        self._slot_bytes = slot_bytes
        self._half = (slot_bytes - _HALVES_AT) // 2
        self._room = self._half - _HALF.size
        self._count = slots
        self._map = mmap.mmap(descriptor, _HEADER_BYTES + slots * slot_bytes)
        self._free = [slot for slot in range(slots - 1, -1, -1) if not self._map[self._at(slot)]]

    def __repr__(self) -> str:
        return f"<Journal {self.path.name} {self._count - len(self._free)}/{self._count}>"

    @classmethod
    def create(cls, path: Path, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> "Journal":
        """A new, empty journal, readable by its owner alone. Raises `OSError`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(descriptor, _HEADER_BYTES + slots * slot_bytes)
            os.pwrite(descriptor, _HEADER.pack(_MAGIC, _VERSION, slots, slot_bytes), 0)
            return cls(path, slots, slot_bytes, descriptor)
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
            if slot_bytes < 64 or os.fstat(descriptor).st_size != _HEADER_BYTES + slots * slot_bytes or not slots:
                raise JournalError(path, "journal of the wrong size")
            return cls(path, slots, slot_bytes, descriptor)
        finally:
            os.close(descriptor)

    def admit(self, line: bytes) -> int:
        """Keep an open record; its slot, or -1 if there is no room."""
        if not self._free or len(line) > self._room:
            self.overflowed += 1
            return -1
        slot = self._free.pop()
        at = self._at(slot)
        self._put(at + _HALVES_AT, line)
        self._map[at] = EntryState.OPEN.value
        return slot

    def finish(self, slot: int, line: bytes) -> bool:
        """Replace the open record by the final one; false, and the open one stays, if it is too long."""
        if len(line) > self._room:
            self.overflowed += 1
            return False
        at = self._at(slot)
        self._put(at + _HALVES_AT + self._half, line)
        self._map[at] = EntryState.FINAL.value
        return True

    def free(self, slot: int) -> None:
        """The record is written elsewhere; twice is once."""
        at = self._at(slot)
        if self._map[at] != _FREE:
            self._map[at] = _FREE
            self._free.append(slot)

    def entries(self) -> Iterator[Entry]:
        """Everything kept. A half that does not match its checksum is passed over."""
        for slot in range(self._count):
            at = self._at(slot)
            byte = self._map[at]
            if byte not in (EntryState.OPEN.value, EntryState.FINAL.value):
                continue
            state = EntryState(byte)
            line = self._get(at + _HALVES_AT + (self._half if state is EntryState.FINAL else 0))
            if line is not None:
                yield Entry(slot, state, line)

    def close(self) -> None:
        self._map.close()

    def unlink(self) -> None:
        self.path.unlink(missing_ok=True)

    def _at(self, slot: int) -> int:
        return _HEADER_BYTES + slot * self._slot_bytes

    def _put(self, at: int, line: bytes) -> None:
        start = at + _HALF.size
        self._map[start : start + len(line)] = line
        _HALF.pack_into(self._map, at, len(line), zlib.crc32(line))

    def _get(self, at: int) -> bytes | None:
        length, checksum = _HALF.unpack_from(self._map, at)
        if length > self._room:
            return None
        line = self._map[at + _HALF.size : at + _HALF.size + length]
        return line if zlib.crc32(line) == checksum else None
