"""Proof that the audit log is whole: every record from where the checkpoint says it begins to where it says it has got.

Reads what the gateway may be writing at that moment, and changes nothing. The first thing that is wrong is named by
file and line. Records from before they were chained prove nothing: they are counted apart, and stand for no fault.
"""

import gzip
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from proxy.record.chain import ChainKey, Checkpoint, CheckpointFile
from proxy.record.logfiles import TAIL, LogFiles, records

_BEGINNING = b'{"seq":'
_TRIES = 5

Progress = Callable[[Path, int], None]
"""Told of each file, with the number of records verified before it."""


class Unverifiable(Exception):
    """Nothing can be said of the log; the message says why."""


class Fault(msgspec.Struct, frozen=True):
    """The first thing that is wrong; `line` counts from 1 and is None where it is the whole file."""

    file: str
    line: int | None
    fact: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.fact}"


class Report(msgspec.Struct, frozen=True):
    """`records` are in the chain and good, `first` to `last`; `unchained` are from before it. `torn` are the bytes of
    records that a crash broke off and nobody was told of. `checkpoint` is the time of the last one."""

    whole: bool
    fault: Fault | None
    files: int
    records: int
    unchained: int
    first: int | None
    last: int | None
    hash: str | None
    torn: int
    checkpoint: str | None


class _Opened(NamedTuple):
    path: Path
    file: BinaryIO
    begins: float  # the number it is put in order by; infinite where no record can be read, or none is there yet


def verify(path: Path, key: ChainKey, checkpoint: Path, *, since: int = 1, progress: Progress | None = None) -> Report:
    """Judge the log at `path` over its rotated files, from record `since` on. Raises `Unverifiable`, `OSError`."""
    signed = CheckpointFile(checkpoint)
    exists, before = signed.read(key)
    with ExitStack() as stack:
        opened, fits = _open(path, key, stack)
        _, after = signed.read(key)  # pruning says first what it removes then
        if not any(fits) and before is None and (exists or False in fits):
            raise Unverifiable(f"the key fits neither {checkpoint} nor any record of {path}")
        if not opened and not exists:
            raise Unverifiable(f"{path}: there is no audit log")
        known = after or before
        reading = _Reading(key, before, known.first if known is not None else None, since)
        fault = reading.all_of(opened, progress)
    if fault is None:
        fault = _checkpoint_fault(checkpoint, exists, before, reading) or reading.end_fault(path)
    return reading.report(len(opened), fault)


def _checkpoint_fault(path: Path, exists: bool, genuine: Checkpoint | None, reading: "_Reading") -> Fault | None:
    if genuine is not None or (not exists and reading.last is None):
        return None
    fact = "the checkpoint was changed" if exists else "the checkpoint is missing"
    return Fault(str(path), None, f"{fact}: whether the end of the log was cut off cannot be told")


