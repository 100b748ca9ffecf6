"""The report as one page of HTML: verdicts first, then what changed, the comparison, costs, and each scenario. Pure."""

import html
from collections.abc import Sequence

from bench.report import charts, seconds, tables
from bench.report.earlier import Became, Change, subject
from bench.report.stored import CONTROL, DIRECT, OURS, Stored
from bench.report.together import Case, Together, disturbed
from bench.report.words import capital, listed
from bench.sheet import document, pill

_MOST_DRAWN = 40  # cases with charts of their own

READING = (
    "A value is the median over all repeats, with the least and the most of them. A ratio is the median of ratios of "
    "pairs that were measured next to each other, which holds where the values themselves do not. CPU is that of all "
    "of a proxy’s processes, by the kernel’s own account. Latencies count from when a request was due."
)
"""How to read it."""

JUDGING = (
    "What follows the machine’s speed is compared as the ratio to other proxies that were measured next to it in both "
    "runs, where there are any. A change counts where so great a one comes by chance in less than one of twenty "
    "reports (Student’s test of the logarithms, with Holm’s correction for all of a proxy’s figures together) and is "
    "at least 3 %, or 10 % without another proxy. The same is what is surely less than 10 % apart."
)
"""How changes are judged."""

_SAID = {Became.WORSE: "worse", Became.BETTER: "better", Became.SAME: "the same", Became.UNKNOWN: "that cannot be told"}


def page(now: Together, before: Together | None = None, found: Sequence[Change] = ()) -> str:
    """The page. Raises `BenchError` for a histogram that is none."""
    sections = [_verdicts(now)]
    if before is not None:
        sections.append(_changes(before, found))
    sections += [_proxies(now), _comparison(now), _growth(now), *_cases(now)]
    shown = [section for section in sections if section]
    links = "".join(f'<a href="#{name}">{html.escape(title)}</a>' for name, title, _ in shown)
    body = "".join(f'<section id="{name}"><h2>{html.escape(title)}</h2>{body}</section>' for name, title, body in shown)
    title = heading(now)
    return document(
        title,
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(_measured(now))}</p>{_tiles(now, before, found)}"
        f'<nav aria-label="Sections">{links}</nav></header><main>{body}{_about(now, before)}</main>',
    )


def heading(now: Together) -> str:
    """What the report is of."""
    proxies = [name for name in now.names if name not in (DIRECT, CONTROL)]
    ours, others = [name for name in proxies if name == OURS], [name for name in proxies if name != OURS]
    if ours and others:
        return f"Penstock beside {listed(others)}"
    return "Penstock under load" if ours else listed(others) or "The bench"


def _measured(now: Together) -> str:
    scenarios = list(dict.fromkeys(case.key.scenario for case in now.cases))
    dates = dict.fromkeys(run.began for run in now.runs)
    commits = dict.fromkeys(run.commit for run in now.runs if run.commit)
    what = (
        f"{len(scenarios)} scenarios: {', '.join(scenarios)}" if len(scenarios) > 1 else f"Scenario {listed(scenarios)}"
    )
    return f"{what}. Measured {', '.join(dates)}{f', commit {listed(list(commits))}' if commits else ''}."


def _tiles(now: Together, before: Together | None, found: Sequence[Change]) -> str:
    judged = now.verdicts
    aims = [one for one in judged if one.verdict.aim]
    tiles = []
    if judged:
        tiles.append(("bars held", f"{sum(one.holds for one in judged)} <small>of {len(judged)}</small>"))
    if aims:
        tiles.append(("aims reached", f"{sum(one.verdict.reached for one in aims)} <small>of {len(aims)}</small>"))
    tiles += [
        ("proxies", str(len([name for name in now.names if name not in (DIRECT, CONTROL)]))),
        ("measurements", str(sum(len(places) for case in now.cases for places in case.measured.values()))),
    ]
    if before is not None:
        for became, said in ((Became.WORSE, "worse than before"), (Became.BETTER, "better than before")):
            tiles.append((said, str(sum(one.became is became for one in subject(found)))))
    return f'<dl class="tiles">{"".join(f"<div><dt>{name}</dt><dd>{said}</dd></div>" for name, said in tiles)}</dl>'


_Section = tuple[str, str, str]


