"""`python -m bench run` and `… timelines`, with scenarios of two seconds; how fast it goes is not judged."""

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main
from bench.report.stored import Stored, read

AT_RATES = """
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
POOL = """
title = "Pool"
story = "Everyone asks for something."
duration = "60s"
warm_up = "500ms"
workers = 1
[identities]
certificates = 2
keys = 1
tokens = 1
[arrivals]
kind = "poisson"
rate = 40.0
[[backends]]
name = "swc"
region = "swedencentral"
first_token = "5ms"
between_tokens = "2ms"
jitter = "0s"
[[load]]
by = "certificates"
streams = 1.0
tokens = [4, 8]
[[load]]
by = "keys"
kind = "embeddings"
[[load]]
by = "tokens"
streams = 0.0
[[bars]]
says = "everyone is let in, and every answer is whole"
metric = "answered"
at_least = 1.0
[[bars]]
says = "not one wrong byte"
metric = "wrong_bytes"
at_most = 0.0
[[bars]]
says = "what is late is measured"
metric = "late_p99_ms"
at_most = 60000.0
"""


def verdicts(out: str) -> dict[str, bool]:
    rows = [line for line in out.splitlines() if line.endswith(("| holds |", "| **missed** |"))]
    return {row.split(" (")[0].strip("| "): row.endswith("| holds |") for row in rows}


def test_a_timeline_is_played_judged_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(AT_RATES)
    assert main(["timelines", str(path), "--out", str(tmp_path / "report")]) == 1
    told = capsys.readouterr()
    assert "## tiny: Tiny" in told.out
    assert verdicts(told.out) == {"no client sees it": True, "the second answers": True, "what cannot be": False}
    assert "tiny: 1 s of 2 s: answered" in told.err
    (measured,) = read(tmp_path / "report" / "run.json").measured
    assert sum(second.asked for second in measured.seconds) == pytest.approx(60, abs=6)
    assert sum(second.more["attempts"] for second in measured.seconds) > 50
    assert [(band.what, band.since, band.until) for band in measured.bands] == [
        ("swc: reset", 0.5, 1.5),
        ("reload", 1.0, 1.0),
    ]
    assert measured.seconds[0].more["worker_1_memory_mb"] > 1
    assert (tmp_path / "report" / "run.md").read_text() in told.out
    page = (tmp_path / "report" / "run.html").read_text()
    assert page.count("<figure") >= 6
    assert "The first backend resets what it gets" in page
    assert "swc: reset" in page


def test_everyone_of_a_pool_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    assert main(["run", str(path), "--duration", "2s", "--workers", "2", "--json", "--out", str(tmp_path)]) == 0
    stored = read(tmp_path / "run.json")
    assert msgspec.json.decode(capsys.readouterr().out, type=Stored) == stored
    (measured,) = stored.measured
    assert all(verdict.holds for verdict in measured.verdicts)
    assert (measured.duration, measured.workers) == (2.0, 2)
    assert {"ttft", "first_byte", "late"} < set(measured.histograms)
    assert measured.figures["events_per_second"] > 0
    assert "worker_2_descriptors" in measured.seconds[0].more


def test_what_there_is_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timelines", "--list"]) == 0
    failures = capsys.readouterr().out
    assert "region-dies" in failures
    assert "soak" not in failures
    assert main(["run", "--list"]) == 0
    assert {"region-dies", "soak"} < {line.split()[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "armageddon"], 1, "'armageddon' is unknown; there are: "),
        (["run", "none.toml"], 1, "none.toml: cannot be read"),
        (["run"], 2, "name a scenario"),
        (["run", "soak", "--duration", "soon"], 2, "a duration is a number and"),
        (["run", "soak", "--duration", "10ms"], 2, "not between a second and a day"),
    ],
)
def test_wrong_use(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        found = main(arguments)
    except SystemExit as left:
        found = int(str(left.code))
    assert found == code
    assert said in capsys.readouterr().err
