"""What the gateway's processes take of the machine, each for itself: CPU, memory, descriptors. Linux's `/proc`."""

import time
from pathlib import Path

import msgspec

from bench.compare.cpu import cpu_seconds, family, memory_bytes

SUPERVISOR = "supervisor"


class Vitals(msgspec.Struct, frozen=True):
    """Of one process. `cpu_share`: of a core, since the look before."""

    cpu_share: float
    memory_mb: float
    descriptors: int


class Watch:
    """The gateway whose supervisor has this pid. Its workers have numbers; one that takes a dead one's place, that
    one's.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._names: dict[int, str] = {pid: SUPERVISOR}
        self._used: dict[int, float] = {}
        self._looked = time.monotonic()
        self.cpu = 0.0
        """Seconds of it that all processes together have used since the first look."""

    def look(self) -> dict[str, Vitals]:
        """Each process that is there, by its name."""
        now = time.monotonic()
        elapsed, self._looked = now - self._looked, now
        pids = family(self._pid)
        self._name(pids)
        found: dict[str, Vitals] = {}
        for pid in pids:
            used = cpu_seconds([pid])
            share = max(0.0, used - self._used.get(pid, used))
            self._used[pid] = used
            self.cpu += share
            found[self._names[pid]] = Vitals(share / max(elapsed, 1e-3), memory_bytes([pid]) / 1e6, _descriptors(pid))
        return found

    def _name(self, pids: list[int]) -> None:
        for gone in self._names.keys() - set(pids):
            del self._names[gone]
            self._used.pop(gone, None)
        taken = set(self._names.values())
        free = (name for number in range(1, 10_000) if (name := f"worker_{number}") not in taken)
        for pid in pids:
            if pid not in self._names:
                self._names[pid] = next(free)


def _descriptors(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