def _verdicts(now: Together) -> _Section | None:
    judged = now.verdicts
    return ("verdicts", "Verdicts", tables.verdicts(judged)) if judged else None


def _changes(before: Together, found: Sequence[Change]) -> _Section:
    ours = subject(found)
    others = [one for one in found if one not in ours]
    counts = ", ".join(f"{sum(one.became is became for one in ours)} {said}" for became, said in _SAID.items())
    than = ", ".join(f"{run.began}{f', commit {run.commit}' if run.commit else ''}" for run in before.runs)
    more = f"<details><summary>The other proxies’</summary>{tables.changes(others)}</details>" if others else ""
    if not found:
        counts = "Nothing was measured both times"
    drawn = charts.changed(ours)
    body = (
        f"<p><strong>{html.escape(counts)}</strong>, against {html.escape(than)}.</p>"
        f"{_grid(drawn)}"
        f"{tables.changes(ours) if ours else ''}{more}<p>{JUDGING}</p>"
    )
    return "changes", "Since the earlier run", body


def _proxies(now: Together) -> _Section | None:
    return ("proxies", "Proxies", tables.proxies(now)) if len(now.proxies) > 1 else None


def _comparison(now: Together) -> _Section | None:
    if not any(case.figures for case in now.cases):
        return None
    drawn = "".join(chart for case in now.cases if not _is_one_of_many(case, now) for chart in charts.costs(case, now))
    more = f"<details><summary>Further figures</summary>{rest}</details>" if (rest := tables.further(now)) else ""
    return "figures", "Figures", f"{_grid(drawn)}{_disturbed(now)}{tables.comparison(now)}{more}<p>{READING}</p>"


def _disturbed(now: Together) -> str:
    """Where others had the machine, which makes figures worth less."""
    said = disturbed(now)
    return f"<p>{pill('bad', 'noisy')} {html.escape(said)}</p>" if said else ""


def _is_one_of_many(case: Case, now: Together) -> bool:
    """Whether it is a point of a chart of growth."""
    return sum(other.key.scenario == case.key.scenario for other in now.cases) > 1


def _growth(now: Together) -> _Section | None:
    drawn = "".join(charts.growth(now))
    return ("growth", "Growth", _grid(drawn)) if drawn else None


def _cases(now: Together) -> list[_Section]:
    found: list[_Section] = []
    for number, case in enumerate(now.cases):
        distributions = charts.distributions(case)
        drawn = "".join(charts.percentiles(name, each, now) for name, each in distributions.items())
        drawn += (over_time := "".join(seconds.over_time(case, now)))
        if drawn and len(found) < _MOST_DRAWN:
            story = f"<p>{html.escape(case.story)}</p>" if case.story else ""
            values = f"<details><summary>Latencies as a table</summary>{tables.percentiles(distributions)}</details>"
            which = f", {case.which}" if _is_one_of_many(case, now) else ""
            first = ", second by second its first repeat" if over_time and case.repeated else ""
            body = f"<p>{html.escape(case.name)}{first}</p>{story}{_grid(drawn)}{values if distributions else ''}"
            found.append((f"case-{number}", f"{capital(case.title)}{which}", body))
    return found


def _grid(drawn: str) -> str:
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _about(now: Together, before: Together | None) -> str:
    runs = [*now.runs, *(before.runs if before is not None else ())]
    bodies = [
        f"<h3>{'Earlier: ' if number >= len(now.runs) else ''}{html.escape(run.began)}</h3>{_run(run)}"
        for number, run in enumerate(runs)
    ]
    return f'<section id="runs"><h2>How it was measured</h2>{"".join(bodies)}</section>'


def _run(run: Stored) -> str:
    machine = run.machine
    versions = ", ".join(f"{proxy.name} {proxy.version}".strip() for proxy in run.proxies)
    return tables.facts(
        (
            ("command", f"<code>{html.escape(run.command)}</code>"),
            ("commit", f"<code>{html.escape(run.commit)}</code>" if run.commit else ""),
            ("versions", html.escape(versions)),
            ("machine", html.escape(machine.cpu)),
            ("cores", html.escape(machine.cores)),
            ("kernel", html.escape(machine.kernel)),
            ("Python", html.escape(machine.python)),
            ("OpenSSL", html.escape(machine.openssl)),
        )
    )
