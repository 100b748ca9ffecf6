"""A row a name: how much of something each has, with the range of what was measured."""

import html
from collections.abc import Sequence

import msgspec

from bench.plot.frame import WIDTH, figure
from bench.plot.looks import Look, mark
from bench.plot.scale import Even, Logarithmic, Scale, compact

_LEFT, _RIGHT, _ROW, _AXIS, _BAR = 142, 122, 26, 22, 13
_LETTERS = 18  # of a name, and no more
_MOST = 1e15


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is None where nothing was measured. `said` stands beside it instead of the value."""

    name: str
    value: float | None
    least: float | None = None
    most: float | None = None
    said: str = ""
    look: Look = Look(colour="c1")


def bars(title: str, unit: str, rows: Sequence[Bar], *, logarithmic: bool = False, about: str = "") -> str:
    """Bars from nothing on; on a logarithmic axis, which has no nothing, a point at the end of a thin line.

    `about` says beside the title what was measured.
    """
    values = [value for row in rows for value in (row.value, row.least, row.most) if value is not None]
    scale: Scale = Logarithmic(values) if logarithmic else Even(min(_MOST, max(values, default=1.0)), count=3)
    height = len(rows) * _ROW + _AXIS
    parts = [_axis(scale, height)]
    parts += [_row(row, scale, number * _ROW + _ROW / 2, points=logarithmic) for number, row in enumerate(rows)]
    how = ", ".join(part for part in (unit, "logarithmic" if logarithmic else "", about) if part)
    words = "; ".join(f"{row.name}: {_said(row)}" for row in rows)
    return figure(title, f"{title}, {how}. {words}", "".join(parts), unit=how, height=height)


def _axis(scale: Scale, height: float) -> str:
    found = []
    for value in scale.ticks:
        at = _x(scale, value)
        found.append(f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - _AXIS}"/>')
        found.append(f'<text x="{at:.1f}" y="{height - 7}" text-anchor="middle">{scale.name(value)}</text>')
    return "".join(found)


def _row(row: Bar, scale: Scale, middle: float, *, points: bool) -> str:
    name = row.name if len(row.name) <= _LETTERS else f"{row.name[: _LETTERS - 1]}…"
    found = [
        f'<text class="name" x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(name)}</text>',
    ]
    end = float(_LEFT)
    if row.value is not None:
        end = _x(scale, row.value)
        if points:
            stem = f'class="line" style="stroke:var(--{row.look.colour})"'
            found.append(f'<path {stem} d="M{_LEFT} {middle:.1f}H{end:.1f}"/>')
            found.append(mark("disc", end, middle, row.look.colour))
        else:
            size = f'width="{max(1.0, end - _LEFT):.1f}" height="{_BAR}" rx="2"'
            paint = f'style="fill:var(--{row.look.colour})"'
            found.append(f'<rect {paint} x="{_LEFT}" y="{middle - _BAR / 2:.1f}" {size}/>')
        if row.least is not None and row.most is not None:
            low, high = _x(scale, row.least), _x(scale, row.most)
            found.append(
                f'<path class="range" d="M{low:.1f} {middle - 4:.1f}v8m0 -4H{high:.1f}m0 -4v8"/>'
                if high - low > 1
                else ""
            )
            end = max(end, high)
    said = html.escape(_said(row))
    found.append(f'<text class="value" x="{end + 8:.1f}" y="{middle + 4:.1f}">{html.escape(_value(row))}</text>')
    found.append(
        f'<rect class="strip" x="0" y="{middle - _ROW / 2:.1f}" width="{WIDTH}" height="{_ROW}">'
        f"<title>{html.escape(row.name)}: {said}</title></rect>"
    )
    return "".join(found)


def _x(scale: Scale, value: float) -> float:
    return _LEFT + scale.share(value) * (WIDTH - _LEFT - _RIGHT)


def _value(row: Bar) -> str:
    if row.said:
        return row.said
    return "–" if row.value is None else compact(row.value)


def _said(row: Bar) -> str:
    if row.value is None:
        return row.said or "not measured"
    if row.least is None or row.most is None:
        return compact(row.value)
    return f"{compact(row.value)} ({compact(row.least)} to {compact(row.most)})"
