"""Worker processes as their supervisor keeps them: the process is a real one, and the test is what it would say."""

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import pytest
import trio

from proxy.channel import Channel
from proxy.messages import (
    Downward,
    Drain,
    Ready,
    Records,
    Tallies,
    UpstreamCredential,
    UpstreamCredentials,
    Upward,
    Written,
    decode_downward,
    encode,
)
from proxy.record.audit import Appended, AuditLog
from proxy.record.journal import Journal
from proxy.record.record import End, Record
from proxy.supervisor.events.events import Event
from proxy.supervisor.records.keeper import RecordKeeper
from proxy.supervisor.workers import WorkerProcess, WorkerState

WITHIN = 10.0
GREETING: list[Downward] = [Drain(1.0), Written([9])]

STAND_IN = """#!{python} -SE
import json, os, socket, sys
arguments = dict(zip(sys.argv[3::2], sys.argv[4::2]))
control = socket.socket(socket.AF_UNIX)
control.connect({address!r})
channel = int(arguments["--channel"])
socket.send_fds(control, [json.dumps(arguments).encode()], [channel])
os.close(channel)
sys.exit(ord(control.recv(1) or b"\\0"))
"""
"""Hands its end of the channel to the test, and ends when it is told to."""


class Audit:
    """An audit log in memory, which writes while `open` is set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.lines: list[bytes] = []

    def append(self, lines: Sequence[bytes]) -> Appended:
        assert self.open.wait(WITHIN)
        self.lines += lines
        return Appended(list(lines), sum(map(len, lines)))

    @property
    def ends(self) -> dict[str, End]:
        records = [msgspec.json.decode(line, type=Record) for line in self.lines]
        return {record.request_id: record.end for record in records}


class Life:
    """One process in the worker's place, with the test in the part of the worker."""

    def __init__(self, control: socket.socket, arguments: dict[str, str], sock: socket.socket) -> None:
        self.arguments = arguments
        self.socket = sock
        self.channel = Channel(sock)
        self.journal = Journal.open(Path(arguments["--journal"]))
        self._control = control

    async def hears(self, count: int) -> list[Downward]:
        heard: list[Downward] = []
        with trio.fail_after(WITHIN):
            while len(heard) < count:
                frames = await self.channel.receive()
                assert frames
                heard += [decode_downward(frame) for frame in frames]
        return heard

    def say(self, message: Upward) -> None:
        data = encode(message)
        self.raw(struct.pack(">I", len(data)) + data)

    def raw(self, data: bytes) -> None:
        self.socket.send(data)

    def end(self, code: int) -> None:
        self._control.send(bytes([code]))
        self.close()

    def close(self) -> None:
        self.channel.close()
        self.journal.close()
        self._control.close()


class Place:
    """A place for a worker, and the lives that fill it."""

    def __init__(self, folder: Path) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(folder / "control"))
        self.listening.listen()
        self.listening.setblocking(False)
        self.audit = Audit()
        self.heard: list[tuple[int, Upward]] = []
        self.gone: list[int] = []
        self.announced: list[Event] = []
        self.lives: list[Life] = []
        self.keeper = RecordKeeper(
            cast(AuditLog, self.audit), counted=lambda _: None, lost=lambda _: None, announce=lambda _: None
        )
        self.worker = WorkerProcess(
            3, [], folder, self.keeper,
            greeting=lambda: GREETING, hear=lambda *what: self.heard.append(what), gone=self.gone.append,
            announce=self.announced.append,
        )  # fmt: skip

    async def life(self) -> Life:
        """The next process, greeted."""
        with trio.fail_after(WITHIN):
            await trio.lowlevel.wait_readable(self.listening)
            control, _ = self.listening.accept()
            await trio.lowlevel.wait_readable(control)
        data, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        life = Life(control, json.loads(data), socket.socket(fileno=descriptors[0]))
        self.lives.append(life)
        assert await life.hears(len(GREETING)) == GREETING
        return life

    async def becomes(self, state: WorkerState) -> None:
        await until(lambda: self.worker.state is state)

    async def written(self, count: int) -> None:
        await until(lambda: len(self.audit.lines) >= count)


async def until(true: Callable[[], object]) -> None:
    with trio.fail_after(WITHIN):
        while not true():
            await trio.sleep(0.001)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN.format(python=sys.executable, address=str(tmp_path / "control")))
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    made = Place(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.keeper.run)
        nursery.start_soon(made.worker.keep)
        yield made
        made.audit.open.set()
        nursery.cancel_scope.cancel()
    for life in made.lives:
        life.close()
    made.listening.close()


def line(request_id: str, end: End = End.COMPLETE) -> bytes:
    return msgspec.json.encode(Record(request_id=request_id, time=datetime.now(UTC).isoformat(), end=end))


