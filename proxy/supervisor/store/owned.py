"""What clients have stored at the resources: whose each thing is and where it lies, for as long as it lives.

Questions come many at a time and are answered in one transaction: what is to be remembered is on disk before anybody is
told that it is.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from proxy.config.structs import State
from proxy.stored.entry import PAGE, Count, Drop, Entry, Find, Keep, Owner, Page, Question, Told
from proxy.supervisor.store.database import Database, StoreError
from proxy.supervisor.store.schema import MIGRATIONS

AT_MOST = 100_000
"""Live things of one client."""

_FIELDS = "id, kind, tenant, client, backend, created, expires, label, model, operation, tokens, pending"


class OwnedStore:
    """The table. Everything here may raise `StoreError`. `clock` tells Unix time."""

    def __init__(self, state: State, clock: Callable[[], float] = time.time, at_most: int = AT_MOST) -> None:
        self._path = Path(state.path)
        self._clock = clock
        self._at_most = at_most
        self._database = Database(self._path, MIGRATIONS)

    def close(self) -> None:
        self._database.close()

    def answer(self, questions: Sequence[Question]) -> list[Told]:
        """All of them in one transaction, each as if it were alone."""
        if self._database.replaced():
            self._database.close()
            self._database = Database(self._path, MIGRATIONS)
        if all(isinstance(question, Find | Page) for question in questions):
            with self._database.read() as connection:
                return [self._answer(connection, question) for question in questions]
        with self._database.write() as connection:
            return [self._answer(connection, question) for question in questions]

    def prune(self) -> int:
        """Forget what has expired; how many that were."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM stored WHERE expires <= ?", (self._clock(),)).rowcount

    def _answer(self, connection: sqlite3.Connection, question: Question) -> Told:
        match question:
            case Find(ids):
                found = (self._live(connection, one) for one in ids)
                return Told(entries=tuple(entry for entry in found if entry is not None))
            case Keep(entries):
                return self._keep(connection, entries)
            case Page():
                return self._page(connection, question)
            case Drop(ids):
                connection.executemany("DELETE FROM stored WHERE id = ?", [(one,) for one in ids])
                return Told()
            case Count(one):
                changed = connection.execute("UPDATE stored SET pending = 0 WHERE id = ? AND pending", (one,)).rowcount
                return Told() if changed else Told("counted")

    def _live(self, connection: sqlite3.Connection, thing_id: str) -> Entry | None:
        row = connection.execute(f"SELECT {_FIELDS} FROM stored WHERE id = ?", (thing_id,)).fetchone()  # noqa: S608
        entry = None if row is None else _entry(row)
        return entry if entry is not None and entry.live(self._clock()) else None

    def _keep(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> Told:
        """All or none: what is taken, or too much, is looked for before anything is written."""
        known = {entry.id: self._live(connection, entry.id) for entry in entries}
        new = [entry for entry in entries if known[entry.id] is None]
        for entry in entries:
            found = known[entry.id]
            if found is not None and (found.owner, found.backend, found.kind) != (
                entry.owner, entry.backend, entry.kind,
            ):  # fmt: skip
                return Told("taken")
        if new and self._count(connection, new[0].owner) + len(new) > self._at_most:
            return Told("full")
        connection.executemany(
            f"INSERT OR REPLACE INTO stored ({_FIELDS}) VALUES ({', '.join('?' * 12)})",  # noqa: S608
            [_row(entry) for entry in new],
        )
        connection.executemany(
            "UPDATE stored SET expires = ? WHERE id = ? AND expires IS NOT ?",
            [(entry.expires, entry.id, entry.expires) for entry in entries if known[entry.id] is not None],
        )
        return Told(entries=tuple(known[entry.id] or entry for entry in entries))

    def _count(self, connection: sqlite3.Connection, owner: Owner) -> int:
        (count,) = connection.execute(
            "SELECT count(*) FROM stored WHERE client = ? AND tenant IS ? AND (expires IS NULL OR expires > ?)",
            (owner.client, owner.tenant, self._clock()),
        ).fetchone()
        return int(count)

    def _page(self, connection: sqlite3.Connection, page: Page) -> Told:
        """By the time things were made, then their id: an order that no change of others disturbs."""
        owned, values = _owned(page.owners)
        where = [owned, "kind = ?", "(expires IS NULL OR expires > ?)"]
        values += [page.kind, self._clock()]
        if page.label is not None:
            where.append("label = ?")
            values.append(page.label)
        mark, backwards = (page.after, False) if page.before is None else (page.before, True)
        if mark is not None:
            at = self._live(connection, mark)
            if at is None or at.owner not in page.owners or at.kind != page.kind:
                return Told("unknown")
            where.append(f"(created, id) {'>' if page.ascending is not backwards else '<'} (?, ?)")
            values += [at.created, at.id]
        limit = max(1, min(page.limit, PAGE))
        order = "ASC" if page.ascending is not backwards else "DESC"
        rows = connection.execute(
            f"SELECT {_FIELDS} FROM stored WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY created {order}, id {order} LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        entries = [_entry(row) for row in rows[:limit]]
        return Told(entries=tuple(reversed(entries) if backwards else entries), more=len(rows) > limit)


def _owned(owners: Sequence[Owner]) -> tuple[str, list[object]]:
    """The condition that a thing is of one of these, and its values: by tenant, for an expression in SQL is no deeper
    than 1,000, and a tenant may have more clients.
    """
    clients: dict[str | None, list[str]] = {}
    for owner in owners:
        clients.setdefault(owner.tenant, []).append(owner.client)
    each = [f"(tenant IS ? AND client IN ({', '.join('?' * len(names))}))" for names in clients.values()]
    values: list[object] = [part for tenant, names in clients.items() for part in (tenant, *names)]
    return f"({' OR '.join(each)})", values


def _row(entry: Entry) -> tuple[object, ...]:
    own = entry.owner
    return (
        entry.id, entry.kind, own.tenant, own.client, entry.backend, entry.created, entry.expires, entry.label,
        entry.model, entry.operation, entry.tokens, int(entry.pending),
    )  # fmt: skip


def _entry(row: tuple[object, ...]) -> Entry:
    thing_id, kind, tenant, client, *rest = row
    entry = msgspec.convert((thing_id, kind, (tenant, client), *rest[:-1], bool(rest[-1])), Entry)
    assert isinstance(entry, Entry)
    return entry


__all__ = ("AT_MOST", "OwnedStore", "StoreError")
