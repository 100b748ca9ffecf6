"""Points on a plane, a curve a name, with the range of what was measured: growth with size, shares of all by nines."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from bench.plot.frame import Frame, figure, span
from bench.plot.looks import Look, key, line_sample, mark
from bench.plot.scale import Even, Logarithmic, Nines, Scale, compact

_MOST = 1e15


class Point(msgspec.Struct, frozen=True):
    """Where something was measured: the median of several, and the least and the most of them."""

    x: float
    y: float
    least: float | None = None
    most: float | None = None


class Curve(msgspec.Struct, frozen=True):
    """`bare`: points that the line goes through without a mark."""

    name: str
    points: Sequence[Point]
    look: Look
    bare: Sequence[Point] = ()


class Plane(msgspec.Struct, frozen=True, kw_only=True):
    """`along` names the horizontal axis, `unit` the vertical one, which starts at 0 where it is not logarithmic.

    about   says beside the title what was measured
    across  how the horizontal axis goes; by nines up to `nines` of them
    """

    title: str
    unit: str
    along: str
    across: Literal["even", "logarithmic", "nines"] = "even"
    logarithmic: bool = False
    nines: float = 4.0
    about: str = ""


def curves(plane: Plane, drawn: Sequence[Curve]) -> str:
    """A line for each, with its marks, and whiskers where a point has a range."""
    everything = [point for curve in drawn for point in (*curve.points, *curve.bare)]
    frame = Frame(_across(plane, everything), _up(plane, everything), along=plane.along, unit=plane.unit)
    parts = [
        frame.axes(),
        *(_line(curve, frame) for curve in drawn),
        *(_points(curve, plane, frame) for curve in drawn),
    ]
    words = "; ".join(f"{curve.name}: {_said(curve)}" for curve in drawn)
    names = key([(curve.name, line_sample(curve.look, marked=True)) for curve in drawn])
    return figure(
        plane.title,
        f"{plane.title}, {plane.unit}. {words}",
        "".join(parts),
        names if len(drawn) > 1 else "",
        unit=plane.about,
    )


def _across(plane: Plane, points: Sequence[Point]) -> Scale:
    places = [point.x for point in points]
    if plane.across == "nines":
        return Nines(plane.nines)
    if plane.across == "logarithmic":
        return Logarithmic(places)
    return Even(max(places, default=1.0))


def _up(plane: Plane, points: Sequence[Point]) -> Scale:
    values = [value for point in points for value in (point.y, point.least, point.most) if value is not None]
    return Logarithmic(values) if plane.logarithmic else Even(min(_MOST, max(values, default=1.0)))


def _line(curve: Curve, frame: Frame) -> str:
    points = sorted({*curve.points, *curve.bare}, key=lambda point: point.x)
    path = "L".join(f"{frame.x(point.x):.1f} {frame.y(point.y):.1f}" for point in points)
    dash = f' stroke-dasharray="{curve.look.dash}"' if curve.look.dash else ""
    line = f'<path class="line" style="stroke:var(--{curve.look.colour})"{dash} d="M{path}"/>'
    return line if len(points) > 1 else ""


def _points(curve: Curve, plane: Plane, frame: Frame) -> str:
    found = []
    for point in curve.points:
        x = frame.x(point.x)
        where = Nines(plane.nines).name(point.x) if plane.across == "nines" else compact(point.x)
        said = f"{curve.name}, {where}: {compact(point.y)} {plane.unit}"
        if point.least is not None and point.most is not None:
            low, high = frame.y(point.least), frame.y(point.most)
            colour = f'style="stroke:var(--{curve.look.colour})"'
            found.append(
                f'<path class="range" {colour} d="M{x - 3:.1f} {high:.1f}h6m-3 0V{low:.1f}m-3 0h6"/>'
                if low > high
                else ""
            )
            said += f" ({compact(point.least)} to {compact(point.most)})"
        found.append(mark(curve.look.mark, x, frame.y(point.y), curve.look.colour, said))
    return "".join(found)


def _said(curve: Curve) -> str:
    return span([point.y for point in (*curve.points, *curve.bare)])
