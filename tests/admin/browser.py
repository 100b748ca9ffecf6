"""Chromium, headless: asked once for a document as it came to rest, or driven over its DevTools protocol."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio

_ARGUMENTS = (
    "chromium --headless --no-sandbox --disable-gpu --disable-background-networking --disable-dev-shm-usage "
    "--disable-sync --disable-component-update --no-first-run --no-proxy-server"
).split()

_MOVE_PIPES = """
import fcntl, os, sys
moved = [fcntl.fcntl(int(given), fcntl.F_DUPFD, 10) for given in sys.argv[1:3]]
for source, place in zip(moved, (3, 4)):
    os.dup2(source, place)
    os.close(source)
os.execvp(sys.argv[3], sys.argv[3:])
"""


async def dump(profile: Path, address: str, *arguments: str) -> tuple[str, str]:
    """The document as it stands once the page has come to rest, and what the browser's console said about it."""
    command = [*_ARGUMENTS, f"--user-data-dir={profile}", "--enable-logging=stderr", *arguments, "--dump-dom", address]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    said = done.stderr.decode(errors="replace").splitlines()
    return done.stdout.decode(), "\n".join(line for line in said if "CONSOLE" in line)


class Page:
    """One open page. Commands are those of the DevTools protocol."""

    def __init__(self, to_browser: trio.abc.SendStream, from_browser: trio.abc.ReceiveStream) -> None:
        self._to = to_browser
        self._from = from_browser
        self._ids = count(1)
        self._received = b""
        self._session: str | None = None

    async def attach(self) -> None:
        target = (await self.command("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        await self.command("Page.enable")

    async def open(self, address: str, *, width: int, height: int = 900) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.command("Page.navigate", url=address)
        while (await self._message()).get("method") != "Page.loadEventFired":
            pass

    async def evaluate(self, expression: str) -> Any:
        answer = await self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def command(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._to.send_all(json.dumps(message).encode() + b"\0")
        while True:
            answer = await self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def _message(self) -> Any:
        while b"\0" not in self._received:
            more = await self._from.receive_some()
            assert more, "the browser has ended"
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@asynccontextmanager
async def page(profile: Path) -> AsyncIterator[Page]:
    """A browser with one page. It reads commands from descriptor 3 and answers on 4."""
    their_input, to_browser = os.pipe()
    from_browser, their_output = os.pipe()
    command = [*_ARGUMENTS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _MOVE_PIPES, str(their_input), str(their_output), *command],
        pass_fds=(their_input, their_output),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_input)
    os.close(their_output)
    try:
        async with trio.lowlevel.FdStream(to_browser) as to, trio.lowlevel.FdStream(from_browser) as back:
            with trio.fail_after(60):
                driven = Page(to, back)
                await driven.attach()
                yield driven
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
