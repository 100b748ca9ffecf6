"""The audit log: one JSON object a line, numbered without a gap, appended whole or not at all.

Blocking by design: the supervisor writes in a thread. What a crash left behind is healed at the start (a torn last line
is cut off) and said.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

_UNNUMBERED = b'{"seq":0,'
_TAIL = 1 << 20


class AuditWriteError(Exception):
    """Records that could not be written. None of them is in the file; the caller still has them."""

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
        self.fact = fact


class AuditLog:
    """The file and its numbers. `torn` is the number of bytes of a broken last line that the start cut off."""

    def __init__(self, path: Path, *, rotate_at: int, keep: int = 0) -> None:
        self.path = path
        self.torn = 0
        self._rotate_at = rotate_at
        self._keep = keep
        self._next = 1
        self._descriptor = -1
        self._size = 0
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._open()
        if not self._size:
            self._next = max((_last_seq(rotated) for rotated in self._rotated()[-1:]), default=0) + 1

    @property
    def next_seq(self) -> int:
        return self._next

    def append(self, lines: Sequence[bytes]) -> None:
        """Number and write records, each the JSON of a `Record` whose `seq` is 0. Raises `AuditWriteError`."""
        try:
            if self._size and self._size >= self._rotate_at:
                self._rotate()
            if self._descriptor < 0:
                self._open()
        except OSError as error:
            raise AuditWriteError(self.path, error.strerror or "cannot be opened") from None
        data = b"".join(_numbered(line, self._next + index) for index, line in enumerate(lines))
        self._write(data)
        self._next += len(lines)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise AuditWriteError(self.path, error.strerror or "cannot be written") from None
        self._size += len(data)

    def reopen(self) -> None:
        """Let go of the file; the next record opens it anew. For whoever renames it from outside."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    close = reopen

    def recent_ids(self, at_most: int) -> set[str]:
        """The request ids in the last `at_most` bytes."""
        ids = set()
        for line in _tail(self.path, at_most).splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                ids.add(str(json.loads(line)["request_id"]))
        return ids

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        tail = _tail(self.path, _TAIL)
        whole = tail.rfind(b"\n") + 1
        if whole != len(tail):
            self.torn += len(tail) - whole
            self._size -= len(tail) - whole
            os.ftruncate(self._descriptor, self._size)
        if self._size:
            self._next = max(self._next, _last_seq(self.path) + 1)

    def _rotate(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        os.rename(self.path, self.path.with_name(f"{self.path.stem}-{stamp}-{self._next - 1}{self.path.suffix}"))
        self.reopen()
        if self._keep:
            for old in self._rotated()[: -self._keep]:
                old.unlink(missing_ok=True)

    def _rotated(self) -> list[Path]:
        """Rotated files, the oldest first: by the number of the last record in each."""
        found = self.path.parent.glob(f"{self.path.stem}-*-*{self.path.suffix}")
        numbered = [(path.stem.rpartition("-")[2], path) for path in found]
        return [path for number, path in sorted((int(n), p) for n, p in numbered if n.isdigit())]


def _numbered(line: bytes, seq: int) -> bytes:
    assert line.startswith(_UNNUMBERED)
    return b'{"seq":%d,%b\n' % (seq, line[len(_UNNUMBERED) :])


def _tail(path: Path, at_most: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - at_most))
        return file.read()


def _last_seq(path: Path) -> int:
    for line in reversed(_tail(path, _TAIL).splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return int(json.loads(line)["seq"])
    return 0
