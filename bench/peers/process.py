"""A proxy's process: started bound to its cores, awaited, and ended for certain with all that it has started."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import lifeline
from bench.failure import BenchError

_READY_WITHIN = 20.0
_LEAVE_WITHIN = 8.0


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, *, cores: Sequence[int] = (), environment: dict[str, str] | None = None
) -> Iterator[int]:
    """Run a proxy, its output in `log`; its pid. It ends whatever happens, also should the bench be killed.

    `cores`: what it and all its processes are bound to; none: any. `environment` is added to the bench's own. It may
    open as many descriptors as the hard limit allows.
    """

    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)

    def prepare() -> None:
        lifeline.tie()
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        if cores:
            os.sched_setaffinity(0, cores)

    with log.open("wb") as output:
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
            start_new_session=True,
            preexec_fn=prepare,
        )
        try:
            yield running.pid
        finally:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_LEAVE_WITHIN)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def await_ready(ready: Callable[[], bool], pid: int, log: Path, within: float = _READY_WITHIN) -> None:
    """Raises `BenchError`, with the end of the proxy's log, if it does not get ready."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if ready():
                return
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.05)
    raise BenchError(f"a proxy did not start; its log ends with:\n{log.read_text(errors='replace')[-2000:]}")


def listening(port: int) -> Callable[[], bool]:
    """Whether someone accepts connections at this port of 127.0.0.1."""

    def ready() -> bool:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True

    return ready


def healthy(url: str) -> Callable[[], bool]:
    """Whether this URL answers 200."""

    def ready() -> bool:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - always http on loopback
            return bool(answer.status == 200)

    return ready


def free_ports(count: int) -> list[int]:
    """Different ones of 127.0.0.1, free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
