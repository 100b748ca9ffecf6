"""The client keys: issued, rotated, revoked one by one, two live ones a client; stored as keyed digests.

A key is live until it is revoked or has expired. The key itself is in memory while it is made and nowhere after. Every
change raises the row's `revision`, so whoever knows one can ask what is newer. `last_used` is no change in this sense.
"""

import hmac
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import State
from proxy.identity import key as form
from proxy.identity.key import KeyedHash
from proxy.supervisor import secret_file
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.store.database import Database, StoreError
from proxy.supervisor.store.schema import MIGRATIONS

_LIVE_AT_MOST = 2
_ENDED_KEPT = 20
"""Of each client, the last keys that are no longer live: to tell who uses one."""

_PEPPER = "pepper"
_PEPPER_CHECK = b"the pepper of this store"

KeyState = Literal["live", "expired", "revoked"]


class StoredKey(msgspec.Struct, frozen=True):
    """One row. Times are in Unix seconds, None for never."""

    id: str
    client: str
    digest: bytes
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    note: str
    revision: int

    def __repr__(self) -> str:
        return f"StoredKey({self.id}, {self.client})"

    def state(self, now: float) -> KeyState:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "live"


class Issued(msgspec.Struct, frozen=True):
    """A new key, this once. `other` is the client's other live key, if it has one."""

    key: str
    row: StoredKey
    other: StoredKey | None

    def __repr__(self) -> str:
        return f"Issued({self.row.id})"


class KeyProblem(Exception):
    """A change that cannot be made as things are."""


class TwoLiveKeys(KeyProblem):
    def __init__(self, client: str, ids: list[str]) -> None:
        super().__init__(f'client "{client}" has two live keys already, {ids[0]} and {ids[1]}: revoke one first')
        self.client = client
        self.ids = ids


class NoLiveKey(KeyProblem):
    def __init__(self, client: str) -> None:
        super().__init__(f'client "{client}" has no live key to rotate: issue one')
        self.client = client


class UnknownKeyId(KeyProblem):
    def __init__(self) -> None:
        super().__init__("no key has this id: see the list of keys")


class KeyStore:
    """The table, and the pepper that its digests are made with. Everything here may raise `StoreError`.

    `clock` tells Unix time.
    """

    def __init__(self, database: Database, pepper: bytes, clock: Callable[[], float] = time.time) -> None:
        self.pepper = pepper
        self._database = database
        self._clock = clock
        self._hash = KeyedHash(pepper)

    @classmethod
    def open(cls, state: State, clock: Callable[[], float] = time.time) -> "KeyStore":
        """The store of a configuration, made if there is none, with its pepper. Raises `SecretUnusable` too."""
        database = Database(Path(state.path), MIGRATIONS)
        try:
            return cls(database, _fitting_pepper(database, state), clock)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def seen(self) -> int:
        """Changes whenever another process, or another connection, has changed the store."""
        return self._database.seen()

    def replaced(self) -> bool:
        """Whether another file is in the place of this one."""
        return self._database.replaced()

    # Reading.

    def newer(self, revision: int) -> list[StoredKey]:
        """What has changed since, in the order in which it did; everything after revision 0."""
        with self._database.read() as connection:
            return _rows(connection, "revision > ? ORDER BY revision", revision)

    def all(self) -> list[StoredKey]:
        """By client, the oldest first."""
        with self._database.read() as connection:
            return _rows(connection, "TRUE ORDER BY client, created")

    # Changing.

    def issue(self, client: str, *, lifetime: float | None = None, note: str = "") -> Issued:
        """A new key, that lives for `lifetime` seconds. Raises `TwoLiveKeys`."""
        with self._database.write() as connection:
            return self._issue(connection, client, lifetime, note)

    def rotate(
        self, client: str, *, lifetime: float | None = None, note: str = "", old_lives: float | None = None
    ) -> Issued:
        """A second key beside the live one, which from then on lives for at most `old_lives` seconds, if given.

        Raises `NoLiveKey`, `TwoLiveKeys`.
        """
        with self._database.write() as connection:
            issued = self._issue(connection, client, lifetime, note)
            old = issued.other
            if old is None:
                raise NoLiveKey(client)
            if old_lives is not None:
                until = min(issued.row.created + old_lives, float("inf") if old.expires is None else old.expires)
                connection.execute(
                    "UPDATE keys SET expires = ?, revision = ? WHERE id = ?", (until, _next(connection), old.id)
                )
                old = _row(connection, old.id)
            return Issued(issued.key, issued.row, old)

    def revoke(self, key_id: str) -> StoredKey:
        """The key is of no use from now on; one that was revoked before stays as it is. Raises `UnknownKeyId`."""
        with self._database.write() as connection:
            row = _row(connection, key_id)
            if row.revoked is None:
                connection.execute(
                    "UPDATE keys SET revoked = ?, revision = ? WHERE id = ?", (self._clock(), _next(connection), key_id)
                )
                row = _row(connection, key_id)
            return row

    def note_uses(self, times: Mapping[str, float]) -> None:
        """When keys were last used, by id; an earlier time never replaces a later one."""
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE keys SET last_used = ?1 WHERE id = ?2 AND coalesce(last_used, 0) < ?1",
                [(moment, key_id) for key_id, moment in times.items()],
            )

    def _issue(self, connection: sqlite3.Connection, client: str, lifetime: float | None, note: str) -> Issued:
        now = self._clock()
        rows = _rows(connection, "client = ? ORDER BY created", client)
        live = [row for row in rows if row.state(now) == "live"]
        if len(live) >= _LIVE_AT_MOST:
            raise TwoLiveKeys(client, [row.id for row in live])
        revision = _next(connection)
        ended = [row for row in rows if row.state(now) != "live"]
        connection.executemany("DELETE FROM keys WHERE id = ?", [(row.id,) for row in ended[:-_ENDED_KEPT]])
        key = form.make(os.urandom(form.RANDOM_BYTES))
        key_id = f"key-{os.urandom(6).hex()}"
        expires = None if lifetime is None else now + lifetime
        connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL, NULL, ?, ?)",
            (key_id, client, self._hash.digest(key.encode("ascii")), now, expires, note, revision),
        )
        return Issued(key, _row(connection, key_id), live[0] if live else None)


