"""The micro-benchmark runs, and measures what it says: every step succeeds."""

import json
from pathlib import Path

import pytest

from bench import micro


def test_it_prints_and_writes_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(micro, "_LASTS", 0.0001)
    monkeypatch.setattr(micro, "_ROUNDS", 1)
    assert micro.run(tmp_path / "figures.json") == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures) == len(capsys.readouterr().out.splitlines()) == 16
    assert all(cost > 0 for cost in figures.values())
