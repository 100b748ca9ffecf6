"""Worker processes: started, heard, restarted with back-off, drained; and what each left behind, recorded.

The listening sockets are the supervisor's and outlive every worker, so a connection that no worker has accepted waits
in the kernel's queue for the next one. A worker talks over one Unix socket, whose end is the sign that it has gone.
"""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import msgspec
import trio

from proxy.channel import Channel, ChannelBroken
from proxy.messages import Downward, Drain, MayRecord, Ready, Records, Uncounted, Upward, Written, decode_upward
from proxy.record.journal import Journal
from proxy.supervisor.events.events import Event
from proxy.supervisor.records.keeper import RecordKeeper, Source

_FIRST_BACKOFF = 0.05
_BACKOFF_AT_MOST = 10.0
_SETTLED_AFTER = 30.0
_LEAVE_AT_MOST = 10.0

_log = logging.getLogger("penstock.workers")


class WorkerState(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


class WorkerProcess:
    """One place for a worker, filled by one process after another.

    `hear` gets every message that is not about records. `greeting` says what a new worker is told first.
    """

    def __init__(
        self,
        index: int,
        sockets: list[socket.socket],
        journals: Path,
        keeper: RecordKeeper,
        *,
        greeting: Callable[[], list[Downward]],
        hear: Callable[[int, Upward], None],
        gone: Callable[[int], None],
        announce: Callable[[Event], None],
    ) -> None:
        self.index = index
        self.state = WorkerState.STARTING
        self.pid: int | None = None
        self.since = time.time()
        self.restarts = 0
        self.version = 0
        self._sockets = sockets
        self._journals = journals
        self._keeper = keeper
        self._greeting = greeting
        self._hear = hear
        self._gone = gone
        self._announce = announce
        self._channel: Channel | None = None
        self._generation = 0
        self._draining = trio.Event()

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.index} {self.state.value} pid={self.pid}>"

    def post(self, message: Downward) -> None:
        """Tell the worker, if there is one."""
        if self._channel is not None:
            self._post(self._channel, message)

    def _post(self, channel: Channel, message: Downward) -> None:
        """One that is too far behind to be told is replaced: what it did not hear may be a revocation."""
        if not channel.cut and not channel.post(message):
            _log.error("worker %d does not listen; it is replaced", self.index)
            channel.cut_off()

    def drain(self, seconds: float) -> None:
        """Have the worker finish and leave; it is not replaced."""
        self._draining.set()
        if self.state is WorkerState.SERVING:
            self.state = WorkerState.DRAINING
        self.post(Drain(seconds))

    async def keep(self) -> None:
        """Run one process after another until drained."""
        backoff = _FIRST_BACKOFF
        while not self._draining.is_set():
            began = time.monotonic()
            code = await self._live()
            if self._draining.is_set():
                break
            if time.monotonic() - began > _SETTLED_AFTER:
                backoff = _FIRST_BACKOFF
            self.restarts += 1
            text = f"worker {self.index} ended unasked ({_cause(code)}); a new one starts in {backoff:.2f} s"
            self._announce(Event("worker_lost", "error", text, {"worker": self.index, "restarts": self.restarts}))
            self._become(WorkerState.BACKING_OFF)
            with trio.move_on_after(backoff):
                await self._draining.wait()
            backoff = min(backoff * 2, _BACKOFF_AT_MOST)
        self._become(WorkerState.STOPPED)

    def _become(self, state: WorkerState) -> None:
        self.state = state
        self.since = time.time()

    async def _live(self) -> int | None:
        """One process from start to end; its exit code."""
        self._generation += 1
        path = self._journals / f"worker-{self.index}-{self._generation}-{int(time.time())}.journal"
        Journal.create(path).close()
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        # Its own channel, whoever is in the place by then: the next worker's slots are other requests'.
        source = Source(
            lambda slots: self._post(channel, Written(slots)), lambda records: self._post(channel, MayRecord(records))
        )
        process = await self._start(theirs, path)
        theirs.close()
        self._become(WorkerState.STARTING)
        self.pid = process.pid
        self._channel = channel
        self._keeper.begin(source)
        for message in self._greeting():
            channel.post(message)
        try:
            await self._converse(channel, source)
            if channel.cut:
                process.kill()
            with trio.move_on_after(_LEAVE_AT_MOST):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            self._channel = None
            self.pid = None
            channel.close()
            found = self._keeper.recover(path, source=source, known=set())
            self._keeper.end(source)
            if found:
                _log.warning("worker %d left %d records in its journal", self.index, found)
            self._gone(self.index)
        return process.returncode

    async def _start(self, theirs: socket.socket, journal: Path) -> trio.Process:
        listening = [sock.fileno() for sock in self._sockets]
        return await trio.lowlevel.open_process(
            [
                sys.executable, "-m", "proxy.worker_process", "--index", str(self.index),
                "--channel", str(theirs.fileno()), "--listen", ",".join(map(str, listening)), "--journal", str(journal),
            ],
            pass_fds=[theirs.fileno(), *listening],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    async def _converse(self, channel: Channel, source: Source) -> None:
        """Hear the worker until its end of the channel closes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, channel)
            while True:
                try:
                    frames = await channel.receive()
                    messages = [decode_upward(frame) for frame in frames]
                except (ChannelBroken, msgspec.DecodeError):
                    _log.error("worker %d sent what is no message; it is replaced", self.index)
                    break
                if not frames:
                    break
                for message in messages:
                    self._take(message, source)
            nursery.cancel_scope.cancel()

    def _take(self, message: Upward, source: Source) -> None:
        match message:
            case Records():
                self._keeper.take(source, message.slots, message.lines)
            case Uncounted():
                self._keeper.count(source, message)
            case Ready():
                if self.state is WorkerState.STARTING:
                    self._become(WorkerState.SERVING)
                self.version = message.version
            case _:
                self._hear(self.index, message)


async def _write(channel: Channel) -> None:
    try:
        await channel.run()
    except ChannelBroken:
        return  # the reading side hears of it too


def _cause(code: int | None) -> str:
    if code is None:
        return "no exit code"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
