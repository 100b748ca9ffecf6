"""Telling that files have changed, by looking: works on every file system, and needs no descriptor a file."""

import os
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int]


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp | None]:
    """Inode, size and time of change of each file; None for one that is not there."""
    found: dict[Path, Stamp | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = stamp_of(status)
    return found


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns
