"""One SQLite file: opened, carried over to its present form, and whole whenever a process is killed.

Write-ahead log, so that readers and the one writer of several processes do not wait for each other, with
`synchronous = FULL`: under NORMAL a power failure could undo the last commits, and a revocation is not to be undone.
Writes are few, and none is on a request's way. Each takes the write lock at its beginning, so none fails half-way for
want of it.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_APPLICATION = 0x50454E53  # "PENS"
_BUSY = 5.0
_TRY_EVERY = 0.02


class StoreError(Exception):
    """The store cannot be used, or not at present; the message says which file and why."""


class Database:
    """A connection to the file. Used by one thread at a time, not always the same one.

    `migrations` are scripts, the n-th from form n to form n + 1, which `PRAGMA user_version` counts. Raises
    `StoreError`, as everything here does.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        with self._told():
            _touch(path)
            self._connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            with self._told():
                self._prepare(migrations)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction with the write lock held: all of it is kept, or none if it raises."""
        with self._told(), self._transaction() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            yield self._connection

    def seen(self) -> int:
        """A number that changes whenever another connection has changed the file: a look at shared memory."""
        with self._told():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version)

    def replaced(self) -> bool:
        """Whether the path leads to another file by now, such as one restored from a backup."""
        with self._told():
            status = os.stat(self.path)
            return (status.st_dev, status.st_ino) != self._identity

    def _prepare(self, migrations: Sequence[str]) -> None:
        status = os.stat(self.path)
        self._identity = status.st_dev, status.st_ino
        self._log_ahead()
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if self._form() != (_APPLICATION, len(migrations)):
            with self._transaction():
                self._migrate(migrations)

    def _log_ahead(self) -> None:
        """SQLite does not wait for others who do the same to a new file; here it is waited."""
        until = time.monotonic() + _BUSY
        while True:
            try:
                (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_TRY_EVERY)
            else:
                break
        if mode != "wal":
            raise StoreError(f"{self.path}: is on a file system without shared memory; move state.path to a local disk")

    def _migrate(self, migrations: Sequence[str]) -> None:
        """With the write lock held: another process may have been first."""
        application, form = self._form()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != _APPLICATION and (form or tables):
            raise StoreError(f"{self.path}: is a database, but none of penstock's")
        if form > len(migrations):
            raise StoreError(f"{self.path}: was written by a newer version of penstock (form {form})")
        for script in migrations[form:]:
            for statement in script.split(";"):
                self._connection.execute(statement)
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._connection.execute(f"PRAGMA user_version = {len(migrations)}")

    def _form(self) -> tuple[int, int]:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (form,) = self._connection.execute("PRAGMA user_version").fetchone()
        return application, form

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite complains of, as a sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {_cause(error)}") from None


def _touch(path: Path) -> None:
    """The file, for its owner alone; those that SQLite puts beside it are like it.

    Never opened here if it is there: closing it would give up the locks this process has on it (POSIX fcntl).
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


_CAUSES = {
    sqlite3.SQLITE_BUSY: "has been in use by another process for too long; try again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_NOTADB: "is no database",
    sqlite3.SQLITE_READONLY: "may not be written by this user",
}


def _cause(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    code = getattr(error, "sqlite_errorcode", 0)  # the low byte is the primary one
    return _CAUSES.get(code & 0xFF, str(error))
