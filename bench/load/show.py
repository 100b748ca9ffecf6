"""Seconds of a load as lines: in columns and colour on a terminal, plain elsewhere."""

from typing import TextIO

from rich.console import Console
from rich.text import Text

from bench.report.stored import Second

_HEADING_EVERY = 20
_COLUMNS = ("s", "asked", "answered", "wrong", "events", "tokens", "open", "ttft p50", "p99", "late p99", "own CPU")
_WIDTHS = (5, 8, 9, 7, 8, 8, 7, 10, 9, 9, 8)


class Lines:
    """To be called with each second."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._shown = 0

    def __call__(self, second: Second) -> None:
        if not self._console.is_terminal:
            self._console.print(plain(second), markup=False)
            return
        if self._shown % _HEADING_EVERY == 0:
            self._console.print(_row(_COLUMNS), style="dim")
        self._shown += 1
        row = Text(_row(_cells(second)))
        if second.failed + second.refused + second.broken:
            row.stylize("red")
        self._console.print(row)


def plain(second: Second) -> str:
    """One second, in words."""
    names = ("asked", "answered", "wrong", "events", "tokens", "open", "ttft p50", "ttft p99", "late p99", "own CPU")
    said = ", ".join(f"{name} {cell}" for name, cell in zip(names, _cells(second)[1:], strict=True) if cell != "–")
    return f"{second.at + 1} s: {said}"


def _cells(second: Second) -> tuple[str, ...]:
    wrong = second.failed + second.refused + second.broken
    counts = (second.asked, second.answered, wrong, second.events)
    more = (int(second.more.get(name, 0)) for name in ("tokens", "open"))
    times = (second.ttft_p50, second.ttft_p99, second.late_p99)
    return (
        str(second.at + 1),
        *map(str, counts),
        *map(str, more),
        *("–" if time is None else f"{time:.1f} ms" for time in times),
        f"{second.more.get('generator_cpu_share', 0.0):.0%}",
    )


def _row(cells: tuple[str, ...]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
