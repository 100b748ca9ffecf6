"""The mock as a subprocess: started, asked, and ended for certain, also when whoever started it is killed."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import lifeline
from bench.mock.client import MockControl
from bench.mock.config import MockConfig, dump

_READY_WITHIN = 20.0
_END_WITHIN = 5.0
_READY_LINE_AT_MOST = 1 << 20


class MockFailed(Exception):
    """The mock did not start; its own words are on stderr."""


class MockProcess(MockControl):
    """A running mock: where its parts are, and, being its own control, what it can be told."""

    def __init__(self, process: "subprocess.Popen[bytes]", ready: dict[str, Any]) -> None:
        super().__init__(ready["control"])
        self.process = process
        self.urls: dict[str, str] = ready["instances"]
        self.identity: str = ready["identity"]
        self.entra: str = ready["entra"]
        self.issuers: str = ready["issuers"]
        self.vault: str = ready["vault"]
        self.revocation_url: str = ready["revocation"]

    @property
    def control(self) -> MockControl:
        return self


@contextlib.contextmanager
def mock_process(
    config: MockConfig | Path, wrap: Callable[[list[str]], list[str]] | None = None
) -> Iterator[MockProcess]:
    """Run the mock for as long as the context lasts. `wrap` may change the command, to pin it to a core for one.
    Raises `MockFailed`.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(config, MockConfig):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "mock.toml"
            path.write_text(dump(config), encoding="utf-8")
        else:
            path = config
        command = [sys.executable, "-m", "bench", "mock", "--config", str(path)]
        process = stack.enter_context(
            subprocess.Popen(wrap(command) if wrap else command, stdout=subprocess.PIPE, preexec_fn=lifeline.tie)
        )
        stack.callback(_end, process)
        yield MockProcess(process, _ready(process))


def _ready(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The ready line, read without waiting longer than it may take."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    until = time.monotonic() + _READY_WITHIN
    line = b""
    while not line.endswith(b"\n") and len(line) < _READY_LINE_AT_MOST:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise MockFailed(f"the mock was not ready within {_READY_WITHIN:g} s")
        part = os.read(descriptor, 1 << 16)
        if not part:
            raise MockFailed(f"the mock ended before it was ready, with {process.wait(_END_WITHIN)}")
        line += part
    ready: dict[str, Any] = json.loads(line)
    return ready


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
