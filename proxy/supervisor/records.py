"""Records on their way from the workers to the audit log, and usage that only a tokenizer can tell.

A record is acknowledged to its worker once it is in the file; until then the worker's journal has it too. When a
worker is lost, what its journal holds and what had not arrived is recorded from there: finished requests as they
were, open ones as `worker_lost`.
"""

import logging
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

_BATCH = 2_000
_QUEUED = 200_000
_UNCOUNTED = 1_000
_RETRY = 1.0

_log = logging.getLogger("penstock.records")
_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode

Acknowledge = Callable[[list[int]], None]


class Source:
    """One worker's life, as far as records go.

    `arrived` tells, by journal slot, the last record that came from there (by the hash of its line), so that what is
    still in the journal when the worker ends, because it had not heard that it is written, is not recorded twice.
    """

    def __init__(self, acknowledge: Acknowledge) -> None:
        self.acknowledge = acknowledge
        self.arrived: dict[int, int] = {}


class RecordKeeper:
    """`written` and `failures` count records in the file, and attempts to write that failed.

    `counted` hears of each record whose usage the tokenizer has counted, `lost` of each that a lost worker left open.
    """

    def __init__(self, audit: AuditLog, *, counted: Callable[[Record], None], lost: Callable[[Record], None]) -> None:
        self._audit = audit
        self._counted = counted
        self._lost = lost
        self._queue: deque[tuple[Source | None, int, bytes]] = deque()
        self._uncounted: deque[tuple[Source, Uncounted]] = deque()
        self._wake = trio.Event()
        self._wake_counting = trio.Event()
        self._counting = False
        self._writing = False
        self.written = 0
        self.failures = 0
        self.failing = False

    def take(self, source: Source | None, slots: Iterable[int], lines: Iterable[bytes]) -> None:
        """Queue records. Past the bound they are left to their journal, which is read when the worker ends."""
        for slot, line in zip(slots, lines, strict=True):
            if len(self._queue) >= _QUEUED:
                self.failures += 1
                continue
            if source is not None and slot >= 0:
                source.arrived[slot] = hash(line)
            self._queue.append((source, slot, line))
        self._wake.set()

    def count(self, source: Source, message: Uncounted) -> None:
        """Queue a record whose usage the tokenizer is to count first. Past the bound it keeps its estimate."""
        if len(self._uncounted) >= _UNCOUNTED:
            self.take(source, [message.slot], [message.line])
            return
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
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
                self._writing = True
                await self._write(batch)
                self._writing = False

    async def _write(self, batch: list[tuple[Source | None, int, bytes]]) -> None:
        lines = [line for _, _, line in batch]
        while True:
            try:
                await trio.to_thread.run_sync(self._audit.append, lines)
            except AuditWriteError as error:
                self.failures += 1
                if not self.failing:
                    _log.error("audit log cannot be written, records are kept and tried again: %s", error)
                self.failing = True
                await trio.sleep(_RETRY)
            else:
                break
        if self.failing:
            _log.warning("audit log is written again")
            self.failing = False
        self.written += len(batch)
        done: dict[Source, list[int]] = {}
        for source, slot, _ in batch:
            if source is not None and slot >= 0:
                done.setdefault(source, []).append(slot)
        for source, slots in done.items():
            source.acknowledge(slots)

    async def drained(self) -> None:
        """Return when nothing is queued, being counted or being written."""
        while self._queue or self._uncounted or self._counting or self._writing:
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
        self.take(None, [-1] * len(lines), lines)
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
