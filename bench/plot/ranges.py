"""A row a name: a ratio and the range that it lies in, around 1."""

import html
import math
from collections.abc import Sequence

import msgspec

from bench.plot.frame import WIDTH, figure
from bench.plot.looks import Look, mark
from bench.plot.scale import compact

_LEFT, _RIGHT, _ROW, _AXIS = 22, 22, 38, 24
_LETTERS = 42  # of a name, and no more
_STEPS = (1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0, 1e4)  # how far an axis goes, either way
_FEW = 6  # rows that are not worth two columns


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """`ratio` lies between `low` and `high`; all over 0. `said` stands beside the name."""

    name: str
    ratio: float
    low: float
    high: float
    said: str
    look: Look


def ranges(title: str, unit: str, rows: Sequence[Range]) -> str:
    """One picture, or two with the same axis: logarithmic, 1 in its middle, as far to either side."""
    far = max((max(row.ratio, 1 / row.ratio) for row in rows), default=1.0)
    wide = max((max(row.high, 1 / row.low) for row in rows), default=1.0)
    end = next((step for step in _STEPS if step >= min(wide, far * 1.5)), _STEPS[-1])
    half = len(rows) if len(rows) <= _FEW else -(-len(rows) // 2)
    columns = [rows[:half], *([rows[half:]] if half < len(rows) else [])]
    titles = ((title, unit), (f"{title}, continued", ""))
    return "".join(_column(*said, each, end) for said, each in zip(titles, columns, strict=False))


def _column(title: str, unit: str, rows: Sequence[Range], end: float) -> str:
    height = len(rows) * _ROW + _AXIS
    parts = [_axis(end, height), *(_row(row, end, number * _ROW) for number, row in enumerate(rows))]
    words = "; ".join(f"{row.name}: {row.said}" for row in rows)
    return figure(title, f"{title}, {unit}. {words}", "".join(parts), unit=unit, height=height)


def _axis(end: float, height: float) -> str:
    found = []
    for value in (1 / end, 1 / math.sqrt(end), 1.0, math.sqrt(end), end):
        at = _x(value, end)
        kind = "axis" if value == 1 else "rule"
        found.append(f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{height - _AXIS}"/>')
        anchor = "start" if value < 1 / math.sqrt(end) else "end" if value > math.sqrt(end) else "middle"
        edge = {"start": 0.0, "end": float(WIDTH)}.get(anchor, at)
        found.append(f'<text x="{edge:.1f}" y="{height - 8}" text-anchor="{anchor}">{compact(value)}×</text>')
    return "".join(found)


def _row(row: Range, end: float, top: float) -> str:
    name = row.name if len(row.name) <= _LETTERS else f"{row.name[: _LETTERS - 1]}…"
    low, at, high = (_x(value, end) for value in (row.low, row.ratio, row.high))
    middle = top + 26
    return (
        f'<text class="name" x="0" y="{top + 15:.1f}">{html.escape(name)}</text>'
        f'<text class="value" x="{WIDTH}" y="{top + 15:.1f}" text-anchor="end">{html.escape(row.said)}</text>'
        f'<path class="line" style="stroke:var(--{row.look.colour})" d="M{low:.1f} {middle:.1f}H{high:.1f}"/>'
        f"{mark(row.look.mark, at, middle, row.look.colour, f'{row.name}: {row.said}')}"
    )


def _x(value: float, end: float) -> float:
    share = 0.5 + math.log(value) / math.log(end) / 2
    return _LEFT + min(1.0, max(0.0, share)) * (WIDTH - _LEFT - _RIGHT)