_COLUMNS = ", ".join(StoredKey.__struct_fields__)


def _rows(connection: sqlite3.Connection, condition: str, *values: object) -> list[StoredKey]:
    statement = f"SELECT {_COLUMNS} FROM keys WHERE {condition}"  # noqa: S608  # both are written above
    return [StoredKey(*row) for row in connection.execute(statement, values)]


def _row(connection: sqlite3.Connection, key_id: str) -> StoredKey:
    rows = _rows(connection, "id = ?", key_id)
    if not rows:
        raise UnknownKeyId
    return rows[0]


def _next(connection: sqlite3.Connection) -> int:
    """The next revision, higher than any before. To be asked for before rows are deleted, and then used."""
    (highest,) = connection.execute("SELECT coalesce(max(revision), 0) FROM keys").fetchone()
    return int(highest) + 1


# The pepper.


def _fitting_pepper(database: Database, state: State) -> bytes:
    """The pepper the store was begun with. Never a new one in the place of one that is gone."""
    check = _stored_check(database)
    pepper = _pepper(state, bound=check is not None).encode("ascii")
    ours = KeyedHash(pepper).digest(_PEPPER_CHECK)
    if check is None:
        check = _begin(database, ours)
    if not hmac.compare_digest(check, ours):
        raise StoreError(
            f"{database.path}: state.pepper is not the one its keys were stored with; put that one back "
            "(or move the store away, and issue all keys anew)"
        )
    return pepper


def _stored_check(database: Database) -> bytes | None:
    with database.read() as connection:
        found = connection.execute("SELECT value FROM facts WHERE name = ?", (_PEPPER,)).fetchone()
    return None if found is None else bytes(found[0])


def _begin(database: Database, check: bytes) -> bytes:
    """Bind the store to a pepper, unless another process was first; the check that is stored."""
    with database.write() as connection:
        connection.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (_PEPPER, check))
        (stored,) = connection.execute("SELECT value FROM facts WHERE name = ?", (_PEPPER,)).fetchone()
        return bytes(stored)


def _pepper(state: State, *, bound: bool) -> str:
    """The secret that `state.pepper` refers to; made, unless the store is bound to one. Raises `SecretUnusable`."""
    what = "pepper (state.pepper)"
    ref = state.pepper
    if ref.file is None:
        try:
            return secret_file.checked(resolve(ref).reveal(), "state.pepper", what)
        except SecretMissing as error:
            raise SecretUnusable(f"state.pepper: {error}") from None
    if not bound:
        return secret_file.load_or_make(Path(ref.file), what)
    if not os.path.lexists(ref.file):
        raise SecretUnusable(
            f"{ref.file}: the {what} that the keys in {state.path} were stored with is gone; put it back "
            "(or move the store away, and issue all keys anew)"
        )
    return secret_file.load(Path(ref.file), what)
