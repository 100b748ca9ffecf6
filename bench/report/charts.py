"""Charts of a report: what things cost, how that grows, shares of all by latency, what has changed. Pure."""

from collections.abc import Sequence

from bench.failure import BenchError
from bench.plot import Bar, Curve, Look, Plane, Point, Range, bars, curves, look, ranges, spans_decades
from bench.report.earlier import Became, Change
from bench.report.figures import Figure, figure
from bench.report.histograms import Distribution, merged
from bench.report.stored import OURS
from bench.report.together import Case, Middle, Together
from bench.report.words import capital, number, percent, times

HISTOGRAMS = {
    "first_byte": "Time to first byte",
    "ttft": "Time to first token",
    "late": "Lateness of events",
    "between_events": "Time between events",
    "last_byte": "Time to last byte",
    "handshake": "TLS handshake",
}
"""Those that are drawn, and what they are of."""

_COSTS = ("cpu_us_per_", "kb_per_", "added_")
_MOST_CURVES = 12
_MOST_RANGES = 60
_FEWEST = 20  # values that say something of how they are spread


def costs(case: Case, together: Together) -> list[str]:
    """A chart for each figure that is a cost of several proxies."""
    return [
        _bars(case, figure(name), together)
        for name in case.figures
        if any(part in name for part in _COSTS)
        and sum(case.middle(proxy, name) is not None for proxy in case.measured) > 1
    ]


def _bars(case: Case, one: Figure, together: Together) -> str:
    shown = [(proxy, middle) for proxy in case.measured if (middle := case.middle(proxy, one.name)) is not None]
    rows = [_bar(case, one, proxy, middle, together) for proxy, middle in shown]
    rows += [
        Bar(name=proxy, value=None, said="not measured")
        for proxy in case.measured
        if case.middle(proxy, one.name) is None
    ]
    decades = spans_decades([middle.median for _, middle in shown]) and all(middle.least > 0 for _, middle in shown)
    return bars(capital(one.title), one.unit, rows, logarithmic=decades, about=case.title)


def _bar(case: Case, one: Figure, proxy: str, middle: Middle, together: Together) -> Bar:
    ratio = None if proxy == OURS else case.ratio(proxy, one.name, OURS)
    value = number(middle.median * one.factor)
    return Bar(
        name=proxy,
        value=middle.median * one.factor,
        least=middle.least * one.factor,
        most=middle.most * one.factor,
        said=value if ratio is None else f"{value} · {times(ratio)}",
        look=look(together.names.index(proxy)),
    )


def growth(together: Together) -> list[str]:
    """How costs go with the number of streams, and with that of workers."""
    found = []
    for scenario in dict.fromkeys(case.key.scenario for case in together.cases):
        cases = [case for case in together.cases if case.key.scenario == scenario]
        for name in dict.fromkeys(name for case in cases for name in case.figures):
            if any(part in name for part in _COSTS):
                found += _along(cases, figure(name), together)
    return found


def _along(cases: Sequence[Case], one: Figure, together: Together) -> list[str]:
    found = []
    several = [case for case in cases if case.key.streams and one.name in case.figures]
    for workers in sorted({case.key.workers for case in several}):
        of_these = {case.key.streams: case for case in several if case.key.workers == workers}
        if len(of_these) > 1:
            said = f" with {workers} workers" if workers > 1 else ""
            found += _grown(f"{capital(one.title)} as streams grow{said}", "streams", of_these, one, together)
    of_workers = {case.key.workers: case for case in cases if one.name in case.figures}
    if len(of_workers) > 1:
        found += _grown(f"{capital(one.title)} as workers grow", "workers", of_workers, one, together)
    return found


def _grown(title: str, along: str, cases: dict[int, Case], one: Figure, together: Together) -> list[str]:
    """As it is and, where there are several, as a multiple of each one's own for the fewest."""
    curves_of = [
        Curve(proxy, points, look(place))
        for place, proxy in enumerate(together.names)
        if (points := _points(cases, proxy, one))
    ]
    values = [point.y for curve in curves_of for point in curve.points]
    about = next(iter(cases.values())).title
    decades = spans_decades(values)
    plane = Plane(title=title, unit=one.unit, along=along, across="logarithmic", logarithmic=decades, about=about)
    found = [curves(plane, curves_of)]
    relative = [Curve(curve.name, points, curve.look) for curve in curves_of if (points := _relative(curve.points))]
    if len(relative) > 1 and len(cases) > 2:
        plane = Plane(
            title=f"{title}, over that of the fewest", unit="×", along=along, across="logarithmic", about=about
        )
        found.append(curves(plane, relative))
    return found


def _points(cases: dict[int, Case], proxy: str, one: Figure) -> list[Point]:
    middles = {x: case.middle(proxy, one.name) for x, case in sorted(cases.items())}
    return [
        Point(x, middle.median * one.factor, middle.least * one.factor, middle.most * one.factor)
        for x, middle in middles.items()
        if middle is not None
    ]


def _relative(points: Sequence[Point]) -> list[Point]:
    first = points[0].y
    return [Point(point.x, point.y / first) for point in points] if first > 0 and len(points) > 1 else []


def distributions(case: Case) -> dict[str, dict[str, Distribution]]:
    """By histogram and proxy, over all repeats. Raises `BenchError` for one that is none."""
    found: dict[str, dict[str, Distribution]] = {}
    for name in HISTOGRAMS:
        for proxy in case.measured:
            try:
                one = merged(case.histograms(name, proxy))
            except BenchError as error:
                raise BenchError(f"{case.name}, {proxy}, {name}: {error}") from None
            if one is not None and one.total >= _FEWEST:
                found.setdefault(name, {})[proxy] = one
    return found


def percentiles(name: str, distributions: dict[str, Distribution], together: Together) -> str:
    """Shares of all, by nines: a line a proxy."""
    drawn = []
    for proxy, one in list(distributions.items())[:_MOST_CURVES]:
        marked = one.marked()
        points = [Point(share, value) for share, value in zip(marked, one.at(marked), strict=True)]
        drawn.append(
            Curve(proxy, points, look(together.names.index(proxy)), bare=[Point(*point) for point in one.curve()])
        )
    values = [point.y for curve in drawn for point in (*curve.points, *curve.bare)]
    plane = Plane(
        title=f"{HISTOGRAMS[name]}, by share of all",
        unit="ms",
        along="at or below",
        across="nines",
        logarithmic=spans_decades(values),
        nines=max(one.nines for one in distributions.values()),
    )
    return curves(plane, drawn)


_CHANGES = {
    Became.WORSE: Look(colour="bad", mark="triangle"),
    Became.BETTER: Look(colour="c3", mark="disc"),
    Became.SAME: Look(colour="c5", mark="ring"),
    Became.UNKNOWN: Look(colour="c5", mark="cross"),
}


def changed(found: Sequence[Change]) -> str:
    """How many times as much each is now, with its range; empty where nothing can be told of any."""
    rows = []
    for one in found:
        if one.ratio is not None and (one.before.most or one.now.most):
            low, high = one.span
            said = f"{percent(one.ratio)}, {one.word}"
            name = f"{capital(one.figure.title)} · {one.case.name}"
            rows.append(Range(name=name, ratio=one.ratio, low=low, high=high, said=said, look=_CHANGES[one.became]))
    if not rows:
        return ""
    return ranges("Now over before", "▲ worse, ● better, ○ the same, ✕ cannot tell", rows[:_MOST_RANGES])
