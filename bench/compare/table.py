"""What was measured, as Markdown: a table a phase, a row a figure, a column a proxy; then the bars. Pure."""

from collections.abc import Iterator, Sequence
from statistics import median

from bench.compare.bars import quantity, unit
from bench.compare.judge import KEPT, errors, failure, noisy
from bench.report.stored import OURS, Measured, Stored, Verdict

_TITLES = {
    "cpu_us_per_event": "**CPU per SSE event**",
    "cpu_us_per_request": "**CPU per plain request**",
    "cpu_us_per_handshake": "**CPU per full handshake**",
    "added_p50_ms": "**added latency over direct, p50**",
    "added_p99_ms": "**added latency over direct, p99**",
    "kb_per_stream": "**memory a stream**",
    "share_of_proxy": "share of a core: the proxy",
    "share_of_mock_and_load": "share of a core: mock and load",
    "share_of_others": "share of a core: others",
    "share_of_rate": "events that came, of those that were due",
    "share_of_streams": "streams that had begun",
}


def markdown(stored: Stored) -> str:
    """All of it."""
    names = dict.fromkeys(one.scenario for one in stored.measured)
    return "\n".join((heading(stored), *(section(name, stored) for name in names), bars(stored)))


def heading(stored: Stored) -> str:
    """What is compared, by which command, where, and what each proxy lacks."""
    peers = ", ".join(proxy.name for proxy in stored.proxies if proxy.name != OURS) or "nothing"
    where = stored.machine
    proxies = "\n".join(
        f"- **{one.name}** {one.version}: {one.about}" + (f"; lacks {', '.join(one.lacks)}" if one.lacks else "")
        for one in stored.proxies
    )
    return (
        f"# Penstock beside {peers}\n\n`{stored.command}`, {stored.began}, commit {stored.commit or 'unknown'}\n\n"
        f"{where.cpu}, {where.cores}; kernel {where.kernel}, {where.python}, {where.openssl}\n\n{proxies}\n"
    )


def section(name: str, stored: Stored) -> str:
    """One phase."""
    measured = [one for one in stored.measured if one.scenario == name]
    if not measured:
        return f"## {name}\n\nNothing was measured.\n"
    columns = list(dict.fromkeys(one.proxy for one in measured))
    return f"## {name}: {measured[0].title}\n\n{phase_table(measured, columns)}\n"


def bars(stored: Stored) -> str:
    """What the figures are held against."""
    return f"## The bars\n\n{verdict_table(stored.verdicts)}\n"


def phase_table(measured: Sequence[Measured], columns: Sequence[str]) -> str:
    """One phase. A cell has the median and, over repeats, least and most; of costs also how Penstock's compare."""
    rows = list(dict.fromkeys(_rows(measured)))
    several = len({(streams, workers) for streams, workers, _ in rows}) > 1
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for streams, workers, figure in rows:
        about = [one for one in measured if (one.streams, one.workers) == (streams, workers)]
        cells = " | ".join(_cell(about, figure, proxy) for proxy in columns)
        lines.append(f"| {_title(figure)}{_which(streams, workers) if several else ''} | {cells} |")
    lines += [f"\n{said}" for said in _said(measured, columns)]
    return "\n".join(lines)


def _rows(measured: Sequence[Measured]) -> Iterator[tuple[int, int, str]]:
    for one in measured:
        for figure in one.figures:
            yield one.streams, one.workers, figure


def _title(figure: str) -> str:
    words = [word for word in figure.split("_") if word not in ("us", "ms", "kb", "mb")]
    return _TITLES.get(figure) or " ".join(words)


def _which(streams: int, workers: int) -> str:
    parts = [f"{streams:,} streams" if streams else "", f"{workers} workers" if workers > 1 else ""]
    return "".join(f", {part}" for part in parts if part)


def _cell(about: Sequence[Measured], figure: str, proxy: str) -> str:
    theirs = {one.repeat: one.figures[figure] for one in about if one.proxy == proxy and figure in one.figures}
    if not theirs:
        return "–"
    values, sign = list(theirs.values()), unit(figure)
    said = quantity(median(values), sign)
    if len(values) > 1 and max(values) > min(values):
        said += f" ({quantity(min(values), '')}–{quantity(max(values), '')})"
    ours = {one.repeat: one.figures[figure] for one in about if one.proxy == OURS and figure in one.figures}
    pairs = [ours[repeat] / value for repeat, value in theirs.items() if repeat in ours and value]
    if figure.startswith("cpu_us") and proxy != OURS and pairs:
        said += f"; ours {quantity(median(pairs), '×')}"
    return said


def _said(measured: Sequence[Measured], columns: Sequence[str]) -> Iterator[str]:
    """Who failed, and what was disturbed."""
    for proxy in columns:
        theirs = [one for one in measured if one.proxy == proxy]
        for said in dict.fromkeys(said for one in theirs if (said := failure(one))):
            yield f"**{proxy} failed**: {said}"
        for said in dict.fromkeys(said for one in theirs if (said := errors(one))):
            yield f"**{proxy}, not every answer was right**: {said}"
        for one in theirs:
            if (share := one.figures.get("share_of_rate", 1.0)) < KEPT:
                yield (
                    f"{proxy}{_which(one.streams, one.workers)}: {100 * share:.0f} % of the events that were due came; "
                    "the shares say whose core was full."
                )
        disturbed = [one.figures["share_of_others"] for one in theirs if noisy(one)]
        if disturbed:
            yield (
                f"{proxy}: noisy in {len(disturbed)} of {len(theirs)}; others took up to "
                f"{100 * max(disturbed):.0f} % of a core meanwhile."
            )


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """The bars, and the aims beyond them."""
    lines = ["| what | measured (least – most) | bar | | aim | |", "|---|---|---|---|---|---|"]
    for one in verdicts:
        aim = f"{one.aim} | {'reached' if one.reached else 'not yet'}" if one.aim else "| "
        lines.append(f"| {one.what} | **{one.measured}** | {one.bar} | {_mark(one.holds)} | {aim} |")
    return "\n".join(lines)


def _mark(holds: bool) -> str:
    return "holds" if holds else "**missed**"
