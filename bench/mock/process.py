"""The mock as a subprocess: started, asked, and ended for certain."""

import contextlib
import json
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.mock.config import MockConfig, dump

_READY_WITHIN = 20.0


class MockProcess:
    """A running mock: where it is, and its control."""

    def __init__(self, process: "subprocess.Popen[bytes]", ready: dict[str, Any]) -> None:
        self.process = process
        self.urls: dict[str, str] = ready["instances"]
        self.identity: str = ready["identity"]
        self.entra: str = ready["entra"]
        self._control: str = ready["control"]

    def fault(self, kind: str, **more: object) -> None:
        """Switch a fault on; the fields are `bench.mock.faults.Fault`'s."""
        self._ask("POST", "/faults", {"kind": kind, **more})

    def clear(self) -> None:
        self._ask("DELETE", "/faults")

    def identity_mode(self, mode: str, **more: float) -> None:
        self._ask("POST", "/identity", {"mode": mode, **more})

    def received(self, instance: str | None = None, since: float = 0.0) -> list[dict[str, Any]]:
        """The requests it remembers, the oldest first."""
        query = f"?since={since}" + (f"&instance={instance}" if instance else "")
        found: list[dict[str, Any]] = self._ask("GET", "/received" + query)
        return found

    def forget(self) -> None:
        self._ask("DELETE", "/received")

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = self._ask("GET", "/stats")
        return found

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - always http on loopback
            self._control + path, method=method, data=None if body is None else json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())


@contextlib.contextmanager
def mock_process(config: MockConfig, wrap: Callable[[list[str]], list[str]] | None = None) -> Iterator[MockProcess]:
    """Run the mock for as long as the context lasts. `wrap` may change the command, to pin it to a core for one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mock.toml"
        path.write_text(dump(config))
        command = [sys.executable, "-m", "bench", "mock", "--config", str(path)]
        with subprocess.Popen(wrap(command) if wrap else command, stdout=subprocess.PIPE) as process:
            try:
                yield MockProcess(process, _ready(process))
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


def _ready(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until and process.poll() is None:
        if select.select([process.stdout], [], [], 0.2)[0]:
            ready: dict[str, Any] = json.loads(process.stdout.readline())
            return ready
    raise RuntimeError("the mock did not start")
