"""Room in the audit log, granted ahead: with `audit.required`, a worker begins no request whose record has none.

Each worker is told how many records it may have brought about in all. What it was told and has not sent yet, and what
is queued here, never comes to more than the disk has room for. So a request waits for no disk, and none is served whose
record is not certain to be written. While writing fails, nothing is granted at all.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

RECORD_BYTES = 2048
"""A record's share of the disk: as much as a journal keeps of one."""

_SPARE = 64 * RECORD_BYTES  # for the few that are longer
_BEHIND = 2_000  # records a worker may have ended and not seen written, beside what is in flight


class Grantee(Protocol):
    """A worker, as far as room goes: how many records it has sent, how many it was told it may, and how to tell it.

    `promised` is the most it was ever told: told less, it may have begun as many already.
    """

    received: int
    permitted: int
    promised: int
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
        return max(0, min(self._each, _free(room, queued) // self._workers))

    def grant(self, grantees: Sequence[Grantee], room: int, queued: int) -> None:
        """Tell each worker what it may bring about in all; not every little that it is more."""
        share = self.share(room, queued)
        left = max(0, _free(room, queued) - sum(max(0, each.promised - each.received) for each in grantees))
        for grantee in grantees:
            may = min(grantee.received + share, max(grantee.promised, grantee.received) + left)
            more = may - grantee.permitted
            if more < 0 or more > self._each // 8 or (more and share < self._each // 4):
                left -= max(0, may - max(grantee.promised, grantee.received))
                grantee.permitted = may
                grantee.promised = max(grantee.promised, may)
                grantee.permit(may)


def _free(room: int, queued: int) -> int:
    """The records there is room for, beside those that are queued."""
    return (room - _SPARE) // RECORD_BYTES - queued
