"""The file: carried over to its present form once, whole whoever is killed, and left alone where it is not ours."""

import multiprocessing
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from proxy.supervisor.store.database import Database, StoreError

FORK = multiprocessing.get_context("fork")
ONE = "CREATE TABLE t (a INTEGER)"
TWO = "ALTER TABLE t ADD COLUMN b INTEGER; UPDATE t SET b = a * 2"
BROKEN = "UPDATE t SET a = 0; UPDATE nowhere SET b = 1"


def rows(database: Database) -> list[tuple[int, ...]]:
    with database.read() as connection:
        return connection.execute("SELECT * FROM t ORDER BY 1").fetchall()


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    database = Database(path, [ONE])
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with database.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_an_older_form_is_carried_over_with_what_it_holds(tmp_path: Path) -> None:
    old = Database(tmp_path / "s", [ONE])
    with old.write() as connection:
        connection.execute("INSERT INTO t VALUES (1), (2)")
    old.close()
    new = Database(tmp_path / "s", [ONE, TWO])
    assert rows(new) == [(1, 2), (2, 4)]
    new.close()
    again = Database(tmp_path / "s", [ONE, TWO])
    assert rows(again) == [(1, 2), (2, 4)]
    again.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    old = Database(tmp_path / "s", [ONE])
    with old.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(StoreError, match="nowhere"):
        Database(tmp_path / "s", [ONE, TWO, BROKEN])
    assert rows(old) == [(1,)]
    old.close()


def test_a_newer_form_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "s", [ONE, TWO]).close()
    with pytest.raises(StoreError, match=r"newer version of penstock \(form 2\)"):
        Database(tmp_path / "s", [ONE])


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "s")
    other.executescript("CREATE TABLE precious (a); PRAGMA user_version = 1")
    other.close()
    with pytest.raises(StoreError, match="none of penstock's"):
        Database(tmp_path / "s", [ONE])
    other = sqlite3.connect(tmp_path / "s")
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("precious",)]
    other.close()


@pytest.mark.parametrize(
    ("content", "words"), [(b"not a database at all" * 100, "is no database"), (None, "cannot be opened")]
)
def test_what_is_no_database(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "s"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=words):
        Database(path, [ONE])


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="Not a directory"):
        Database(tmp_path / "file" / "store.db", [ONE])


def test_a_change_by_another_connection_is_seen_and_ones_own_is_not(tmp_path: Path) -> None:
    one, other = Database(tmp_path / "s", [ONE]), Database(tmp_path / "s", [ONE])
    before = one.seen()
    with one.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert one.seen() == before
    with other.write() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    assert one.seen() != before
    one.close()
    other.close()


def test_a_write_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "s", [ONE])
    with pytest.raises(StoreError, match="nowhere"), database.write() as connection:
        list(map(connection.execute, ("INSERT INTO t VALUES (1)", "UPDATE nowhere SET b = 1")))
    assert rows(database) == []
    database.close()


def test_another_file_in_its_place_is_told(tmp_path: Path) -> None:
    database = Database(tmp_path / "s", [ONE])
    assert not database.replaced()
    Database(tmp_path / "other", [ONE]).close()
    (tmp_path / "other").replace(tmp_path / "s")
    assert database.replaced()
    (tmp_path / "s").unlink()
    with pytest.raises(StoreError, match="No such file"):
        database.replaced()
    database.close()


def test_many_processes_begin_and_write_at_once(tmp_path: Path) -> None:
    def work(number: int) -> None:
        database = Database(tmp_path / "s", [ONE, TWO])
        for step in range(10):
            with database.write() as connection:
                (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
                connection.execute("INSERT INTO t VALUES (?, ?)", (count, number * 100 + step))

    processes = [FORK.Process(target=work, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    database = Database(tmp_path / "s", [ONE, TWO])
    assert [a for a, _ in rows(database)] == list(range(80))
    database.close()


def write_for_ever(path: Path, told: Connection) -> None:
    told.send(0)
    database = Database(path, [ONE, TWO])
    count = len(rows(database))
    while True:
        with database.write() as connection:
            connection.executemany("INSERT INTO t VALUES (?, ?)", [(count, n) for n in range(20)])
        told.send(count)
        count += 20


@pytest.mark.parametrize("acknowledged", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
def test_a_process_that_is_killed_leaves_whole_writes_and_all_it_had_acknowledged(
    tmp_path: Path, acknowledged: int
) -> None:
    """Killed whenever it happens to be after so many: during the first opening, or any write."""
    path = tmp_path / "s"
    written = 0
    for _ in range(3):
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=write_for_ever, args=(path, theirs))
        process.start()
        for _ in range(acknowledged + 1):
            ours.recv()
        process.kill()
        process.join()
        theirs.close()
        ours.close()
        database = Database(path, [ONE, TWO])
        with database.read() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count = len(rows(database))
        assert count % 20 == 0
        assert count >= written + acknowledged * 20
        written = count
        database.close()
