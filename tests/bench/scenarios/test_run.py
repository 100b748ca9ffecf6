"""`python -m bench timelines`, with a timeline of two seconds; how fast it goes is not judged."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main

TINY = """
title = "Tiny"
story = "The first backend resets what it gets for a second."
duration = "2s"
warm_up = "200ms"
workers = 1
[[backends]]
name = "swc"
region = "swedencentral"
first_token = "5ms"
between_tokens = "2ms"
[[backends]]
name = "frc"
region = "francecentral"
first_token = "5ms"
between_tokens = "2ms"
priority = 1
[[load]]
rate = 20.0
tokens = 4
[[load]]
client = "devices"
rate = 10.0
streams = 0.0
tokens = 4
[[events]]
at = "500ms"
until = "1500ms"
backend = "swc"
fault = "reset"
[[events]]
at = "1s"
gateway = "reload"
[[bars]]
says = "no client sees it"
metric = "failed"
at_most = 0.0
[[bars]]
says = "the second answers"
metric = "share"
backend = "frc"
at_least = 0.1
[[bars]]
says = "what cannot be"
metric = "answered"
at_least = 2.0
"""


def test_a_timeline_is_played_judged_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    assert main(["timelines", str(path), "--out", str(tmp_path / "report")]) == 1
    out = capsys.readouterr().out
    assert "## tiny: Tiny" in out
    rows = [line for line in out.splitlines() if "–2 s)" in line]
    verdicts = {row.split(" (")[0].strip("| "): row.endswith("| holds |") for row in rows}
    assert verdicts == {"no client sees it": True, "the second answers": True, "what cannot be": False}
    figures = json.loads((tmp_path / "report" / "timelines.json").read_text())["tiny"]
    assert sum(second["asked"] for second in figures["seconds"]) == pytest.approx(60, abs=6)
    assert sum(second["attempts"] for second in figures["seconds"]) > 50
    page = (tmp_path / "report" / "timelines.html").read_text()
    assert page.count("<figure") == 4
    assert "swc: reset" in page


def test_what_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timelines", "--list"]) == 0
    assert "region-dies" in capsys.readouterr().out


def test_a_name_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timelines", "armageddon"]) == 1
    assert "'armageddon' is unknown; there are: " in capsys.readouterr().err
