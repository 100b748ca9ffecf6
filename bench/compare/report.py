"""The table of a comparison: medians, ratios or differences pair by pair, and the bars they are held against."""

from enum import Enum
from statistics import median

import msgspec

Runs = dict[str, list[dict[str, float]]]
"""Each proxy's figures, repeat by repeat."""


class Against(Enum):
    PEER_RATIO = "× {peer}"
    PEER_DIFFERENCE = "over {peer}"
    DIRECT_DIFFERENCE = "over direct"
    NOTHING = ""


class Bar(msgspec.Struct, frozen=True):
    """A figure of the gateway, what it is held against, and the most it may be."""

    title: str
    against: Against
    limit: float


BARS: dict[str, Bar] = {
    "cpu_us_per_event": Bar("CPU µs per SSE event, 400 streams at 25 ms", Against.PEER_RATIO, 2.2),
    "cpu_us_per_request": Bar("CPU µs per plain request, 16 connections", Against.PEER_RATIO, 4.0),
    "queued_cpu_us_per_request": Bar("the same, requests always queued", Against.PEER_RATIO, 4.0),
    "cpu_us_per_handshake": Bar("CPU µs per full TLS handshake, client certificate", Against.PEER_RATIO, 2.2),
    "first_event_p99_ms": Bar("time to first event, p99 ms, 200 streams", Against.PEER_DIFFERENCE, 2.0),
    "worker_idle_mb": Bar("memory of an idle worker, MB", Against.NOTHING, 60.0),
    "kb_per_stream": Bar("memory a stream at 1,000, KB", Against.NOTHING, 64.0),
    "streams_lost_or_corrupted": Bar("streams lost or corrupted", Against.NOTHING, 0.0),
    "soak_late_p99_ms": Bar("delay of events, p99 ms, 1,000 streams", Against.DIRECT_DIFFERENCE, 10.0),
    "errors": Bar("errors", Against.NOTHING, 0.0),
}


class Judged(msgspec.Struct):
    """A figure beside its bar: the median of the pairs, their range, and whether the median holds."""

    median: float
    least: float
    most: float
    holds: bool


def judge(bar: Bar, figure: str, runs: Runs, peer: str | None) -> Judged | None:
    """None where what the bar is held against was not measured."""
    ours = [run[figure] for run in runs.get("penstock", ()) if figure in run]
    other = {Against.NOTHING: None, Against.DIRECT_DIFFERENCE: "direct"}.get(bar.against, peer)
    if bar.against is Against.NOTHING:
        values = ours
    elif other is None or other not in runs:
        return None
    else:
        theirs = [run[figure] for run in runs[other] if figure in run]
        ratio = bar.against is Against.PEER_RATIO
        values = [a / b if ratio else a - b for a, b in zip(ours, theirs, strict=False) if b or not ratio]
    if not values:
        return None
    return Judged(median(values), min(values), max(values), median(values) <= bar.limit)


def table(runs: Runs, peer: str | None) -> str:
    """Markdown: a row a figure, a column a proxy, and the verdict where there is a bar."""
    figures = list(dict.fromkeys(name for repeats in runs.values() for repeat in repeats for name in repeat))
    lines = [f"| figure | {' | '.join(runs)} | measured (least–most) | bar | |", "|---|" + "---|" * (len(runs) + 3)]
    for figure in figures:
        cells = [_cell([repeat[figure] for repeat in repeats if figure in repeat]) for repeats in runs.values()]
        bar = BARS.get(figure)
        verdict = " |  | " if bar is None else _verdict(bar, judge(bar, figure, runs, peer), peer)
        lines.append(f"| {bar.title if bar else figure.replace('_', ' ')} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    return f"{median(values):.2f}" if values else "–"


def _verdict(bar: Bar, judged: Judged | None, peer: str | None) -> str:
    against = bar.against.value.format(peer=peer)
    limit = f"≤ {bar.limit:g} {against}".strip()
    if judged is None:
        return f"– | {limit} | "
    return f"**{judged.median:.2f}** ({judged.least:.2f}–{judged.most:.2f}) | {limit} | {_mark(judged.holds)}"


def _mark(holds: bool) -> str:
    return "holds" if holds else "**missed**"