class _Reading:
    """One pass over the lines, in order."""

    def __init__(self, key: ChainKey, checkpoint: Checkpoint | None, first: int | None, since: int) -> None:
        self.last: int | None = None
        self._key = key
        self._checkpoint = checkpoint
        self._first = first
        self._since = since
        self._began: int | None = None
        self._prev = ""
        self._records = 0
        self._unchained = 0
        self._torn = 0
        self._at: tuple[str, int | None] | None = None

    def all_of(self, opened: list[_Opened], progress: Progress | None) -> Fault | None:
        """The first fault in any line."""
        for path, file, _ in opened:
            if progress is not None:
                progress(path, self._records)
            for number, line in enumerate(_lines(file), 1):
                if not line.endswith(b"\n") and _is_torn(line):
                    self._torn += len(line)
                    continue
                fact = self._judge(line)
                if fact is not None:
                    return Fault(str(path), number, fact)
                self._at = str(path), number
        return None

    def end_fault(self, path: Path) -> Fault | None:
        """What is missing at the end, by the checkpoint."""
        known = self._checkpoint
        if known is None:
            return None
        have = self.last if self.last is not None else max(known.first, self._since) - 1
        if known.seq <= have:
            return None
        file, line = self._at or (str(path), None)
        return Fault(file, line, f"the log ends here, {_missing(have + 1, known.seq)} after it")

    def report(self, files: int, fault: Fault | None) -> Report:
        known = self._checkpoint
        return Report(
            whole=fault is None,
            fault=fault,
            files=files,
            records=self._records,
            unchained=self._unchained,
            first=self._began,
            last=self.last,
            hash=self._prev or None,
            torn=self._torn,
            checkpoint=known.time if known is not None else None,
        )

    def _judge(self, whole: bytes) -> str | None:
        """What is wrong with a line, if anything."""
        line = whole[:-1]
        seal = self._key.read(line) if whole.endswith(b"\n") else None
        if seal is None:
            return self._judge_unchained(line)
        if not seal.fits:
            return "the record was changed: its hash does not fit"
        seq = int(line[len(_BEGINNING) : line.index(b",")])
        fact = self._misplaced(seq, seal.prev) if seq >= self._since else None
        known = self._checkpoint
        if fact is None and known is not None and seq == known.seq and seal.hash != known.hash:
            fact = "is not the record that the checkpoint knows by this number"
        if fact is None:
            self.last, self._prev = seq, seal.hash
            if seq >= self._since:
                self._began = seq if self._began is None else self._began
                self._records += 1
        return fact

    def _misplaced(self, seq: int, prev: str) -> str | None:
        last = self.last
        if last is None or last < self._since - 1:
            first = max(self._first or 0, self._since)
            return f"{_missing(first, seq - 1)} before it" if seq > first and (self._first or first > 1) else None
        if seq <= last:
            return f"record {seq} stands after record {last}"
        if seq > last + 1:  # what is below `first` was pruned
            return f"{_missing(last + 1, seq - 1)} before it" if seq > (self._first or 0) else None
        if prev != self._prev:
            return "the record does not follow from the one before it"
        return None

    def _judge_unchained(self, line: bytes) -> str | None:
        """A line without a seal: from before the chain, where it began after something, or not asked for."""
        record = next(records([line]), None)
        if self.last is not None and self.last >= self._since:
            return "the line is no record of the chain"
        if record is not None and record.seq < self._since:
            return None
        if self.last is None and self._first != 1 and (not record or not self._first or record.seq < self._first):
            self._unchained += record is not None
            return None
        return None if record is None and self._since > 1 else "the line is no record of the chain"


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"


def _open(path: Path, key: ChainKey, stack: ExitStack) -> tuple[list[_Opened], set[bool]]:
    """The files as they are at one moment, oldest first, and whether the key fits what is chained in them."""
    files = LogFiles(path)
    for _ in range(_TRIES):
        with ExitStack() as attempt:
            try:
                names = _names(files)
                opened = [(name, attempt.enter_context(name.open("rb"))) for name in names]
                settled = _names(files) == names and all(
                    os.path.samestat(name.stat(), os.fstat(file.fileno())) for name, file in opened
                )
            except FileNotFoundError:
                continue  # renamed or pruned just then
            if settled:
                stack.push(attempt.pop_all())
                ordered = [_placed(name, file, key, stack) for name, file in opened]
                fits = {fit for _, fit in ordered if fit is not None}
                return sorted((o for o, _ in ordered), key=lambda o: o.begins), fits
    raise Unverifiable(f"{path}: its files change too fast to be looked at")


def _names(files: LogFiles) -> set[Path]:
    if not files.path.parent.is_dir():
        return set()
    return {*files.siblings(None), *([files.path] if files.path.exists() else ())}


def _placed(path: Path, raw: BinaryIO, key: ChainKey, stack: ExitStack) -> tuple[_Opened, bool | None]:
    """A file with its place in the order: its first genuine record's, or, of one without, its first record's at all.

    And whether the key fits; None where nothing is chained.
    """
    file = raw
    if path.suffix == ".gz":
        file = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
    begins = math.inf
    fits = None
    for line in _lines(file):
        record = next(records([line.rstrip(b"\n")]), None)
        if record is None:
            continue
        begins = min(begins, record.seq)
        seal = key.read(record.line)
        fits = fits if seal is None else seal.fits
        if fits:
            begins = record.seq
            break
    file.seek(0)
    return _Opened(path, file, begins), fits


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends, in pieces where one is far too long."""
    try:
        yield from iter(lambda: file.readline(TAIL), b"")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Unverifiable(f"{file.name}: cannot be decompressed") from None


def _is_torn(line: bytes) -> bool:
    """Whether this is what a crash leaves of a record: its beginning, with zeroes behind it after a loss of power."""
    written = line.rstrip(b"\0")
    return written.startswith(_BEGINNING) or _BEGINNING.startswith(written)
