"""What was seen of a scenario as it is stored, and as people read it. Pure."""

from collections.abc import Iterable

from bench.load.results import HISTOGRAMS
from bench.report.stored import Band, Measured, Verdict
from bench.scenarios.measure import Played, measured, seconds
from bench.scenarios.schedule import bands
from bench.scenarios.structs import Scenario

PROXY = "penstock"
_COUNTS = ("failed", "broken", "refused", "wrong_bytes", "untold")
_FIGURES = (
    *("asked_per_second", "answered_per_second", "events_per_second", "handshakes_per_second", "open_least"),
    *("ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "late_p50_ms", "late_p99_ms", "handshake_p50_ms"),
    *("handshake_p99_ms", "attempts_per_request", "cpu_us_per_request", "cpu_us_per_event"),
    *("memory_mb", "memory_growth_mb", "descriptors", "descriptor_growth"),
)


def record(name: str, scenario: Scenario, played: Played, verdicts: Iterable[Verdict]) -> Measured:
    """All of it: figures, histograms, seconds, what happened, verdicts."""
    duration = float(scenario.duration)
    found = {figure: measured(played, figure, 0.0, duration) for figure in (*_COUNTS, *_FIGURES)}
    histograms = {one: played.results.histogram(one) for one in HISTOGRAMS}
    arrivals = scenario.arrivals
    return Measured(
        scenario=name,
        proxy=PROXY,
        repeat=0,
        title=scenario.title,
        story=scenario.story,
        streams=arrivals.clients if arrivals is not None and arrivals.kind == "closed" else 0,
        workers=scenario.workers,
        duration=duration,
        figures={figure: value for figure, value in found.items() if value is not None} | {"took_s": played.took},
        histograms={one: histogram.encoded() for one, histogram in histograms.items() if histogram.count},
        seconds=tuple(seconds(played, duration)),
        bands=tuple(Band(*band) for band in bands(scenario)),
        verdicts=tuple(verdicts),
    )


def markdown(one: Measured, errors: dict[str, int]) -> str:
    """The verdicts on one scenario, and what was measured. `errors`: by kind, how many."""
    requests = sum(second.asked for second in one.seconds)
    became = ("answered", "refused", "failed", "broken")
    counts = ", ".join(f"{sum(getattr(second, kind) for second in one.seconds):,} {kind}" for kind in became)
    wrongs = "".join(f"; {count:,} × {kind}" for kind, count in sorted(errors.items()))
    figures = ", ".join(f"{name} {one.figures[name]:,.4g}" for name in _FIGURES if name in one.figures)
    rows = "\n".join(
        f"| {verdict.what} | {verdict.measured} | {verdict.bar} | {'holds' if verdict.holds else '**missed**'} |"
        for verdict in one.verdicts
    )
    heading = f"## {one.scenario}: {one.title}\n\n{one.story}"
    said = f"{requests:,} requests in {one.duration:g} s: {counts}{wrongs}."
    return f"{heading}\n\n{said}\n\n{figures}\n\n| what | measured | bar | |\n|---|---|---|---|\n{rows}\n"
