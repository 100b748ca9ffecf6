"""Every scenario of the demo, as a newcomer runs it: answered, refused, recorded, and over."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.demo.scenarios import SCENARIOS

ROOT = Path(__file__).parents[3]


def demo(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.demo", *arguments]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them are run, one after another."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("identity-provider", ('"kind": "token"', '"user": "user-1"', '"rule": "contoso:expired"', "refused: 401")),
        ("certificates", ('"kind": "certificate"', '"reason": "certificate_revoked"', "refused: 401")),
        ("keys", ('"kind": "key"', "$ penstock keys issue", '"reason": "revoked_key"', "refused: 401")),
        ("multi-region", ("answered by france", '"backend": "sweden"', "refused: 403", '"reason": "not_granted"')),
        ("combined", ('require = "all"', '"rule": "contoso:certificate_binding"', "refused: 401")),
    ],
)
def test_scenario(folder: Path, scenario: str, words: tuple[str, ...]) -> None:
    done = demo(folder, "--once", "--scenario", scenario)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for word in (*words, "water falls through the penstock", "[[clients]]", "status page: http://", "\ncurl --cacert "):
        assert word in done.stdout
    assert (folder / ".demo" / scenario / "penstock.toml").exists()


def test_every_scenario_is_run_here() -> None:
    [mark] = test_scenario.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in mark.args[1]} == set(SCENARIOS)


def test_a_scenario_that_there_is_not(tmp_path: Path) -> None:
    done = demo(tmp_path, "--scenario", "none")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
