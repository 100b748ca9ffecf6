"""The report as Markdown that can stand in a README as it is: verdicts, figures side by side, changes. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from bench.report.earlier import Became, Change, subject
from bench.report.figures import Better, figure
from bench.report.page import heading
from bench.report.stored import OURS
from bench.report.together import Case, Judged, Together, disturbed
from bench.report.words import capital, listed, number, percent, times

_SPECIAL = "\\`*_[]<>|"


def markdown(now: Together, before: Together | None = None, found: Sequence[Change] = ()) -> str:
    """All of it. Figures that are better neither way, and those that are nought throughout, are left to the page."""
    parts = [f"## {escaped(heading(now))}", _verdicts(now.verdicts)]
    if before is not None:
        parts.append(_changes(before, found))
    parts += [_figures(now), _notes(now)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """As text, whatever it holds."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool) -> str:
    """`numbers`: all columns but the first are numbers."""
    under = ["---", *(["---:" if numbers else "---"] * (len(heads) - 1))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, under, *rows))


def _verdicts(judged: Sequence[Judged]) -> str:
    if not judged:
        return ""
    aims = [one for one in judged if one.verdict.aim]
    held = f"{sum(one.holds for one in judged)} of {len(judged)} bars hold"
    reached = f", {sum(one.verdict.reached for one in aims)} of {len(aims)} aims are reached" if aims else ""
    rows = [_verdict(one, aims=bool(aims)) for one in sorted(judged, key=lambda one: one.holds)]
    heads = ["what", "measured", "bar", "", *(["aim", ""] if aims else [])]
    return f"{held}{reached}.\n\n{_table(heads, rows, numbers=False)}"


def _verdict(one: Judged, *, aims: bool) -> list[str]:
    about = f" ({escaped(one.about)})" if one.about else ""
    often = f" in {one.held} of {one.of}" if 0 < one.held < one.of else ""
    holds = "holds" if one.holds else f"**held{often}**" if often else "**missed**"
    reached = ("reached" if one.verdict.reached else "not yet") if one.verdict.aim else ""
    cells = [f"{escaped(one.verdict.what)}{about}", escaped(one.verdict.measured), escaped(one.verdict.bar), holds]
    return [*cells, *([escaped(one.verdict.aim), reached] if aims else [])]


def _figures(now: Together) -> str:
    rows: list[list[str]] = []
    for scenario in dict.fromkeys(case.key.scenario for case in now.cases):
        cases = [case for case in now.cases if case.key.scenario == scenario]
        of_these = [row for case in cases for row in _case(case, now, which=len(cases) > 1)]
        if of_these:
            rows += [[f"**{escaped(capital(cases[0].title))}**", *([""] * len(now.names))], *of_these]
    return _table(["", *map(escaped, now.names)], rows, numbers=True) if rows else ""


def _case(case: Case, now: Together, *, which: bool) -> Iterator[list[str]]:
    for one in map(figure, case.figures):
        middles = [case.middle(proxy, one.name) for proxy in now.names]
        if one.better is not Better.NEITHER and any(middle.most for middle in middles if middle is not None):
            said = ", ".join(part for part in (one.title, case.which if which else "", one.unit) if part)
            yield [escaped(said), *(_cell(case, one.name, proxy, one.factor) for proxy in now.names)]


def _cell(case: Case, name: str, proxy: str, factor: float) -> str:
    middle = case.middle(proxy, name)
    if middle is None:
        return "–"
    said = number(middle.median * factor)
    if middle.most > middle.least:
        said += f" ({number(middle.least * factor)}–{number(middle.most * factor)})"
    ratio = case.ratio(proxy, name, OURS) if proxy != OURS else None
    return said if ratio is None else f"{said}, {times(ratio)}"


def _changes(before: Together, found: Sequence[Change]) -> str:
    runs = ", ".join(f"{run.began}{f' (commit {run.commit})' if run.commit else ''}" for run in before.runs)
    ours = subject(found)
    counts = {became: sum(one.became is became for one in ours) for became in Became}
    said = (
        f"Against the run of {escaped(runs)}: {counts[Became.WORSE]} worse, {counts[Became.BETTER]} better, "
        f"{counts[Became.SAME]} the same, {counts[Became.UNKNOWN]} that nobody can tell."
    )
    told = [one for became in (Became.WORSE, Became.BETTER) for one in ours if one.became is became]
    rows = [_change(one) for one in told]
    heads = ["figure", "before", "now", "change", "95 %", ""]
    return f"{said}\n\n{_table(heads, rows, numbers=True)}" if rows else said


def _change(one: Change) -> list[str]:
    factor, unit = one.figure.factor, f", {one.figure.unit}" if one.figure.unit else ""
    beside = f", beside {listed(one.beside)}" if one.beside else ""
    low, high = (percent(ratio) for ratio in one.span)
    return [
        f"{escaped(f'{one.case.name}, {one.proxy}: {one.figure.title}')}{unit}{escaped(beside)}",
        number(one.before.median * factor),
        number(one.now.median * factor),
        percent(one.ratio or 1.0),
        f"{low} to {high}",
        f"**{one.word}**" if one.became is Became.WORSE else one.word,
    ]


def _notes(now: Together) -> str:
    lines = []
    if len(now.names) > 1 and OURS in now.names:
        lines.append(f"Medians (least–most); × is how many times {OURS}’s, by pairs measured next to each other.\n")
    if said := disturbed(now):
        lines.append(f"{escaped(said)}\n")
    for proxy in now.proxies:
        if proxy.lacks or proxy.version:
            lacks = f": lacks {escaped(', '.join(proxy.lacks))}" if proxy.lacks else ""
            lines.append(f"- {escaped(f'{proxy.name} {proxy.version}'.strip())}{lacks}")
    for run in now.runs:
        machine = run.machine
        commit = f", commit {escaped(run.commit)}" if run.commit else ""
        where = escaped(f"{machine.cpu}; {machine.cores}; kernel {machine.kernel}, {machine.python}, {machine.openssl}")
        lines.append(f"\n{code(run.command)}, {escaped(run.began)}{commit}. {where}.")
    return "\n".join(lines)


def code(text: str) -> str:
    """As code, whatever it holds: between more backticks than there are in it."""
    runs = [len(run) for run in "".join(letter if letter == "`" else " " for letter in text).split()]
    fence = "`" * (max(runs, default=0) + 1)
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"
