"""The audit log: one JSON object a line, numbered without a gap and chained, appended whole or not at all.

Blocking by design: the supervisor writes in a thread. There is one writer, which holds a lock on the file. What a crash
left behind is healed when the file is opened: a torn last record, never acknowledged to anyone, is cut off, and that is
logged. Numbers go on over restarts and rotations, the gateway's own and those of logrotate. A file that is renamed or
removed from outside is noticed before the next write.

Written means handed to the kernel: it outlives any death of the gateway, and what the machine's own death takes is the
file system's to say.

Every record is sealed to the one before it, over restarts and rotations, and the checkpoint follows every append (see
`proxy.record.chain`). What was done to the log while no gateway ran is not put right: it is said in `doubts`, the chain
goes on from what was last known, and `penstock audit verify` finds the place ever after.
"""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from proxy.record.chain import BEGINNING, ChainKey, Checkpoint, CheckpointFile
from proxy.record.logfiles import TAIL, Found, LogFiles, first_in, last_in, records, tail
from proxy.record.record import timestamp
from proxy.record.reserve import Reserve

_UNNUMBERED = b'{"seq":0,'
_BEGINNING = b'{"seq":'

_log = logging.getLogger("penstock.audit")


class AuditWriteError(OSError):
    """The log cannot be written, and `fact` says why. No record of the call is in the file; the caller has them all."""

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
        self.fact = fact


class Appended(NamedTuple):
    """What was written: the records as they are on file, and how many bytes they are."""

    lines: list[bytes]
    bytes: int


