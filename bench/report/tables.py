"""Tables of a page: verdicts, proxies, figures side by side, changes, shares of all. Markup; all text is escaped."""

import html
from collections.abc import Iterable, Sequence

from bench.report.charts import HISTOGRAMS
from bench.report.earlier import Became, Change
from bench.report.figures import Better, Figure, figure
from bench.report.histograms import MARKED, Distribution
from bench.report.noise import FEWEST
from bench.report.stored import OURS
from bench.report.together import Case, Judged, Together
from bench.report.words import capital, listed, number, percent, times
from bench.sheet import pill, table

_PILLS = {Became.WORSE: "bad", Became.BETTER: "good", Became.SAME: "", Became.UNKNOWN: "open"}
_ORDER = list(_PILLS)
_DASH = '<td class="n">–</td>'


def verdicts(judged: Sequence[Judged]) -> str:
    """What was missed first."""
    aims = any(one.verdict.aim for one in judged)
    rows = [
        f"<tr>{_row_head(one.verdict.what, about=one.about)}<td>{_held(one)}</td>"
        f'<td>{html.escape(one.verdict.measured)}</td><td class="q">{html.escape(one.verdict.bar)}</td>'
        f"{_aim(one) if aims else ''}</tr>"
        for one in sorted(judged, key=lambda one: one.holds)
    ]
    heads = _heads("what", "verdict", "measured", "bar", *(["aim", "reached"] if aims else []))
    return table(f"Bars that must hold{', and aims beyond them' if aims else ''}", heads, rows)


def _held(one: Judged) -> str:
    often = f" in {one.held} of {one.of}" if one.of > 1 and not one.holds else ""
    return pill("good", "holds") if one.holds else pill("bad", f"{'held' if often else 'missed'}{often}")


def _aim(one: Judged) -> str:
    if not one.verdict.aim:
        return "<td></td><td></td>"
    mark = pill("good", "reached") if one.verdict.reached else pill("", "not yet")
    return f'<td class="q">{html.escape(one.verdict.aim)}</td><td>{mark}</td>'


def proxies(together: Together) -> str:
    """Who was measured, and what each does not do of the job."""
    rows = [
        f'<tr><th scope="row">{html.escape(one.name)}</th>'
        f"<td>{html.escape(one.version) or '–'}</td><td>{html.escape(one.about)}</td>"
        f"<td>{html.escape(', '.join(one.lacks)) or '–'}</td></tr>"
        for one in together.proxies
    ]
    heads = _heads("proxy", "version", "how it was run", "what it lacks")
    return table("What was measured, and what it does not do of the job", heads, rows)


def comparison(together: Together) -> str:
    """What is better one way: a row a figure, a column a proxy, with the median, the range, and the ratio to ours."""
    ratio = f", and how many times {OURS}’s that is" if OURS in together.names and len(together.names) > 1 else ""
    return _figures(f"Medians over all repeats, with the least and the most{ratio}", together, judged=True)


def further(together: Together) -> str:
    """The rest; empty if there is none."""
    return _figures("Further figures: what was asked for, and who was busy", together, judged=False)


def _figures(caption: str, together: Together, *, judged: bool) -> str:
    rows = []
    for scenario in dict.fromkeys(case.key.scenario for case in together.cases):
        cases = [case for case in together.cases if case.key.scenario == scenario]
        of_these = [
            _figure_row(case, one, together, about=case.which if len(cases) > 1 else "")
            for case in cases
            for one in map(figure, case.figures)
            if (one.better is not Better.NEITHER) is judged
        ]
        if of_these:
            said = f"{html.escape(capital(cases[0].title))} <small>{html.escape(scenario)}</small>"
            span = len(together.names) + 1
            rows += [f'<tr class="head"><th colspan="{span}" scope="rowgroup">{said}</th></tr>', *of_these]
    return table(caption, _heads("figure", numbers=together.names), rows) if rows else ""


