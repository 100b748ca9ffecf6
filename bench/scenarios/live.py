"""A run as it goes, once a second: a table on a terminal, plain lines elsewhere; both on stderr.

The table stands still: what changes are its figures, and the last minute of each as a line of blocks.
"""

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_BLOCKS = "▁▂▃▄▅▆▇█"
_SECONDS = 60  # that are shown, if there is room
_NAME, _VALUE, _BETWEEN = 16, 14, 8  # characters of the table's columns, and of what is between and around them
_EVERY = 5  # seconds between two plain lines


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """One second. `at` is below 0 in the warm-up, of which there is nothing to show. Latencies are milliseconds, None
    where there were none; `failed`, `broken` and `refused` count from the beginning; `now` names what is going on.
    """

    at: int
    answered: int = 0
    events: int = 0
    open: int = 0
    ttft_p50: float | None = None
    ttft_p99: float | None = None
    late_p99: float | None = None
    failed: int = 0
    broken: int = 0
    refused: int = 0
    cpu_share: float = 0.0
    memory_mb: float = 0.0
    descriptors: int = 0
    now: tuple[str, ...] = ()


Show = Callable[[Glance], None]
Value = Callable[[Glance], float | None]


class Row(msgspec.Struct, frozen=True):
    """A figure of the table: its name, how it is written, and its value. `bad`: any is."""

    name: str
    text: str
    value: Value
    bad: bool = False


ROWS: tuple[Row, ...] = (
    Row("answered", "{:,.0f} /s", lambda one: one.answered),
    Row("events", "{:,.0f} /s", lambda one: one.events),
    Row("connections", "{:,.0f}", lambda one: one.open),
    Row("TTFT p50", "{:,.1f} ms", lambda one: one.ttft_p50),
    Row("TTFT p99", "{:,.1f} ms", lambda one: one.ttft_p99),
    Row("events late p99", "{:,.1f} ms", lambda one: one.late_p99),
    Row("failed", "{:,.0f}", lambda one: one.failed, bad=True),
    Row("broken", "{:,.0f}", lambda one: one.broken, bad=True),
    Row("refused", "{:,.0f}", lambda one: one.refused, bad=True),
    Row("gateway's CPU", "{:.2f} cores", lambda one: one.cpu_share),
    Row("its memory", "{:,.1f} MB", lambda one: one.memory_mb),
    Row("its descriptors", "{:,.0f}", lambda one: one.descriptors),
)


@contextlib.contextmanager
def view(name: str, duration: float) -> Iterator[Show]:
    """Where to show each second of a scenario."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(name, duration)
        return
    seen: deque[Glance] = deque(maxlen=_SECONDS)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(glance: Glance) -> None:
            seen.append(glance)
            live.update(table(name, duration, list(seen), console.width), refresh=True)

        yield show


def _lines(name: str, duration: float) -> Show:
    told: list[tuple[str, ...]] = [()]

    def show(glance: Glance) -> None:
        if glance.at < 0 or glance.at % _EVERY == 0 or glance.now != told[0]:
            print(line(name, duration, glance), file=sys.stderr, flush=True)
        told[0] = glance.now

    return show


def line(name: str, duration: float, glance: Glance) -> str:
    """A second in plain words."""
    if glance.at < 0:
        return f"{name}: warming up{_now(glance, '; ')}"
    figures = (f"{row.name} {_said(row, glance)}" for row in ROWS if row.value(glance) or not row.bad)
    return f"{name}: {_when(glance, duration)}: {', '.join(figures)}{_now(glance, '; ')}"


def table(name: str, duration: float, seen: Sequence[Glance], width: int = 80) -> Group:
    """The last second, and as many of those before it as the terminal has room for."""
    room = max(1, min(_SECONDS, width - _NAME - _VALUE - _BETWEEN))
    last = seen[-1]
    shown = Table(box=box.SIMPLE, show_header=False, pad_edge=False, expand=False)
    shown.add_column(width=_NAME, style="dim", no_wrap=True)
    shown.add_column(width=_VALUE, justify="right", no_wrap=True)
    shown.add_column(width=room, no_wrap=True)
    for row in ROWS:
        style = "bold red" if row.bad and row.value(last) else ""
        line_of = sparkline([row.value(one) for one in seen[-room:]])
        shown.add_row(row.name, Text(_said(row, last), style=style), Text(line_of.rjust(room), style=style or "cyan"))
    heading = Text.assemble((name, "bold"), "  ", _when(last, duration))
    bar = Table.grid()  # a bar by itself does not end its line
    bar.add_row(ProgressBar(total=duration, completed=max(0.0, last.at + 1), width=_NAME + _VALUE + room))
    happening = Text(_now(last, "") or "all is well", style="yellow" if last.now else "dim")
    return Group(heading, bar, happening, shown)


def sparkline(values: Sequence[float | None]) -> str:
    """A block for each value, as high as it is beside the greatest; a space where there is none."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(" " if value is None else _block(value, most) for value in values)


def _block(value: float, most: float) -> str:
    share = value / most if most > 0 else 0.0
    return _BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))]


def _said(row: Row, glance: Glance) -> str:
    value = row.value(glance)
    return "–" if value is None else row.text.format(value)


def _when(glance: Glance, duration: float) -> str:
    return "warming up" if glance.at < 0 else f"{glance.at + 1} s of {duration:g} s"


def _now(glance: Glance, before: str) -> str:
    return before + ", ".join(glance.now) if glance.now else ""
