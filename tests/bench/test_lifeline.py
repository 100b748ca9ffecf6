"""What the bench has started ends with it, also when it is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

_STARTS = """
import subprocess, sys
from bench import lifeline
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, preexec_fn=lifeline.tie)
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_ends_with_the_one_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", _STARTS], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _runs(child)
        parent.kill()
    until = time.monotonic() + 20
    while _runs(child) and time.monotonic() < until:
        os.sched_yield()
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # one that nobody has asked after is over all the same
