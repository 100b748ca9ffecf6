"""CPU time, memory and descriptors of processes, by the kernel's own account."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

_SCHEDULED = 2  # the clock of what the scheduler gave (Linux: `CPUCLOCK_SCHED`)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time, in nanosecond steps, of all threads: of those as well that have ended, whose time would be
    taken back from what the others use meanwhile (the process' own clock, see `clock_getcpuclockid(3)`).
    """
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~pid << 3 | _SCHEDULED)
    return total


def threads(pids: Sequence[int]) -> list[int]:
    """All of these processes, as they are now. A process has its own pid among them."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found += map(int, os.listdir(f"/proc/{pid}/task"))
    return found


def busy_seconds() -> float:
    """What all cores have worked, whoever for, in steps of a clock tick (`/proc/stat`)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and iowait


def memory_bytes(pids: Sequence[int]) -> int:
    """Proportional set size (`/proc/PID/smaps_rollup`): memory that processes share counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def descriptors(pids: Sequence[int]) -> int:
    """How many files, sockets and the like they have open."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return total


def pin(core: int) -> None:
    """Bind the calling process, and all it starts from here on, to one core."""
    os.sched_setaffinity(0, {core})
