"""A stored run says where it was made."""

import re
import shlex
import sys

import pytest

from bench.report.here import command, commit, machine, now


def test_this_machine_is_told_in_words() -> None:
    here = machine("two")
    assert here.cores == "two"
    assert all((here.cpu, here.kernel, here.python, here.openssl))


def test_the_moment_and_the_commit_are_of_their_forms() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now())
    assert re.fullmatch(r"([0-9a-f]{12}( and changes)?)?", commit())


def test_a_command_can_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "compare", "--json", "a file"])
    assert shlex.split(command()) == ["python", "-m", "bench", "compare", "--json", "a file"]
