"""Installation leaves something whole or nothing, once, in the cache alone; what goes wrong is said with a remedy.

The registries' clients are scripts here.
"""

from pathlib import Path

import pytest

from bench.failure import BenchError
from bench.peers.install import Debian, cache, is_whole, node_packages, once

NODE = Debian("turbined", ("turbined", "libturbine1"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def script(path: Path, name: str, text: str) -> None:
    program = path / name
    program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
    program.chmod(0o755)


def test_packages_are_unpacked_into_the_cache(path: Path) -> None:
    script(path, "apt-get", 'shift; for each; do echo "$each" > "$each.deb"; done')
    script(path, "dpkg", 'mkdir -p "$3/usr/sbin" "$3/usr/lib/x-linux-gnu"; cp "$2" "$3/usr/sbin/$(basename "$2" .deb)"')
    said: list[str] = []
    with pytest.raises(BenchError, match="turbined is not installed; `python -m bench peers --install turbined`"):
        NODE.path()
    NODE.install(said.append)
    assert said == ["turbined: downloading turbined, libturbine1"]
    assert NODE.path() == cache() / "debian-turbined" / "usr" / "sbin" / "turbined"
    assert NODE.environment["LD_LIBRARY_PATH"].endswith("usr/lib/x-linux-gnu")
    script(path, "apt-get", "exit 1")
    NODE.install(said.append)
    assert len(said) == 1


def test_the_machines_own_program_comes_first(path: Path) -> None:
    script(path, "turbined", "echo turbine 1.2")
    NODE.install(lambda text: pytest.fail(text))
    assert NODE.path() == path / "turbined"
    assert NODE.environment == {}
    assert NODE.says("--version") == "turbine 1.2"


def test_what_fails_is_said_and_not_kept(path: Path) -> None:
    script(path, "dpkg", "")
    script(path, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    with pytest.raises(BenchError, match=r"(?s)`apt-get download .*` failed; `apt-get update` may help.*Unable"):
        NODE.install(lambda _: None)
    assert NODE.find() is None


def test_a_system_without_the_client(path: Path) -> None:
    with pytest.raises(BenchError, match="turbined is not on PATH, and there is no apt-get"):
        NODE.install(lambda _: None)
    with pytest.raises(BenchError, match=r"needs Node.js \(20 or later\) and npm"):
        node_packages(path, "{}", lambda _: None)


def test_a_folder_is_made_once_and_anew_after_it_was_broken_off(path: Path) -> None:
    folder = cache() / "thing-1.0"
    made: list[str] = []

    def make(where: Path, progress: object) -> None:
        assert not list(where.iterdir())
        (where / "part").touch()
        made.append("a")
        if len(made) == 1:
            raise BenchError("the line is dead")

    with pytest.raises(BenchError, match="the line is dead"):
        once(folder, make, print)
    assert not is_whole(folder)
    once(folder, make, print)
    once(folder, make, print)
    assert is_whole(folder)
    assert len(made) == 2


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BenchError, match=r"cannot be made .*; XDG_CACHE_HOME names another place"):
        once(cache() / "thing", lambda *_: None, print)
