"""A secret of the gateway's own is made whole or not at all, and once, however many make it. (See test_token too.)"""

import multiprocessing
import os
from pathlib import Path

import pytest

from proxy.supervisor.secret_file import SecretUnusable, load, load_or_make

FORK = multiprocessing.get_context("fork")


def test_processes_that_make_one_at_once_all_have_the_same(tmp_path: Path) -> None:
    ours, theirs = FORK.Pipe(duplex=False)
    processes = [FORK.Process(target=lambda: theirs.send(load_or_make(tmp_path / "s", "secret"))) for _ in range(8)]
    for process in processes:
        process.start()
    made = {ours.recv() for _ in processes}
    for process in processes:
        process.join()
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["s"]


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("proxy.supervisor.secret_file.os.fsync", full)
    with pytest.raises(SecretUnusable, match="the secret cannot be made: No space left on device"):
        load_or_make(tmp_path / "s", "secret")
    assert os.listdir(tmp_path) == []


def test_loading_makes_none(tmp_path: Path) -> None:
    with pytest.raises(SecretUnusable, match="the secret cannot be read: No such file"):
        load(tmp_path / "s", "secret")
    assert os.listdir(tmp_path) == []
