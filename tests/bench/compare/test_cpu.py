"""The kernel's account covers a process and what it has started."""

import os
import subprocess
import sys
import threading
import time

from bench.compare.cpu import busy_seconds, cpu_seconds, family, memory_bytes, threads

_PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"


def test_a_family_has_its_grandchildren() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE) as parent:
        until = time.monotonic() + 10
        while len(family(parent.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        found = family(parent.pid)
        assert found[0] == parent.pid
        assert len(found) == 2
        assert parent.pid in family(os.getpid())
        assert memory_bytes(found) > memory_bytes([parent.pid]) > 0


def test_every_thread_of_a_process_is_found() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert {os.getpid(), other.native_id} <= set(threads([os.getpid()]))
    finally:
        over.set()
        other.join()


def test_work_is_accounted_for() -> None:
    before, busy = cpu_seconds([os.getpid()]), busy_seconds()
    sum(number * number for number in range(500_000))
    assert cpu_seconds([os.getpid()]) > before
    assert busy_seconds() >= busy


def test_the_work_of_threads_that_have_ended_is_kept() -> None:
    before = cpu_seconds([os.getpid()])
    worked: list[float] = []

    def work() -> None:
        while time.thread_time() < 0.05:
            pass
        worked.append(time.thread_time())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert cpu_seconds([os.getpid()]) - before >= worked[0]


def test_another_process_is_accounted_for() -> None:
    code = "import time\nwhile time.process_time() < 0.05: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert cpu_seconds([other.pid]) >= 0.05


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert threads([gone.pid]) == []
    assert cpu_seconds([gone.pid]) == 0
    assert memory_bytes([gone.pid]) == 0
