"""Charts as SVG, for a page of HTML that needs nothing else. Pure: figures in, markup out.

A chart has a horizontal axis of numbers, usually seconds, and bands behind it that say what happened meanwhile. It
takes its colours from the page's CSS variables (`STYLE` has them for light and dark), so that it follows the reader's
theme and prints. What it shows is also said in words, for who does not see it.
"""

import html
import math
from collections.abc import Sequence

import msgspec

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 30
_STRIP = 16  # above the values, where the bands are named
_LEAST, _MOST = 1e-6, 1e15  # values that are told from nothing, and from one another
_A_LETTER = 6.0  # about its width

STYLE = """
.plot { --ink: #1c2330; --faint: #8a93a3; --rule: #e3e7ee; --band: #f2b84b38; --band-edge: #b47a12;
  --c1: #2b6cb0; --c2: #d9822b; --c3: #2f9e63; --c4: #a855b8; --c5: #7a8699; --bad: #c62f3a; --worse: #7d1128; }
@media (prefers-color-scheme: dark) {
  .plot { --ink: #e4e8ef; --faint: #8b95a7; --rule: #2b3342; --band: #f2b84b2b; --band-edge: #e0ac52;
    --c1: #6aa9e9; --c2: #f0a35e; --c3: #5fcb92; --c4: #cf92dd; --c5: #97a3b6; --bad: #f2707a; --worse: #ff9fb0; }
}
@media print {
  .plot { --ink: #000; --faint: #555; --rule: #ddd; --band: #f2b84b38; --band-edge: #8a5a00; break-inside: avoid;
    --c1: #1f5a99; --c2: #c06a12; --c3: #1f8150; --c4: #8a3a9b; --c5: #5c6779; --bad: #b01824; --worse: #5e0b1c; }
  .plot * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
.plot { margin: 0; min-width: 0; }
.plot figcaption { font-weight: 600; font-size: 0.85rem; margin: 0 0 0.2rem; color: var(--ink); }
.plot svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.plot text { fill: var(--faint); }
.plot .rule { stroke: var(--rule); stroke-width: 1; }
.plot .band { fill: var(--band); }
.plot .edge { stroke: var(--band-edge); stroke-width: 1; stroke-dasharray: 3 3; }
.plot .what { fill: var(--band-edge); }
.plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.plot .key { display: flex; flex-wrap: wrap; gap: 0.1rem 0.9rem; font-size: 0.75rem; color: var(--ink);
  list-style: none; margin: 0.2rem 0 0; padding: 0 0 0 3rem; }
.plot .key i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; margin-right: 0.35em; }
"""
"""What a page with charts puts into its style sheet once."""


class Series(msgspec.Struct, frozen=True):
    """A row of values, None where there is none. `colour`: one of `STYLE`'s variables: c1 to c5, bad, worse, faint."""

    name: str
    values: Sequence[float | None]
    colour: str


class Band(msgspec.Struct, frozen=True):
    """What happened from `since` to `until`; a moment, where they are the same."""

    what: str
    since: float
    until: float


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """`starts` are the places of the values on the horizontal axis, which ends at `end`.

    logarithmic  the vertical axis, for values over several powers of ten; only of lines
    most         the vertical axis goes this far at least
    """

    title: str
    unit: str
    starts: Sequence[float]
    end: float
    bands: Sequence[Band] = ()
    logarithmic: bool = False
    most: float = 0.0


def lines(chart: Chart, series: Sequence[Series]) -> str:
    """A line for each series, broken where it has no value; values stand in the middle of their interval."""
    frame = _Frame(chart, [value for one in series for value in one.values if value is not None])
    middles = [frame.x((start + end) / 2) for start, end in _intervals(chart)]
    drawn = [
        f'<path class="line" style="stroke:var(--{one.colour})" d="{_path(middles, one.values, frame)}"/>'
        for one in series
    ]
    return _figure(chart, frame, drawn, series)


def stacked(chart: Chart, series: Sequence[Series]) -> str:
    """A bar for each place, of all series one on the other, the first at the bottom."""
    sums = [sum(one.values[place] or 0.0 for one in series) for place in range(len(chart.starts))]
    frame = _Frame(chart, sums)
    drawn = []
    base = [0.0] * len(sums)
    for one in series:
        for place, (start, end) in enumerate(_intervals(chart)):
            value = one.values[place] or 0.0
            if value:
                left, right = frame.x(start) + 0.5, frame.x(end) - 0.5
                top, bottom = frame.y(base[place] + value), frame.y(base[place])
                drawn.append(
                    f'<rect style="fill:var(--{one.colour})" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{max(0.5, right - left):.1f}" height="{bottom - top:.1f}"/>'
                )
                base[place] += value
    return _figure(chart, frame, drawn, series)