async def test_a_worker_is_greeted_and_serves_when_it_says_so(place: Place) -> None:
    life = await place.life()
    assert life.arguments["--index"] == "3"
    assert repr(place.worker).startswith("<WorkerProcess 3 starting")
    life.say(Ready(1, 7))
    await place.becomes(WorkerState.SERVING)
    assert place.worker.version == 7
    assert place.worker.pid is not None


async def test_what_is_not_about_records_is_passed_on(place: Place) -> None:
    life = await place.life()
    life.say(Tallies({}, {}, {}))
    await until(lambda: place.heard)
    assert place.heard == [(3, Tallies({}, {}, {}))]


async def test_records_are_written_and_the_worker_hears_of_it(place: Place) -> None:
    life = await place.life()
    life.say(Records([4, 2], [line("a"), line("b")]))
    assert await life.hears(1) == [Written([4, 2])]
    assert place.audit.ends == {"a": End.COMPLETE, "b": End.COMPLETE}


async def test_a_worker_that_ends_unasked_is_replaced_and_what_it_left_recorded(place: Place) -> None:
    life = await place.life()
    life.journal.admit(line("open"))
    life.end(7)
    after = await place.life()
    assert after.arguments["--journal"] != life.arguments["--journal"]
    await place.written(1)
    assert place.audit.ends == {"open": End.WORKER_LOST}
    assert (place.worker.restarts, place.gone) == (1, [3])
    (event,) = place.announced
    assert (event.kind, event.severity) == ("worker_lost", "error")
    assert "worker 3 ended unasked (exit code 7)" in event.message
    assert not Path(life.arguments["--journal"]).exists()


async def test_one_that_is_killed_is_replaced(place: Place) -> None:
    life = await place.life()
    assert place.worker.pid is not None
    os.kill(place.worker.pid, 9)
    life.close()
    await place.life()
    assert "ended unasked (signal 9)" in place.announced[0].message


async def test_what_is_written_of_one_life_is_not_told_to_the_next(place: Place) -> None:
    """Its slots are the next one's own by then, and may hold requests that are open."""
    place.audit.open.clear()
    life = await place.life()
    slot = life.journal.admit(line("a", End.WORKER_LOST))
    life.journal.finish(slot, line("a"))
    life.say(Records([slot], [line("a")]))
    life.say(Tallies({}, {}, {}))
    await until(lambda: place.heard)
    life.end(1)
    after = await place.life()
    place.audit.open.set()
    after.say(Records([5], [line("b")]))
    assert await after.hears(1) == [Written([5])]
    assert place.audit.ends == {"a": End.COMPLETE, "b": End.COMPLETE}


@pytest.mark.parametrize(
    "nonsense", [struct.pack(">I", 1 << 31), struct.pack(">I", 5) + b"12345"], ids=["no frame", "no message"]
)
async def test_one_that_sends_what_is_no_message_is_replaced(place: Place, nonsense: bytes) -> None:
    life = await place.life()
    life.raw(nonsense)
    life.end(0)
    await place.life()
    assert place.worker.restarts == 1


async def test_one_that_does_not_listen_is_replaced(place: Place) -> None:
    """It may not have heard of a revocation, so it serves no longer than it takes to kill it."""
    await place.life()
    first = place.worker.pid
    for _ in range(8):
        place.worker.post(UpstreamCredentials({"gateway": UpstreamCredential("authorization", "x" * (8 << 20), 0.0)}))
    await place.life()
    assert place.worker.pid != first
    assert "ended unasked (signal 9)" in place.announced[0].message
    place.worker.post(Drain(1.0))


async def test_one_that_was_told_to_drain_leaves_and_is_not_replaced(place: Place) -> None:
    life = await place.life()
    life.say(Ready(1, 1))
    await place.becomes(WorkerState.SERVING)
    place.worker.drain(5.0)
    assert await life.hears(1) == [Drain(5.0)]
    await place.becomes(WorkerState.DRAINING)
    life.say(Records([1], [line("last")]))
    life.end(0)
    await place.becomes(WorkerState.STOPPED)
    await place.written(1)
    assert place.worker.restarts == 0
    place.worker.post(Drain(1.0))  # nobody is there to hear it, and that is no error


async def test_when_the_supervisor_goes_the_process_goes(tmp_path: Path, place: Place) -> None:
    await place.life()
    pid = place.worker.pid
    assert pid is not None
    async with trio.open_nursery() as nursery:
        other = WorkerProcess(
            4, [], tmp_path, place.keeper,
            greeting=lambda: GREETING, hear=lambda *_: None, gone=place.gone.append,
            announce=lambda _: None,
        )  # fmt: skip
        nursery.start_soon(other.keep)
        await place.life()
        pid = other.pid
        assert pid is not None
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert place.gone == [4]


async def test_a_place_that_is_drained_while_it_backs_off_gets_no_further_worker(place: Place) -> None:
    (await place.life()).end(1)
    await place.becomes(WorkerState.BACKING_OFF)
    place.worker.drain(1.0)
    await place.becomes(WorkerState.STOPPED)
    assert len(place.gone) == 1
