"""What is shown of a run while it goes."""

import pytest
from rich.console import Console

from bench.scenarios.live import Glance, line, sparkline, table, view

SECOND = Glance(
    at=9, answered=1234, events=16000, open=400, ttft_p50=50.0, ttft_p99=80.5, cpu_share=0.75, memory_mb=120.0
)


def test_blocks_are_as_high_as_values_beside_the_greatest() -> None:
    assert sparkline([0.0, 4.0, 8.0, None]) == "▁▅█ "
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""


def test_a_plain_line_names_what_is_going_on() -> None:
    assert line("soak", 60.0, SECOND) == (
        "soak: 10 s of 60 s: answered 1,234 /s, events 16,000 /s, connections 400, TTFT p50 50.0 ms, "
        "TTFT p99 80.5 ms, events late p99 –, gateway's CPU 0.75 cores, its memory 120.0 MB, its descriptors 0"
    )
    assert line("soak", 60.0, Glance(at=-1)) == "soak: warming up"
    troubled = Glance(at=1, failed=3, now=("swc: down",))
    assert "failed 3" in line("soak", 60.0, troubled)
    assert line("soak", 60.0, troubled).endswith("; swc: down")


def test_the_table_keeps_its_size() -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as first:
        console.print(table("soak", 60.0, [SECOND]))
    with console.capture() as second:
        console.print(table("soak", 60.0, [SECOND] * 60 + [Glance(at=10, failed=1, now=("swc: down",))]))
    assert first.get().count("\n") == second.get().count("\n")
    assert max(len(line.rstrip()) for line in second.get().splitlines()) <= 80
    assert "…" not in second.get()
    assert "swc: down" in second.get()
    assert "16,000 /s" in first.get()


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with view("soak", 60.0) as show:
        for at in range(11):
            show(Glance(at=at, now=("swc: down",) if at == 7 else ()))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [f"{at + 1} s of 60 s" for at in (0, 5, 7, 8, 10)]
