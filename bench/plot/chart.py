"""Lines and stacked bars over an axis of time or of other numbers, with bands that say what happened meanwhile."""

import html
from collections.abc import Sequence

import msgspec

from bench.plot.frame import BOTTOM, HEIGHT, TOP, WIDTH, Frame, figure, span
from bench.plot.looks import Look, area, area_sample, key, line_sample
from bench.plot.scale import Even, Logarithmic, Scale, compact

_STRIP = 16  # above the values, where the bands are named
_A_LETTER = 6.0  # about its width
_AT_MOST = 1.6  # times that, on a narrow screen
_MOST = 1e15


class Series(msgspec.Struct, frozen=True):
    """A row of values, None where there is none. `colour`: one of `STYLE`'s variables: c1 to c8, bad, worse, faint."""

    name: str
    values: Sequence[float | None]
    colour: str
    dash: str = ""
    hatch: int = 0

    @property
    def look(self) -> Look:
        return Look(colour=self.colour, dash=self.dash, hatch=self.hatch)


class Band(msgspec.Struct, frozen=True):
    """What happened from `since` to `until`; a moment, where they are the same."""

    what: str
    since: float
    until: float


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """`starts` are the places of the values on the horizontal axis, which ends at `end`.

    logarithmic  the vertical axis, for values over several powers of ten; only of lines
    most         the vertical axis goes this far at least
    along        the unit of the horizontal axis
    """

    title: str
    unit: str
    starts: Sequence[float]
    end: float
    bands: Sequence[Band] = ()
    logarithmic: bool = False
    most: float = 0.0
    along: str = "s"


def lines(chart: Chart, series: Sequence[Series]) -> str:
    """A line for each series, broken where it has no value; values stand in the middle of their interval."""
    values = [value for one in series for value in one.values if value is not None]
    up: Scale = (
        Logarithmic([*values, chart.most]) if chart.logarithmic else Even(min(_MOST, max([chart.most, *values])))
    )
    frame = _frame(chart, up)
    middles = [frame.x((start + end) / 2) for start, end in _intervals(chart)]
    drawn = []
    for one in series:
        dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
        path = _path(middles, one.values, frame)
        drawn.append(f'<path class="line" style="stroke:var(--{one.colour})"{dash} d="{path}"/>')
    return _figure(chart, frame, drawn, series, key([(one.name, line_sample(one.look)) for one in series]))


def stacked(chart: Chart, series: Sequence[Series]) -> str:
    """A bar for each place, of all series one on the other, the first at the bottom."""
    sums = [sum(one.values[place] or 0.0 for one in series) for place in range(len(chart.starts))]
    frame = _frame(chart, Even(min(_MOST, max([chart.most, *sums]))))
    drawn = []
    base = [0.0] * len(sums)
    for one in series:
        for place, (start, end) in enumerate(_intervals(chart)):
            value = one.values[place] or 0.0
            if value:
                left, right = frame.x(start), frame.x(end)
                gap = 0.5 if right - left > 3 else 0.0
                top, bottom = frame.y(base[place] + value), frame.y(base[place])
                size = f'width="{max(0.5, right - left - 2 * gap):.1f}" height="{bottom - top:.1f}"'
                drawn.append(area(one.look, f'x="{left + gap:.1f}" y="{top:.1f}" {size}'))
                base[place] += value
    return _figure(chart, frame, drawn, series, key([(one.name, area_sample(one.look)) for one in series]))


def _frame(chart: Chart, up: Scale) -> Frame:
    first = min(chart.starts, default=0.0)
    across = _Bounded(first, max(chart.end, first + 1e-9))
    return Frame(across, up, along=chart.along, unit=chart.unit)


class _Bounded(Even):
    """From `low` to `high` and no further; round numbers between them are named."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(high, low, count=6)
        self._length = high - low
        self.ticks = [value for value in self.ticks if value <= high]


def _intervals(chart: Chart) -> list[tuple[float, float]]:
    return list(zip(chart.starts, [*chart.starts[1:], chart.end], strict=True))


def _path(places: Sequence[float], values: Sequence[float | None], frame: Frame) -> str:
    """A value with none on either side is a dot."""
    found, pen = [], "M"
    for number, (place, value) in enumerate(zip(places, values, strict=True)):
        if value is None:
            pen = "M"
            continue
        found.append(f"{pen}{place:.1f} {frame.y(value):.1f}")
        alone = pen == "M" and (number + 1 == len(values) or values[number + 1] is None)
        found.append("h0.1" if alone else "")
        pen = "L"
    return "".join(found)


def _figure(chart: Chart, frame: Frame, drawn: Sequence[str], series: Sequence[Series], names: str) -> str:
    words = "; ".join(f"{one.name}: {span(one.values)}" for one in series)
    parts = [*_behind(chart, frame), frame.axes(), *drawn, *_marks(chart, frame), *_strips(chart, frame, series)]
    return figure(
        chart.title, f"{chart.title}, {chart.unit}. {words}", "".join(parts), names if len(series) > 1 else ""
    )


def _strips(chart: Chart, frame: Frame, series: Sequence[Series]) -> list[str]:
    """What is pointed at to read the values of a place."""
    found = []
    for place, (start, end) in enumerate(_intervals(chart)):
        known = [(one.name, one.values[place]) for one in series]
        values = "\n".join(f"{name}: {compact(value)}" for name, value in known if value is not None)
        if values:
            left, right = frame.x(start), frame.x(end)
            size = f'width="{max(0.5, right - left):.1f}" height="{HEIGHT - TOP - BOTTOM}"'
            title = html.escape(f"{start:g} {chart.along}\n{values}")
            found.append(f'<rect class="strip" x="{left:.1f}" y="{TOP}" {size}><title>{title}</title></rect>')
    return found


def _behind(chart: Chart, frame: Frame) -> list[str]:
    """The bands themselves."""
    found = []
    top = TOP - _STRIP
    for band in chart.bands:
        left, right = frame.x(band.since), frame.x(band.until)
        if right > left:
            size = f'width="{right - left:.1f}" height="{HEIGHT - BOTTOM - top}"'
            found.append(f'<rect class="band" x="{left:.1f}" y="{top}" {size}/>')
    return found


def _marks(chart: Chart, frame: Frame) -> list[str]:
    """Where bands begin, and what they are: a name once, where it comes again and again, or has no room."""
    found = []
    free = 0.0
    named: set[str] = set()
    for band in chart.bands:
        left = frame.x(band.since)
        found.append(f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{TOP - _STRIP}" y2="{HEIGHT - BOTTOM}"/>')
        width = _A_LETTER * len(band.what)
        at = min(left + 4, WIDTH - width)
        if band.what not in named and at >= free:
            last = left + 4 + width * _AT_MOST > WIDTH
            place = f'x="{WIDTH - 1}" text-anchor="end"' if last else f'x="{at:.1f}"'
            found.append(f'<text class="what" {place} y="{TOP - 4}">{html.escape(band.what)}</text>')
            free = at + width
            named.add(band.what)
    return found
