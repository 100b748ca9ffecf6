"""All timelines on one page: self-contained HTML with the charts inside it, and a table of verdicts. Pure."""

import html
import math
from collections.abc import Sequence

import msgspec

from bench.faults.finding import Finding
from bench.plot import Band, Chart, Series, lines, stacked
from bench.scenarios.measure import Played, Second, seconds
from bench.scenarios.schedule import bands
from bench.scenarios.structs import Scenario
from bench.sheet import document, pill, table

_COLOURS = ("c1", "c2", "c3", "c4", "c5")


class Shown(msgspec.Struct, frozen=True):
    """A scenario, how it went, and how it was judged."""

    name: str
    scenario: Scenario
    played: Played
    findings: list[Finding]

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)


def page(everything: Sequence[Shown], about: str) -> str:
    """The page. `about` says when and on what machine."""
    links = " ".join(
        f'<a href="#{one.name}">{_mark(holds=one.holds)} {html.escape(one.name)}</a>' for one in everything
    )
    sections = "".join(map(_section, everything))
    return document("Penstock: timelines", f"<h1>Timelines</h1><p>{html.escape(about)}</p><nav>{links}</nav>{sections}")


def _section(shown: Shown) -> str:
    scenario = shown.scenario
    rows = [
        f'<tr><td>{html.escape(one.what)}</td><td class="n">{html.escape(one.measured)}</td>'
        f'<td class="n">{html.escape(one.bar)}</td><td>{_mark(holds=one.holds)}</td></tr>'
        for one in shown.findings
    ]
    heads = ["<th>bar</th>", '<th class="n">measured</th>', '<th class="n">must be</th>', "<th>verdict</th>"]
    return (
        f'<section id="{shown.name}"><h2>{html.escape(scenario.title)}</h2><p>{html.escape(scenario.story)}</p>'
        f"{table(f'Bars of {shown.name}', heads, rows)}"
        f'<div class="charts">{"".join(charts(scenario, shown.played))}</div></section>'
    )


def _mark(*, holds: bool) -> str:
    return pill("good", "holds") if holds else pill("bad", "missed")


def charts(scenario: Scenario, played: Played) -> list[str]:
    """What became of requests, their TTFT, who answered, and what backends were asked."""
    found = seconds(played, scenario.duration)
    backends = [backend.name for backend in scenario.backends]
    return [
        stacked(
            _chart(scenario, "Requests by what became of them", "a second"),
            [
                Series("answered", [one.answered for one in found], "c3"),
                Series("refused by the gateway", [one.refused for one in found], "c2", hatch=1),
                Series("error before a first byte", [one.failed for one in found], "bad", hatch=2),
                Series("broken after the first byte", [one.broken for one in found], "worse", hatch=3),
            ],
        ),
        lines(
            _chart(scenario, "Time to first token, from when a request was due", "ms", logarithmic=True),
            [
                Series("p50", [one.ttft_p50 for one in found], "c1"),
                Series("p90", [one.ttft_p90 for one in found], "c3", dash="7 3"),
                Series("p99", [one.ttft_p99 for one in found], "c2", dash="2 3"),
            ],
        ),
        stacked(
            _chart(scenario, "Answers by backend", "a second"),
            [
                Series(name, [one.by.get(name, 0) for one in found], _COLOURS[number % len(_COLOURS)], hatch=number % 5)
                for number, name in enumerate(backends)
            ],
        ),
        lines(
            _chart(scenario, "Requests at backends beside those of clients", "a second", most=1.2 * _most(found)),
            [
                Series("of clients", [one.asked for one in found], "c5", dash="7 3"),
                Series("at backends", [one.attempts for one in found], "c1"),
            ],
        ),
    ]


def _most(found: Sequence[Second]) -> float:
    return max((one.asked for one in found), default=0)


def _chart(scenario: Scenario, title: str, unit: str, *, logarithmic: bool = False, most: float = 0.0) -> Chart:
    end = math.ceil(scenario.duration)
    return Chart(
        title=title,
        unit=unit,
        starts=[float(second) for second in range(end)],
        end=float(end),
        bands=[Band(*band) for band in bands(scenario)],
        logarithmic=logarithmic,
        most=most,
    )
