"""Records on their way from the workers to the audit log, and usage that only a tokenizer can tell.

A record is acknowledged to its worker once it is in the file; until then the worker's journal has it too. When a
worker is lost, what its journal holds and what had not arrived is recorded from there: finished requests as they
were, open ones as `worker_lost`.
"""

import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from proxy.messages import Uncounted
from proxy.metering.cut_short import settle
from proxy.record.audit import AuditLog, AuditWriteError
from proxy.record.journal import EntryState, Journal, JournalError
from proxy.record.record import End, Record
from proxy.supervisor.events.events import Event
from proxy.supervisor.records.room import Room

_BATCH = 2_000
_QUEUED = 200_000
_UNCOUNTED = 1_000
_RETRY = 1.0
_LOOK_FOR_ROOM = 0.5

_log = logging.getLogger("penstock.records")
_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode

Acknowledge = Callable[[list[int]], None]


class Source:
    """One worker's life, as far as records go.

    `arrived` tells, by journal slot, the last record that came from there (by the hash of its line), so that what is
    still in the journal when the worker ends, because it had not heard that it is written, is not recorded twice.
    `received` counts all that came, `permitted` is what `permit` last told, `promised` the most (see
    `proxy.supervisor.records.room`).
    """

    def __init__(self, acknowledge: Acknowledge, permit: Callable[[int], object]) -> None:
        self.acknowledge = acknowledge
        self.permit = permit
        self.arrived: dict[int, int] = {}
        self.received = 0
        self.permitted = 0
        self.promised = 0


