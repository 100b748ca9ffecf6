"""Room in the audit log, granted ahead: with `audit.required`, a worker begins no request whose record has none.

Each worker is told how many records it may have brought about in all. What it was told and has not sent yet, and what
is queued here, never comes to more than the disk has room for. So a request waits for no disk, and none is served whose
record is not certain to be written. While writing fails, nothing is granted at all.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

RECORD_BYTES = 2048
"""A record's share of the disk: as much as a journal keeps of one."""

_SPARE = 64 * RECORD_BYTES  # for the few that are longer
_BEHIND = 2_000  # records a worker may have ended and not seen written, beside what is in flight


class Grantee(Protocol):
    """A worker, as far as room goes: how many records it has sent, how many it was told it may, and how to tell it."""

    received: int
    permitted: int
    permit: Callable[[int], object]


class Room:
    """Shares of `workers` workers with `requests` in flight each, at most."""

    def __init__(self, workers: int, requests: int) -> None:
        self._workers = workers
        self._each = requests + _BEHIND

    def __repr__(self) -> str:
        return f"<Room {self._each} for each of {self._workers}>"

    @property
    def size(self) -> int:
        """Bytes to hold on disk, for all to have their full share."""
        return self._workers * self._each * RECORD_BYTES + _SPARE

    def share(self, room: int, queued: int) -> int:
        """How many records a worker may bring about, with `room` bytes on disk and `queued` records before them."""
        free = (room - _SPARE) // RECORD_BYTES - queued
        return max(0, min(self._each, free // self._workers))

    def grant(self, grantees: Iterable[Grantee], share: int) -> None:
        """Tell each worker what it may bring about in all; not every little that it is more."""
        for grantee in grantees:
            more = grantee.received + share - grantee.permitted
            if more < 0 or more > self._each // 8 or (more and share < self._each // 4):
                grantee.permitted += more
                grantee.permit(grantee.permitted)
