"""What processes take, by the kernel's account."""

import os
import subprocess
import sys

from bench.scenarios.vitals import SUPERVISOR, Watch

_CHILD = "import sys; print(1, flush=True); sys.stdin.read()"


def child() -> "subprocess.Popen[bytes]":
    running = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline()
    return running


def test_each_process_is_accounted_for_and_a_dead_ones_number_is_given_again() -> None:
    watch = Watch(os.getpid())
    before = set(watch.look())  # whatever else the tests have started
    assert SUPERVISOR in before
    with child() as first, child() as second:
        found = watch.look()
        assert len(found) == len(before) + 2
        assert all(one.memory_mb > 0 and one.descriptors >= 3 for one in found.values())
        first.communicate()
        with child() as third:
            assert set(watch.look()) == set(found)
            third.communicate()
        second.communicate()
    assert set(watch.look()) == before