def _figure_row(case: Case, one: Figure, together: Together, *, about: str) -> str:
    cells = []
    for proxy in together.names:
        middle = case.middle(proxy, one.name)
        if middle is None:
            cells.append(_DASH)
            continue
        said = number(middle.median * one.factor)
        ratio = None if proxy == OURS or one.better is Better.NEITHER else case.ratio(proxy, one.name, OURS)
        if ratio is not None:
            said += f" <i>{times(ratio)}</i>"
        if middle.most > middle.least:
            said += f"<small>{number(middle.least * one.factor)}–{number(middle.most * one.factor)}</small>"
        cells.append(f'<td class="n{" us" if proxy == OURS and len(together.names) > 1 else ""}">{said}</td>')
    return f"<tr>{_row_head(one.title, one.unit, about=about)}{''.join(cells)}</tr>"


def changes(found: Sequence[Change]) -> str:
    """What is worse first."""
    rows = []
    for one in sorted(found, key=lambda one: _ORDER.index(one.became)):
        what = _row_head(one.figure.title, one.figure.unit, about=f"{one.case.name} · {one.proxy}")
        values = "".join(
            f'<td class="n">{number(middle.median * one.figure.factor)}{_repeats(middle.repeats)}</td>'
            for middle in (one.before, one.now)
        )
        rows.append(f"<tr>{what}<td>{_became(one)}</td>{values}{_change(one)}</tr>")
    heads = [*_heads("figure", "verdict", numbers=("before", "now", "change")), *_heads("compared with")]
    return table("Medians before and now; the change, and the range that it lies in with 95 %", heads, rows)


def _repeats(count: int) -> str:
    return f"<small>of {count}</small>" if count < FEWEST else ""


def _change(one: Change) -> str:
    beside = html.escape(f"that of {listed(one.beside)}" if one.beside else "itself")
    if one.difference is None or one.ratio is None:
        return f"{_DASH}<td>{beside}</td>"
    low, high = (percent(ratio) for ratio in one.span)
    return f'<td class="n">{percent(one.ratio)}<small>{low} to {high}</small></td><td>{beside}</td>'


def _became(one: Change) -> str:
    why = f"<small>{html.escape(one.why)}</small>" if one.why else ""
    return pill(_PILLS[one.became], one.word) + why


def percentiles(found: dict[str, dict[str, Distribution]]) -> str:
    """The same as the charts, in figures."""
    shares = [
        share for share in MARKED if any(share in one.marked() for each in found.values() for one in each.values())
    ]
    rows = []
    for name, each in found.items():
        for proxy, one in each.items():
            known = dict(zip(one.marked(), one.at(one.marked()), strict=True))
            cells = "".join(
                f'<td class="n">{number(known[share])}</td>' if share in known else _DASH for share in shares
            )
            last = f'<td class="n">{number(one.most)}</td><td class="n">{one.total:,}</td>'
            rows.append(f"<tr>{_row_head(HISTOGRAMS[name], about=proxy)}{cells}{last}</tr>")
    heads = _heads("ms", numbers=(*(f"{share * 100:.6g} %" for share in shares), "most", "of"))
    return table("Latencies that so many of all are at or below, all repeats together", heads, rows)


def _row_head(said: str, unit: str = "", *, about: str = "") -> str:
    small = f" <small>{html.escape(unit)}</small>" if unit else ""
    below = f'<span class="about">{html.escape(about)}</span>' if about else ""
    return f'<th scope="row">{html.escape(capital(said))}{small}{below}</th>'


def _heads(*names: str, numbers: Iterable[str] = ()) -> list[str]:
    """Of columns of words, then of columns of numbers."""
    words = [f'<th scope="col">{html.escape(name)}</th>' for name in names]
    return words + [f'<th scope="col" class="n">{html.escape(name)}</th>' for name in numbers]


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with what is known of them; the second is markup."""
    known = "".join(f"<dt>{html.escape(name)}</dt><dd>{said}</dd>" for name, said in pairs if said)
    return f'<dl class="facts">{known}</dl>'