class RecordKeeper:
    """`written` and `failures` count records in the file, and attempts to write that failed.

    `counted` hears of each record whose usage the tokenizer has counted, `lost` of each that a lost worker left open,
    `announce` of a log that cannot be written, `wrote` of the records that are in it, as they are. With `room`, workers
    are granted it ahead.
    """

    def __init__(
        self,
        audit: AuditLog,
        *,
        counted: Callable[[Record], None],
        lost: Callable[[Record], None],
        announce: Callable[[Event], None],
        wrote: Callable[[list[bytes]], None] = lambda _: None,
        room: Room | None = None,
    ) -> None:
        self._audit = audit
        self._counted = counted
        self._lost = lost
        self._announce = announce
        self._wrote = wrote
        self._room = room
        self._sources: set[Source] = set()
        self._underway = 0
        self._short = False
        self._dropping = False
        self._queue: deque[tuple[Source | None, int, bytes]] = deque()
        self._uncounted: deque[tuple[Source, Uncounted]] = deque()
        self._wake = trio.Event()
        self._wake_counting = trio.Event()
        self._counting = False
        self.written = 0
        self.failures = 0
        self.failing = False

    def begin(self, source: Source) -> None:
        """A worker starts."""
        self._sources.add(source)
        self._grant()

    def end(self, source: Source) -> None:
        """A worker has ended, and its journal is read."""
        self._sources.discard(source)
        self._grant()

    def take(self, source: Source | None, slots: Iterable[int], lines: Iterable[bytes]) -> None:
        """Queue records. Past the bound they are left to their journal, which is read when the worker ends."""
        for slot, line in zip(slots, lines, strict=True):
            if source is not None:
                source.received += 1
            if len(self._queue) >= _QUEUED:
                self._drop()
                continue
            if source is not None and slot >= 0:
                source.arrived[slot] = hash(line)
            self._queue.append((source, slot, line))
        self._wake.set()

    def _drop(self) -> None:
        self.failures += 1
        if not self._dropping:
            self._dropping = True
            text = f"{_QUEUED} records wait to be written; further ones are left to the workers' journals, or lost"
            self._announce(Event("audit_log", "error", text))

    def count(self, source: Source, message: Uncounted) -> None:
        """Queue a record whose usage the tokenizer is to count first. Past the bound it keeps its estimate."""
        if len(self._uncounted) >= _UNCOUNTED:
            self.take(source, [message.slot], [message.line])
            return
        source.received += 1
        if message.slot >= 0:
            source.arrived[message.slot] = hash(message.line)
        self._uncounted.append((source, message))
        self._wake_counting.set()

    async def run(self) -> None:
        """Count and write what is queued, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count_all)
            nursery.start_soon(self._write_all)

    async def _count_all(self) -> None:
        while True:
            await self._wake_counting.wait()
            self._wake_counting = trio.Event()
            self._counting = True
            while self._uncounted:
                source, message = self._uncounted.popleft()
                record = await trio.to_thread.run_sync(_counted, message)
                self._counted(record)
                self._queue.append((source, message.slot, _encode(record)))
                self._wake.set()
            self._counting = False

    async def _write_all(self) -> None:
        while True:
            with trio.move_on_after(_LOOK_FOR_ROOM if self._short else math.inf):
                await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
                self._underway = len(batch)
                await self._write(batch)
                self._underway = 0
                self._grant()
            self._dropping = False
            if self._short:
                await self._look_for_room()

    async def _look_for_room(self) -> None:
        with contextlib.suppress(AuditWriteError):
            await trio.to_thread.run_sync(self._audit.replenish)
        self._grant()

    def _grant(self) -> None:
        """Grant the workers what room there is; to none of them while nothing can be written."""
        if self._room is None:
            return
        queued = len(self._queue) + len(self._uncounted) + self._counting + self._underway
        room = 0 if self.failing else self._audit.room
        self._room.grant(tuple(self._sources), room, queued)
        short = self._room.share(room, queued) == 0
        if short != self._short:
            self._short = short
            if self._short:
                self._announce(Event("audit_log", "error", "no room for audit records: requests are refused"))
            else:
                self._announce(Event("audit_log", "info", "there is room for audit records again"))

    async def _write(self, batch: list[tuple[Source | None, int, bytes]]) -> None:
        lines = [line for _, _, line in batch]
        while True:
            try:
                appended = await trio.to_thread.run_sync(self._audit.append, lines)
            except AuditWriteError as error:
                self.failures += 1
                if not self.failing:
                    self.failing = True
                    text = f"the audit log cannot be written; records are kept and tried again: {error}"
                    self._announce(Event("audit_log", "error", text))
                self._grant()
                await trio.sleep(_RETRY)
            else:
                break
        if self.failing:
            self.failing = False
            self._announce(Event("audit_log", "info", "the audit log is written again"))
        self.written += len(batch)
        self._wrote(appended.lines)
        done: dict[Source, list[int]] = {}
        for source, slot, _ in batch:
            if source is not None and slot >= 0:
                done.setdefault(source, []).append(slot)
        for source, slots in done.items():
            source.acknowledge(slots)

    async def drained(self) -> None:
        """Return when nothing is queued, being counted or being written."""
        while self._queue or self._uncounted or self._counting or self._underway:
            await trio.sleep(0.01)

    def recover(self, path: Path, *, source: Source | None, known: set[str]) -> int:
        """Take what the journal of an ended worker holds, but for what has arrived and for `known` request ids."""
        try:
            journal = Journal.open(path)
        except (JournalError, OSError) as error:
            _log.error("journal cannot be read: %s", error)
            return 0
        lines = []
        for entry in journal.entries():
            if source is not None and source.arrived.get(entry.slot) == hash(entry.line):
                continue
            try:
                record = _decode(entry.line)
            except msgspec.DecodeError:
                _log.error("journal entry cannot be read")
                continue
            if record.request_id in known:
                continue
            if entry.state is EntryState.OPEN:
                _mark_lost(record)
                self._lost(record)
            lines.append(_encode(record))
        journal.close()
        # Past the bound as well: there is no other place for them, and a journal has a bound of its own.
        self._queue.extend((None, -1, line) for line in lines)
        self._wake.set()
        path.unlink(missing_ok=True)
        return len(lines)


def _mark_lost(record: Record) -> None:
    record.end = End.WORKER_LOST
    record.reason = End.WORKER_LOST.value
    began = datetime.fromisoformat(record.time)
    record.duration_ms = round((datetime.now(UTC) - began).total_seconds() * 1000, 1)


def _counted(message: Uncounted) -> Record:
    record = _decode(message.line)
    fallback = record.tokens.prompt if record.tokens else 0
    try:
        record.tokens = settle(
            message.operation,
            message.tokenizer,
            message.prompt,
            message.completion,
            message.kept,
            message.seen,
            fallback,
        )
    except Exception:
        _log.exception("cannot count tokens; the record keeps its estimate")
    return record
