"""Writing the configuration file: whole, under the mode it had, with what was there beside it."""

import stat
from pathlib import Path

import pytest

from proxy.supervisor.configuration import file as config_file
from proxy.supervisor.configuration.watch import stamps


def test_replace(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text("old")
    path.chmod(0o640)
    stamp = config_file.replace(path, b"new")
    assert stamps([path]) == {path: stamp}, "who watches need not take it for another's change"
    assert path.read_text() == "new"
    assert config_file.previous(path).read_text() == "old"
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o640}
    config_file.replace(path, b"newer")
    assert config_file.previous(path).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "real.toml", tmp_path / "penstock.toml"
    target.write_text("old")
    link.symlink_to(target)
    stamp = config_file.replace(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stamps([link]) == {link: stamp}


def test_a_file_that_is_gone_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    config_file.replace(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["penstock.toml"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text("old")
    (tmp_path / "penstock.toml.previous").mkdir()
    with pytest.raises(OSError, match="previous"):
        config_file.replace(path, b"new")
    assert path.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"penstock.toml", "penstock.toml.previous"}
