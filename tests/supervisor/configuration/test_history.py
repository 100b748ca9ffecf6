"""The versions that were in force: few, kept for the next start, and nothing of them is believed that is damaged."""

import stat
from pathlib import Path

import pytest

from proxy.admin.config import Version
from proxy.supervisor.configuration.history import KEPT, History, UnknownVersion, digest


def keep(history: History, version: int, text: bytes) -> None:
    history.keep(Version(version=version, time=float(version), source="api", digest=digest(text), summary="…"), text)


def versions(history: History) -> list[int]:
    return [entry.version for entry in history.entries]


def test_the_newest_are_kept_for_the_next_start(tmp_path: Path) -> None:
    history = History(tmp_path / "config")
    assert history.next_version(b"1") == 1
    for version in range(1, 15):
        keep(history, version, b"%d" % version)
    for found in (history, History(tmp_path / "config")):
        assert versions(found) == list(range(5, 15))
        assert found.text(9) == b"9"
        assert found.before() == 13
        with pytest.raises(UnknownVersion):
            found.text(4)
        assert found.next_version(b"14") == 14
        assert found.next_version(b"other") == 15
    files = list((tmp_path / "config").iterdir())
    assert len(files) == 2 * KEPT
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o700


def test_the_same_text_stays_one_entry(tmp_path: Path) -> None:
    """It keeps the time and the words of its first version, under the number of the last."""
    history = History(tmp_path)
    keep(history, 1, b"a")
    keep(history, 2, b"b")
    keep(history, 3, b"b")
    keep(history, 3, b"b")
    for found in (history, History(tmp_path)):
        assert [(entry.version, entry.time) for entry in found.entries] == [(1, 1.0), (3, 2.0)]


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    history = History(tmp_path)
    keep(history, 1, b"a")
    with pytest.raises(UnknownVersion):
        history.before()


def test_what_is_damaged_is_passed_over(tmp_path: Path) -> None:
    history = History(tmp_path)
    for version in range(1, 7):
        keep(history, version, b"%d" % version)
    (tmp_path / "000001.toml").write_text("other")
    (tmp_path / "000002.toml").unlink()
    (tmp_path / "000003.json").write_bytes(b"\xff{")
    (tmp_path / "000004.json").write_text("{}")
    (tmp_path / "000005.json").rename(tmp_path / "000009.json")
    (tmp_path / "notes.json").write_text("mine")
    assert versions(History(tmp_path)) == [6]


def test_without_a_disk_it_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    history = History(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        keep(history, 1, b"a")
    with pytest.raises(OSError, match="file"):
        keep(history, 2, b"b")
    assert history.text(history.before()) == b"a"
