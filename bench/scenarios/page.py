"""All timelines on one page: self-contained HTML with the charts inside it, and a table of verdicts. Pure."""

import html
import math
from collections.abc import Sequence

import msgspec

from bench.faults.finding import Finding
from bench.plot import STYLE, Band, Chart, Series, lines, stacked
from bench.scenarios.measure import Played, Second, seconds
from bench.scenarios.schedule import bands
from bench.scenarios.structs import Scenario

_COLOURS = ("c1", "c2", "c3", "c4", "c5")
_CSS = """
:root { color-scheme: light dark; --page: #fff; --text: #1c2330; --soft: #5a6475; --edge: #dfe4ec; --good: #2f9e63;
  --missed: #c62f3a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12161e; --text: #e4e8ef; --soft: #97a3b6; --edge: #2b3342; --good: #5fcb92; --missed: #f2707a; } }
@media print { :root { --page: #fff; --text: #000; --soft: #444; --edge: #ccc; --good: #1f8150; --missed: #b01824; }
  section { break-before: page; } nav { display: none; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1.2rem 4rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 0.3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 0.2rem; }
p { margin: 0.2rem 0 0.8rem; max-width: 60rem; color: var(--soft); }
table { border-collapse: collapse; width: 100%; margin: 0.4rem 0 1.2rem; font-size: 0.85rem; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--edge); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.holds { color: var(--good); } .missed { color: var(--missed); font-weight: 700; }
nav { font-size: 0.85rem; } nav a { color: inherit; margin-right: 0.9rem; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.2rem 1.6rem; }
"""


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
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Penstock: timelines</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}{STYLE}</style></head><body><h1>Timelines</h1><p>{html.escape(about)}</p>"
        f"<nav>{links}</nav>{''.join(map(_section, everything))}</body></html>\n"
    )


def _section(shown: Shown) -> str:
    scenario = shown.scenario
    rows = "".join(
        f'<tr><td>{html.escape(one.what)}</td><td class="n">{html.escape(one.measured)}</td>'
        f'<td class="n">{html.escape(one.bar)}</td><td>{_mark(holds=one.holds)}</td></tr>'
        for one in shown.findings
    )
    return (
        f'<section id="{shown.name}"><h2>{html.escape(scenario.title)}</h2><p>{html.escape(scenario.story)}</p>'
        f"<table><thead><tr><th>bar</th><th>measured</th><th>must be</th><th></th></tr></thead><tbody>{rows}</tbody>"
        f'</table><div class="charts">{"".join(charts(scenario, shown.played))}</div></section>'
    )


def _mark(*, holds: bool) -> str:
    return f'<span class="{"holds" if holds else "missed"}">{"holds" if holds else "missed"}</span>'


def charts(scenario: Scenario, played: Played) -> list[str]:
    """What became of requests, their TTFT, who answered, and what backends were asked."""
    found = seconds(played, scenario.duration)
    backends = [backend.name for backend in scenario.backends]
    return [
        stacked(
            _chart(scenario, "Requests by what became of them", "a second"),
            [
                Series("answered", [one.answered for one in found], "c3"),
                Series("refused by the gateway", [one.refused for one in found], "c2"),
                Series("error before a first byte", [one.failed for one in found], "bad"),
                Series("broken after the first byte", [one.broken for one in found], "worse"),
            ],
        ),
        lines(
            _chart(scenario, "Time to first token, from when a request was due", "ms", logarithmic=True),
            [
                Series("p50", [one.ttft_p50 for one in found], "c1"),
                Series("p90", [one.ttft_p90 for one in found], "c3"),
                Series("p99", [one.ttft_p99 for one in found], "c2"),
            ],
        ),
        stacked(
            _chart(scenario, "Answers by backend", "a second"),
            [
                Series(name, [one.by.get(name, 0) for one in found], _COLOURS[number % len(_COLOURS)])
                for number, name in enumerate(backends)
            ],
        ),
        lines(
            _chart(scenario, "Requests at backends beside those of clients", "a second", most=1.2 * _most(found)),
            [
                Series("of clients", [one.asked for one in found], "c5"),
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
