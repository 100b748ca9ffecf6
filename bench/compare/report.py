"""The table of a comparison: medians, ratios pair by pair, and the bars they are held against."""

from statistics import median

BARS: dict[str, tuple[str, float, str]] = {
    "cpu_us_per_event": ("CPU µs per SSE event, 400 streams at 25 ms", 2.2, "≤ 2.2 × nginx"),
    "cpu_us_per_request": ("CPU µs per plain request, 16 connections", 4.0, "≤ 4 × nginx"),
    "cpu_us_per_handshake": ("CPU µs per full TLS handshake with client certificate", 2.2, "≤ 2.2 × nginx"),
}
"""Figures that are held to a ratio."""


def table(runs: dict[str, list[dict[str, float]]], peer: str | None) -> str:
    """Markdown: a row a figure, a column a proxy; `runs` is each proxy's figures, repeat by repeat."""
    names = list(runs)
    figures = list(dict.fromkeys(name for repeats in runs.values() for repeat in repeats for name in repeat))
    lines = ["| figure | " + " | ".join(names) + " | ratio (min–max) | bar |", "|---|" + "---|" * (len(names) + 2)]
    for figure in figures:
        cells = [_cell([repeat[figure] for repeat in runs[name] if figure in repeat]) for name in names]
        title, _, bar = BARS.get(figure, (figure, 0.0, ""))
        lines.append(f"| {title} | {' | '.join(cells)} | {_ratio(runs, figure, peer) if bar else ''} | {bar} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    return f"{median(values):.2f}" if values else "–"


def _ratio(runs: dict[str, list[dict[str, float]]], figure: str, peer: str | None) -> str:
    if peer is None or "penstock" not in runs or peer not in runs:
        return ""
    ratios = [
        ours[figure] / theirs[figure]
        for ours, theirs in zip(runs["penstock"], runs[peer], strict=False)
        if theirs.get(figure)
    ]
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""
