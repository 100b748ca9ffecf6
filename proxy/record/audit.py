"""The audit log: one JSON object a line, numbered without a gap, appended whole or not at all.

Blocking by design: the supervisor writes in a thread. There is one writer, which holds a lock on the file. What a crash
left behind is healed when the file is opened: a torn last record, never acknowledged to anyone, is cut off, and that is
logged. Numbers go on over restarts and rotations, the gateway's own and those of logrotate. A file that is renamed or
removed from outside is noticed before the next write.

Written means handed to the kernel: it outlives any death of the gateway, and what the machine's own death takes is the
file system's to say.
"""

import contextlib
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

_UNNUMBERED = b'{"seq":0,'
_BEGINNING = b'{"seq":'
_TAIL = 1 << 20  # a torn record is shorter by far
_SIBLINGS = 16

_log = logging.getLogger("penstock.audit")


class AuditWriteError(OSError):
    """The log cannot be written, and `fact` says why. No record of the call is in the file; the caller has them all."""

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
        self.fact = fact


class Appended(NamedTuple):
    records: int
    bytes: int


class _Written(msgspec.Struct):
    """What is asked of a record on file."""

    seq: int
    request_id: str = ""


_decode = msgspec.json.Decoder(_Written).decode


class AuditLog:
    """The file and its numbers, for one thread at a time; `reopen` alone may be called from another.

    `rotate_at` is in bytes; of the files rotated here the newest `keep` stay, 0: all. `torn` counts the bytes of broken
    last records that were cut off. Raises `AuditWriteError` where the log could not be written to.
    """

    def __init__(self, path: Path, *, rotate_at: int, keep: int = 0, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self.torn = 0
        self._rotate_at = rotate_at
        self._keep = keep
        self._wall = wall
        self._descriptor = -1
        self._stale = False
        self._whole: int | None = None  # what a failed write is still to be cut back to
        self._cannot_rotate = False
        self._own = re.compile(rf"{re.escape(path.stem)}-\d{{8}}T\d{{6}}Z-(\d+){re.escape(path.suffix)}")
        with self._facts():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._next = 1 + max((_last_seq(sibling) or 0 for sibling in self._siblings()), default=0)
            self._open()

    def __repr__(self) -> str:
        return f"<AuditLog {self.path.name} next={self._next}>"

    @property
    def next_seq(self) -> int:
        return self._next

    def append(self, lines: Sequence[bytes]) -> Appended:
        """Number and write records, each the JSON of a `Record` whose `seq` is 0. Raises `AuditWriteError`."""
        with self._facts():
            if self._descriptor >= 0 and (self._stale or self._was_moved()):
                self.close()
            if self._descriptor < 0:
                self._open()
            self._cut_back()
            data = b"".join(_numbered(line, seq) for seq, line in enumerate(lines, self._next))
            size = os.fstat(self._descriptor).st_size
            if size and size + len(data) > self._rotate_at and self._rotate():
                size = 0
            self._write(data, size)
        self._next += len(lines)
        return Appended(len(lines), len(data))

    def reopen(self) -> None:
        """Have the next record open the file anew: it may have been renamed by now, or be on another disk."""
        self._stale = True

    def close(self) -> None:
        """Let go of the file. A record that comes nevertheless opens it again."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._cut_back()
            os.close(self._descriptor)
        self._descriptor = -1
        self._whole = None

    def recent_ids(self, at_most: int) -> set[str]:
        """The request ids in the last `at_most` bytes, over rotated files too. Raises `AuditWriteError`."""
        ids: set[str] = set()
        with self._facts():
            for path in (self.path, *self._siblings()):
                tail = _tail(path, at_most)
                ids.update(record.request_id for record in _records(tail.split(b"\n")))
                at_most -= len(tail)
                if at_most <= 0:
                    break
        return ids

    # The file.

    def _open(self) -> None:
        self._stale = False
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AuditWriteError(self.path, "is not a regular file")
            self._lock(descriptor)
            self._heal(descriptor)
            if os.fstat(descriptor).st_size:
                last = _last_seq(self.path)
                if last is None:
                    raise AuditWriteError(self.path, "ends with something else than audit records; move it away")
                self._next = max(self._next, last + 1)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditWriteError(self.path, "is being written by another process") from None
        except OSError:
            return  # a file system without locks

    def _heal(self, descriptor: int) -> None:
        """Cut off a last record without its end; after a loss of power there may be zeroes in its place."""
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        written = torn.strip(b"\0")
        if len(torn) == _TAIL or not (written.startswith(_BEGINNING) or _BEGINNING.startswith(written)):
            raise AuditWriteError(self.path, "ends with something else than audit records; move it away")
        os.ftruncate(descriptor, size - len(torn))
        self.torn += len(torn)
        _log.warning("%s: the last record was torn, %d bytes are cut off", self.path, len(torn))

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _write(self, data: bytes, size: int) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._whole = size
            with contextlib.suppress(OSError):
                self._cut_back()  # if not now, then before the next write
            raise

    def _cut_back(self) -> None:
        if self._whole is not None:
            os.ftruncate(self._descriptor, self._whole)
            self._whole = None

    # Rotation.

    def _rotate(self) -> bool:
        """Rename the file and begin a new one. Where it cannot be renamed it grows on: a log too long beats none."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        target = self.path.with_name(f"{self.path.stem}-{stamp}-{self._first_seq()}{self.path.suffix}")
        try:
            os.rename(self.path, target)
        except OSError as error:
            if not self._cannot_rotate:
                _log.error("%s: cannot be rotated and grows on: %s", self.path, error.strerror)
            self._cannot_rotate = True
            return False
        self._cannot_rotate = False
        self.close()
        self._open()
        self._prune()
        return True

    def _first_seq(self) -> int:
        with self.path.open("rb") as file:
            return next((record.seq for record in _records([file.readline(_TAIL)])), self._next)

    def _prune(self) -> None:
        if not self._keep:
            return
        rotated = [(int(match[1]), path) for path in self._siblings(None) if (match := self._own.fullmatch(path.name))]
        for _, old in sorted(rotated)[: -self._keep]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                _log.error("%s: cannot be removed: %s", old, error.strerror)

    def _siblings(self, at_most: int | None = _SIBLINGS) -> list[Path]:
        """What was this file once, the newest first: as renamed here or by logrotate, in any of its ways."""
        name, stem, suffix = self.path.name, f"{self.path.stem}-", self.path.suffix
        found = []
        with os.scandir(self.path.parent) as entries:
            for entry in entries:
                known = entry.name.startswith((f"{name}.", f"{name}-")) or (
                    entry.name.startswith(stem) and entry.name.endswith(suffix)
                )
                if known and entry.is_file():
                    found.append((entry.stat().st_mtime_ns, entry.name))
        return [self.path.with_name(name) for _, name in sorted(found, reverse=True)[:at_most]]

    @contextlib.contextmanager
    def _facts(self) -> Iterator[None]:
        """Any failure of the file as `AuditWriteError`."""
        try:
            yield
        except AuditWriteError:
            raise
        except OSError as error:
            raise AuditWriteError(self.path, error.strerror or type(error).__name__) from None


def _numbered(line: bytes, seq: int) -> bytes:
    assert line.startswith(_UNNUMBERED)
    return b'{"seq":%d,%b\n' % (seq, line[len(_UNNUMBERED) :])


def _records(lines: Sequence[bytes]) -> Iterator[_Written]:
    """Those of the lines that are records."""
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            yield _decode(line)


def _last_seq(path: Path) -> int | None:
    return next((record.seq for record in _records(_tail(path, _TAIL).split(b"\n")[::-1])), None)


def _tail(path: Path, at_most: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - at_most))
        return file.read(min(size, at_most))