class _Frame:
    """Where a chart's values are in its picture."""

    def __init__(self, chart: Chart, values: Sequence[float]) -> None:
        first = min(chart.starts, default=0.0)
        self._origin, self._length = first, max(chart.end - first, 1e-9)
        self.logarithmic = chart.logarithmic
        most = min(_MOST, max([chart.most, *values], default=0.0))
        if chart.logarithmic:
            least = max(_LEAST, min((value for value in values if value > 0), default=1.0))
            self._low = 10.0 ** math.floor(math.log10(least))
            self.high = 10.0 ** math.ceil(math.log10(max(most, self._low * 1.01)))
            self.ticks = _powers(self._low, self.high)
        else:
            self.ticks = ticks(most)
            self.high = self.ticks[-1]

    def x(self, value: float) -> float:
        share = (value - self._origin) / self._length
        return _LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(max(value, self._low) / self._low) / math.log(self.high / self._low)
        else:
            share = value / self.high
        return _HEIGHT - _BOTTOM - min(1.0, max(0.0, share)) * (_HEIGHT - _TOP - _BOTTOM)


def ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to `most` or a little more, about `count` steps of them."""
    if not _LEAST < most < _MOST:
        return [0.0, 1.0]
    rough = most / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    found = [low]
    while found[-1] < high * 0.999:
        found.append(found[-1] * 10)
    return found


def _intervals(chart: Chart) -> list[tuple[float, float]]:
    return list(zip(chart.starts, [*chart.starts[1:], chart.end], strict=True))


def _path(places: Sequence[float], values: Sequence[float | None], frame: _Frame) -> str:
    found, pen = [], "M"
    for place, value in zip(places, values, strict=True):
        if value is None:
            pen = "M"
            continue
        found.append(f"{pen}{place:.1f} {frame.y(value):.1f}")
        pen = "L"
    if len(found) == 1:
        found.append("h0.1")  # a dot
    return "".join(found)


def _figure(chart: Chart, frame: _Frame, drawn: Sequence[str], series: Sequence[Series]) -> str:
    words = "; ".join(f"{one.name}: {_range(one.values)}" for one in series)
    label = html.escape(f"{chart.title}, {chart.unit}. {words}", quote=True)
    parts = [*_behind(chart, frame), *_axes(chart, frame), *drawn, *_marks(chart, frame)]
    key = "".join(f'<li><i style="background:var(--{one.colour})"></i>{html.escape(one.name)}</li>' for one in series)
    return (
        f'<figure class="plot"><figcaption>{html.escape(chart.title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f'<ul class="key">{key}</ul></figure>'
    )


def _behind(chart: Chart, frame: _Frame) -> list[str]:
    """The bands themselves."""
    found = []
    top = _TOP - _STRIP
    for band in chart.bands:
        left, right = frame.x(band.since), frame.x(band.until)
        if right > left:
            size = f'width="{right - left:.1f}" height="{_HEIGHT - _BOTTOM - top}"'
            found.append(f'<rect class="band" x="{left:.1f}" y="{top}" {size}/>')
    return found


def _marks(chart: Chart, frame: _Frame) -> list[str]:
    """Where bands begin, and what they are: a name once, where it comes again and again, or has no room."""
    found = []
    free = 0.0
    named: set[str] = set()
    for band in chart.bands:
        left = frame.x(band.since)
        found.append(
            f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP - _STRIP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
        width = _A_LETTER * len(band.what)
        at = min(left + 4, _WIDTH - width)
        if band.what not in named and at >= free:
            found.append(f'<text class="what" x="{at:.1f}" y="{_TOP - 4}">{html.escape(band.what)}</text>')
            free = at + width
            named.add(band.what)
    return found


def _axes(chart: Chart, frame: _Frame) -> list[str]:
    found = []
    for value in frame.ticks:
        at = frame.y(value)
        found.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        found.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    first = min(chart.starts, default=0.0)
    for step in ticks(chart.end - first, 6):
        if first + step <= chart.end:
            at = frame.x(first + step)
            found.append(f'<text x="{at:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{first + step:g}</text>')
    found.append(f'<text x="2" y="10" text-anchor="start">{html.escape(chart.unit)}</text>')
    return found


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"from {min(known):.3g} to {max(known):.3g}" if known else "no values"
