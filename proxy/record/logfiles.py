"""The files one audit log is in: the one that is written, and what it was once, as renamed here or by logrotate.

Reads, and changes nothing.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

TAIL = 1 << 20
"""The end of a file that is looked at, in bytes. A record is shorter by far."""

_SIBLINGS = 16


class Found(NamedTuple):
    """A line that is a record."""

    seq: int
    request_id: str
    line: bytes


class _Written(msgspec.Struct):
    """What is asked of a record on file."""

    seq: int
    request_id: str = ""


_decode = msgspec.json.Decoder(_Written).decode


class LogFiles:
    """The files around `path`. Any method may raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = re.compile(rf"{re.escape(path.stem)}-\d{{8}}T\d{{6}}Z-(\d+){re.escape(path.suffix)}")

    def siblings(self, at_most: int | None = _SIBLINGS) -> list[Path]:
        """What was this file once, the newest first."""
        name, stem, suffix = self.path.name, f"{self.path.stem}-", self.path.suffix
        found = []
        with os.scandir(self.path.parent) as entries:
            for entry in entries:
                known = entry.name.startswith((f"{name}.", f"{name}-")) or (
                    entry.name.startswith(stem) and entry.name.endswith((suffix, f"{suffix}.gz"))
                )
                if known and entry.is_file():
                    found.append((entry.stat().st_mtime_ns, entry.name))
        return [self.path.with_name(name) for _, name in sorted(found, reverse=True)[:at_most]]

    def rotated(self) -> list[tuple[int, Path]]:
        """The files that were renamed here, each with the number of its first record, the oldest first."""
        return sorted(
            (int(match[1]), path) for path in self.siblings(None) if (match := self._own.fullmatch(path.name))
        )

    def newest(self) -> Found | None:
        """The record with the highest number in any of them."""
        lasts = (last_in(path) for path in (*self.siblings(), *([self.path] if self.path.exists() else ())))
        return max((last for last in lasts if last is not None), key=lambda found: found.seq, default=None)


def records(lines: Sequence[bytes]) -> Iterator[Found]:
    """Those of the lines that are records."""
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            written = _decode(line)
            yield Found(written.seq, written.request_id, line)


def last_in(path: Path) -> Found | None:
    return next(records(tail(path, TAIL).split(b"\n")[::-1]), None)


def first_in(path: Path) -> Found | None:
    with path.open("rb") as file:
        return next(records([file.readline(TAIL).rstrip(b"\n")]), None)


def tail(path: Path, at_most: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - at_most))
        return file.read(min(size, at_most))
