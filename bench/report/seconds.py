"""Charts of every second of a run: what became of requests, latencies, and what was taken of the machine. Pure."""

from collections.abc import Iterable, Sequence

from bench.plot import Band, Chart, Series, lines, look, spans_decades, stacked
from bench.report.stored import OURS, Measured, Second
from bench.report.thin import Thinned, names, thin
from bench.report.together import Case, Together

_MOST_LINES = 12
_BACKEND = "backend_"


def over_time(case: Case, together: Together) -> list[str]:
    """Those of a case: of one proxy all there are, of several side by side."""
    watched = {proxy: one for proxy in case.measured if (one := case.watched(proxy)) is not None}
    if len(watched) < 2:
        return [chart for one in watched.values() for chart in of_one(one)]
    thinned = {proxy: thin(one.seconds) for proxy, one in watched.items()}
    found = [_outcomes(one, thinned[proxy], f", {proxy}") for proxy, one in watched.items() if _told(proxy, one)]
    return found + _beside(watched, thinned, together)


def of_one(one: Measured) -> list[str]:
    """All that is known of one proxy in one scenario, second by second."""
    thinned = thin(one.seconds)
    return [_outcomes(one, thinned), *_alone(one, thinned)] if thinned.places else []


def _told(proxy: str, one: Measured) -> bool:
    """Of others, only if something went wrong."""
    return proxy == OURS or any(second.failed or second.broken or second.refused for second in one.seconds)


def _chart(
    title: str, unit: str, one: Measured, thinned: Thinned, *, logarithmic: bool = False, peaks: bool = False
) -> Chart:
    """`peaks`: of what is put together, the highest is shown."""
    how = f" ({'highest' if peaks else 'mean'} of each {thinned.width} s)" if thinned.width > 1 else ""
    return Chart(
        title=title + how,
        unit=unit,
        starts=thinned.starts,
        end=thinned.end,
        bands=[Band(band.what, band.since, band.until) for band in one.bands],
        logarithmic=logarithmic,
    )


def _outcomes(one: Measured, thinned: Thinned, of: str = "") -> str:
    return stacked(
        _chart(f"Requests by what became of them{of}", "a second", one, thinned),
        [
            Series("answered", thinned.mean(lambda second: second.answered), "c3"),
            Series("refused", thinned.mean(lambda second: second.refused), "c2", hatch=1),
            Series("failed before a first byte", thinned.mean(lambda second: second.failed), "bad", hatch=2),
            Series("broken after it", thinned.mean(lambda second: second.broken), "worse", hatch=3),
        ],
    )


def _alone(one: Measured, thinned: Thinned) -> list[str]:
    """One proxy's charts."""
    p50, p99, late = (thinned.most(of) for of in (_ttft_p50, _ttft_p99, _late_p99))
    asked, attempts = thinned.mean(lambda second: second.asked), thinned.more("attempts")
    events = thinned.mean(lambda second: second.events)
    found = [
        _lines(
            "Time to first token",
            "ms",
            one,
            thinned,
            [("p50", p50), ("p90", thinned.more("ttft_p90_ms")), ("p99", p99)],
            peaks=True,
        ),
        _lines("Lateness of events, p99", "ms", one, thinned, [("p99", late)], peaks=True),
        _lines("Events", "a second", one, thinned, [("events", events)] if any(events) else []),
    ]
    backends = [name for name in names([thinned]) if name.startswith(_BACKEND)]
    if backends:
        shares = [
            Series(name.removeprefix(_BACKEND), thinned.more(name), look(place).colour, hatch=place % 5)
            for place, name in enumerate(backends)
        ]
        found.append(stacked(_chart("Answers by backend", "a second", one, thinned), shares))
    if any(value is not None for value in attempts):
        drawn = [("of clients", asked), ("at backends", attempts)]
        found.append(_lines("Requests at backends beside those of clients", "a second", one, thinned, drawn))
    for title, unit, factor, several in _taken(names([thinned])):
        drawn = [(said, _times(thinned.more(name), factor)) for name, said in several]
        found.append(_lines(title, unit, one, thinned, drawn, peaks="share" not in several[0][0]))
    return [chart for chart in found if chart]


def _beside(watched: dict[str, Measured], thinned: dict[str, Thinned], together: Together) -> list[str]:
    """Several proxies' charts: a line a proxy, where their seconds are the same."""
    (first, *_), (place, *_) = watched.values(), thinned.values()
    same = {proxy: one for proxy, one in thinned.items() if one.starts == place.starts}
    found = []
    for title, of in (("Time to first token, p50", _ttft_p50), ("Time to first token, p99", _ttft_p99)):
        found.append(
            _lines(
                title, "ms", first, place, [(proxy, one.most(of)) for proxy, one in same.items()], together, peaks=True
            )
        )
    late = [(proxy, one.most(_late_p99)) for proxy, one in same.items()]
    found.append(_lines("Lateness of events, p99", "ms", first, place, late, together, peaks=True))
    for title, unit, factor, name in (
        ("CPU of all its processes", "% of a core", 100.0, "cpu_share"),
        ("Memory of all its processes", "MB", 1.0, "memory_mb"),
        ("Descriptors of all its processes", "", 1.0, "descriptors"),
    ):
        drawn = [(proxy, _times(one.more(name), factor)) for proxy, one in same.items()]
        found.append(_lines(title, unit, first, place, drawn, together, peaks=name != "cpu_share"))
    return [chart for chart in found if chart]


def _ttft_p50(second: Second) -> float | None:
    return second.ttft_p50


def _ttft_p99(second: Second) -> float | None:
    return second.ttft_p99


def _late_p99(second: Second) -> float | None:
    return second.late_p99


def _times(values: Iterable[float | None], factor: float) -> list[float | None]:
    return [None if value is None else value * factor for value in values]


def _taken(known: Sequence[str]) -> list[tuple[str, str, float, list[tuple[str, str]]]]:
    """Charts of what was taken of the machine: title, unit, factor, and the figures with what each is of."""
    found = []
    for title, unit, factor, end in (
        ("CPU", "% of a core", 100.0, "cpu_share"),
        ("Memory", "MB", 1.0, "memory_mb"),
        ("Descriptors", "", 1.0, "descriptors"),
        ("Streams open", "", 1.0, "streams"),
        ("Connections of clients", "", 1.0, "connections"),
    ):
        several = [(name, _whose(name, end)) for name in known if name == end or name.endswith(f"_{end}")]
        if several:
            found.append((title, unit, factor, several))
    return found


def _whose(name: str, end: str) -> str:
    return name.removesuffix(end).strip("_").replace("_", " ") or "all"


def _lines(
    title: str,
    unit: str,
    one: Measured,
    thinned: Thinned,
    drawn: Sequence[tuple[str, Sequence[float | None]]],
    together: Together | None = None,
    *,
    peaks: bool = False,
) -> str:
    """Empty where there is nothing to be drawn. With `together`, names are proxies."""
    known = [(name, values) for name, values in drawn if any(value is not None for value in values)]
    if not known:
        return ""
    everything = [value for _, values in known for value in values if value is not None]
    series = []
    for place, (name, values) in enumerate(known[:_MOST_LINES]):
        shown = look(place if together is None else together.names.index(name))
        series.append(Series(name, values, shown.colour, shown.dash))
    return lines(
        _chart(title, unit, one, thinned, logarithmic=unit == "ms" and spans_decades(everything), peaks=peaks), series
    )
