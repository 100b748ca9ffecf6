"""All that was played on one page: self-contained HTML with the charts inside it, and a table of verdicts. Pure."""

import html
import math
from collections.abc import Sequence

from bench.plot import Band, Chart, Series, lines, stacked
from bench.report.stored import Measured, Second
from bench.sheet import document, pill, table

_COLOURS = ("c1", "c2", "c3", "c4", "c5")
_BACKEND = "backend_"


def page(everything: Sequence[tuple[str, Measured]], about: str) -> str:
    """The page: each scenario's story, and what was measured of it. `about` says when and on what machine."""
    links = " ".join(
        f'<a href="#{one.scenario}">{_mark(holds=_holds(one))} {html.escape(one.scenario)}</a>' for _, one in everything
    )
    sections = "".join(_section(story, one) for story, one in everything)
    return document("Penstock: scenarios", f"<h1>Scenarios</h1><p>{html.escape(about)}</p><nav>{links}</nav>{sections}")


def _holds(one: Measured) -> bool:
    return all(verdict.holds for verdict in one.verdicts)


def _section(story: str, one: Measured) -> str:
    rows = [
        f'<tr><td>{html.escape(verdict.what)}</td><td class="n">{html.escape(verdict.measured)}</td>'
        f'<td class="n">{html.escape(verdict.bar)}</td><td>{_mark(holds=verdict.holds)}</td></tr>'
        for verdict in one.verdicts
    ]
    heads = ["<th>bar</th>", '<th class="n">measured</th>', '<th class="n">must be</th>', "<th>verdict</th>"]
    return (
        f'<section id="{one.scenario}"><h2>{html.escape(one.title)}</h2><p>{html.escape(story)}</p>'
        f'{table(f"Bars of {one.scenario}", heads, rows)}<div class="charts">{"".join(charts(one))}</div></section>'
    )


def _mark(*, holds: bool) -> str:
    return pill("good", "holds") if holds else pill("bad", "missed")


def charts(one: Measured) -> list[str]:
    """What became of requests, their TTFT, who answered, what backends were asked, and what the gateway took for it."""
    found = one.seconds
    backends = sorted({name for second in found for name in second.more if name.startswith(_BACKEND)})
    return [
        stacked(
            _chart(one, "Requests by what became of them", "a second"),
            [
                Series("answered", [second.answered for second in found], "c3"),
                Series("refused by the gateway", [second.refused for second in found], "c2", hatch=1),
                Series("error before a first byte", [second.failed for second in found], "bad", hatch=2),
                Series("broken after the first byte", [second.broken for second in found], "worse", hatch=3),
            ],
        ),
        lines(
            _chart(one, "Time to first token, from when a request was due", "ms", logarithmic=True),
            [
                Series("p50", [second.ttft_p50 for second in found], "c1"),
                Series("p90", _more(found, "ttft_p90_ms"), "c3", dash="7 3"),
                Series("p99", [second.ttft_p99 for second in found], "c2", dash="2 3"),
            ],
        ),
        stacked(
            _chart(one, "Answers by backend", "a second"),
            [
                Series(
                    name.removeprefix(_BACKEND),
                    [second.more.get(name, 0) for second in found],
                    _COLOURS[number % len(_COLOURS)],
                    hatch=number % 5,
                )
                for number, name in enumerate(backends)
            ],
        ),
        lines(
            _chart(one, "Requests at backends beside those of clients", "a second", most=1.2 * _most(found)),
            [
                Series("of clients", [second.asked for second in found], "c5", dash="7 3"),
                Series("at backends", _more(found, "attempts"), "c1"),
            ],
        ),
        lines(_chart(one, "Memory of the gateway's processes", "MB"), [Series("PSS", _more(found, "memory_mb"), "c1")]),
        lines(_chart(one, "CPU of the gateway's processes", "cores"), [Series("CPU", _more(found, "cpu_share"), "c2")]),
    ]


def _more(found: Sequence[Second], name: str) -> list[float | None]:
    return [second.more.get(name) for second in found]


def _most(found: Sequence[Second]) -> float:
    return max((second.asked for second in found), default=0)


def _chart(one: Measured, title: str, unit: str, *, logarithmic: bool = False, most: float = 0.0) -> Chart:
    end = math.ceil(one.duration)
    return Chart(
        title=title,
        unit=unit,
        starts=[float(second) for second in range(end)],
        end=float(end),
        bands=[Band(band.what, band.since, band.until) for band in one.bands],
        logarithmic=logarithmic,
        most=most,
    )
