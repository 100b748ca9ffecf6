"""A peer's processes are awaited, and gone when its context is over, however it behaves."""

import os
import sys
import time
from pathlib import Path

import pytest

from bench.compare.cpu import family
from bench.failure import BenchError
from bench.peers.process import await_ready, free_ports, listening, process

_SERVES = """
import os, signal, socket, sys, time
{first}
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""
_STUBBORN_CHILD = """
if not os.fork():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Also when no one has asked how it ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("first", ["", _STUBBORN_CHILD])
def test_started_awaited_and_ended(tmp_path: Path, first: str) -> None:
    (port,) = free_ports(1)
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", _SERVES.format(first=first), str(port)]
    with process(command, tmp_path / "log", cores=(core,), environment={"A": "b"}) as pid:
        await_ready(listening(port), pid, tmp_path / "log")
        processes = family(pid)
        assert len(processes) == (2 if first else 1)
        assert all(os.sched_getaffinity(one) == {core} for one in processes)
        assert b"A=b\0" in Path(f"/proc/{pid}/environ").read_bytes()
    until = time.monotonic() + 10
    while not all(map(gone, processes)) and time.monotonic() < until:
        time.sleep(0.01)
    assert all(map(gone, processes))


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such option: --tls')"]
    with (
        process(command, tmp_path / "log") as pid,
        pytest.raises(BenchError, match="did not start; its log ends with:\nno such option: --tls"),
    ):
        await_ready(lambda: False, pid, tmp_path / "log")


def test_one_that_is_not_ready_in_time(tmp_path: Path) -> None:
    with (
        process([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log") as pid,
        pytest.raises(BenchError, match="did not start"),
    ):
        await_ready(lambda: False, pid, tmp_path / "log", within=0.1)