class AuditLog:
    """The file and its numbers, for one thread at a time; `reopen` alone may be called from another.

    `rotate_at` is in bytes; of the files rotated here the newest `keep` stay, 0: all. `torn` counts the bytes of broken
    last records that were cut off, `doubts` says what the log and its checkpoint were found to contradict each other
    in. `reserve` is how many bytes of disk are held ahead, see `room`. Raises `AuditWriteError` where the log could not
    be written to, or was chained with another key.
    """

    def __init__(
        self,
        path: Path,
        key: ChainKey,
        checkpoint: Path,
        *,
        rotate_at: int,
        keep: int = 0,
        reserve: int = 0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.torn = 0
        self.doubts: list[str] = []
        self._key = key
        self._checkpoint = CheckpointFile(checkpoint)
        self._files = LogFiles(path)
        self._rotate_at = rotate_at
        self._keep = keep
        self._reserve = Reserve(reserve)
        self._wall = wall
        self._descriptor = -1
        self._stale = False
        self._whole: int | None = None  # what a failed write is still to be cut back to
        self._cannot_rotate = False
        self._cannot_checkpoint = False
        self._next = 1
        self._first = 1
        self._prev = BEGINNING
        with self._facts():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            checkpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
            try:
                self._take_up()
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<AuditLog {self.path.name} next={self._next}>"

    @property
    def next_seq(self) -> int:
        return self._next

    @property
    def room(self) -> int:
        """Bytes that the disk is certain to take; always 0 where nothing is held ahead."""
        return self._reserve.room

    def append(self, lines: Sequence[bytes]) -> Appended:
        """Number and write records, each the JSON of a `Record` whose `seq` is 0. Raises `AuditWriteError`."""
        with self._facts():
            self._be_open()
            sealed, prev = self._sealed(lines)
            data = b"\n".join((*sealed, b""))
            size = os.fstat(self._descriptor).st_size
            if size and size + len(data) > self._rotate_at and self._rotate():
                size = 0
            self._write(data, size)
            self._reserve.follow(self._descriptor, size + len(data))
        self._next += len(lines)
        self._prev = prev
        if lines:
            self._sign()
        return Appended(sealed, len(data))

    def replenish(self) -> None:
        """Hold as much of the disk as is wanted, if by now it is there. Raises `AuditWriteError`."""
        with self._facts():
            self._be_open()
            self._reserve.follow(self._descriptor, os.fstat(self._descriptor).st_size)

    def reopen(self) -> None:
        """Have the next record open the file anew: it may have been renamed by now, or be on another disk."""
        self._stale = True

    def close(self) -> None:
        """Let go of the file. A record that comes nevertheless opens it again."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._cut_back()
                self._reserve.release(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = -1
        self._whole = None

    def recent_ids(self, at_most: int) -> set[str]:
        """The request ids in the last `at_most` bytes, over rotated files too. Raises `AuditWriteError`."""
        ids: set[str] = set()
        with self._facts():
            for path in (self.path, *self._files.siblings()):
                end = tail(path, at_most)
                ids.update(record.request_id for record in records(end.split(b"\n")))
                at_most -= len(end)
                if at_most <= 0:
                    break
        return ids

    # The chain.

    def _sealed(self, lines: Sequence[bytes]) -> tuple[list[bytes], str]:
        """The records with number and seal, and the hash of the last."""
        prev = self._prev
        sealed = []
        for seq, line in enumerate(lines, self._next):
            assert line.startswith(_UNNUMBERED)
            whole, prev = self._key.seal(b'{"seq":%d,%b' % (seq, line[len(_UNNUMBERED) :]), prev)
            sealed.append(whole)
        return sealed, prev

    def _take_up(self) -> None:
        """Go on from the last record on file; where the checkpoint knows better, from there. Raises `OSError`."""
        exists, checkpoint = self._checkpoint.read(self._key)
        last = self._files.newest()
        self._next = last.seq + 1 if last is not None else 1
        if checkpoint is not None:
            self._first = checkpoint.first
            self._prev = self._continued(checkpoint, last)
            self._next = max(self._next, checkpoint.seq + 1)
            return
        seal = self._key.read(last.line) if last is not None else None
        if exists if seal is None else not seal.fits:
            raise AuditWriteError(
                self.path,
                f"was chained with another key; restore that, or move the log and {self._checkpoint.path} away",
            )
        if seal is not None:
            state = "was changed" if exists else "is gone"
            self.doubts.append(f"the checkpoint {state}: whether records after {self._next - 1} are cut off is unknown")
        self._first = self._next
        self._sign()

    def _continued(self, checkpoint: Checkpoint, last: Found | None) -> str:
        """The hash to go on from, with `doubts` where the end of the log is not as the checkpoint says."""
        have = last.seq if last is not None else 0
        if checkpoint.seq < checkpoint.first and have <= checkpoint.seq:
            return checkpoint.hash  # nothing is chained yet
        seal = self._key.read(last.line) if last is not None else None
        if have < checkpoint.seq:
            gone = (
                f"record {have + 1} is" if have + 1 == checkpoint.seq else f"records {have + 1} to {checkpoint.seq} are"
            )
            self.doubts.append(f"{gone} gone from the end of the log")
        elif seal is None or not seal.fits or (have == checkpoint.seq and seal.hash != checkpoint.hash):
            self.doubts.append(f"record {have}, the last of the log, was changed")
        elif have > checkpoint.seq:
            return seal.hash  # written just before the end, and not yet in the checkpoint
        return checkpoint.hash

    def _sign(self) -> None:
        """Say in the checkpoint how far the log has got. Where that cannot be written, with the next append."""
        now = Checkpoint(self._first, self._next - 1, self._prev, timestamp(self._wall()))
        try:
            self._checkpoint.write(self._key.sign(now))
        except OSError as error:
            if not self._cannot_checkpoint:
                _log.error(
                    "%s: cannot be written, and tells less of the log: %s", self._checkpoint.path, error.strerror
                )
            self._cannot_checkpoint = True
        else:
            self._cannot_checkpoint = False

    # The file.

    def _be_open(self) -> None:
        if self._descriptor >= 0 and (self._stale or self._was_moved()):
            self.close()
        if self._descriptor < 0:
            self._open()
        self._cut_back()

    def _open(self) -> None:
        self._stale = False
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AuditWriteError(self.path, "is not a regular file")
            self._lock(descriptor)
            self._heal(descriptor)
            if os.fstat(descriptor).st_size:
                last = last_in(self.path)
                if last is None:
                    raise AuditWriteError(self.path, "ends with something else than audit records; move it away")
                self._next = max(self._next, last.seq + 1)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._reserve.forget()
        self._reserve.follow(descriptor, os.fstat(descriptor).st_size)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditWriteError(self.path, "is being written by another process") from None
        except OSError:
            return  # a file system without locks

    def _heal(self, descriptor: int) -> None:
        """Cut off a last record without its end; after a loss of power there may be zeroes in its place."""
        size = os.fstat(descriptor).st_size
        end = os.pread(descriptor, TAIL, max(0, size - TAIL))
        torn = end[end.rfind(b"\n") + 1 :]
        if not torn:
            return
        written = torn.strip(b"\0")
        if len(torn) == TAIL or not (written.startswith(_BEGINNING) or _BEGINNING.startswith(written)):
            raise AuditWriteError(self.path, "ends with something else than audit records; move it away")
        os.ftruncate(descriptor, size - len(torn))
        self.torn += len(torn)
        _log.warning("%s: the last record was torn, %d bytes are cut off", self.path, len(torn))

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _write(self, data: bytes, size: int) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._whole = size
            with contextlib.suppress(OSError):
                self._cut_back()  # if not now, then before the next write
            raise

    def _cut_back(self) -> None:
        if self._whole is not None:
            os.ftruncate(self._descriptor, self._whole)
            self._reserve.forget()  # what was held behind has gone with it
            self._whole = None

    # Rotation.

    def _rotate(self) -> bool:
        """Rename the file and begin a new one. Where it cannot be renamed it grows on: a log too long beats none."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        target = self.path.with_name(f"{self.path.stem}-{stamp}-{self._first_seq()}{self.path.suffix}")
        try:
            if not self._reserve.can_move(self._descriptor):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(self.path, target)
        except OSError as error:
            if not self._cannot_rotate:
                _log.error("%s: cannot be rotated and grows on: %s", self.path, error.strerror)
            self._cannot_rotate = True
            return False
        self._cannot_rotate = False
        self.close()
        self._open()
        self._prune()
        return True

    def _first_seq(self) -> int:
        first = first_in(self.path)
        return self._next if first is None else first.seq

    def _prune(self) -> None:
        rotated = self._files.rotated()
        if not self._keep or len(rotated) <= self._keep:
            return
        self._first = max(self._first, rotated[-self._keep][0])
        self._sign()  # before anything is missing
        for _, old in rotated[: -self._keep]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                _log.error("%s: cannot be removed: %s", old, error.strerror)

    @contextlib.contextmanager
    def _facts(self) -> Iterator[None]:
        """Any failure of the file as `AuditWriteError`."""
        try:
            yield
        except AuditWriteError:
            raise
        except OSError as error:
            raise AuditWriteError(self.path, error.strerror or type(error).__name__) from None
