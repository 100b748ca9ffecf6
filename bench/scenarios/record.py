"""What was seen of a scenario as it is stored, and as people read it. Pure."""

from collections.abc import Iterable

from bench.load.results import HISTOGRAMS
from bench.report.stored import OURS, Band, Measured, Verdict
from bench.scenarios.measure import Played, measured, seconds
from bench.scenarios.schedule import bands
from bench.scenarios.structs import Scenario

_COUNTS = ("failed", "broken", "refused", "wrong_bytes", "untold")
_FIGURES = (
    *("asked_per_second", "answered_per_second", "events_per_second", "handshakes_per_second", "open_least"),
    *("ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "late_p50_ms", "late_p99_ms", "handshake_p50_ms"),
    *("handshake_p99_ms", "attempts_per_request"),
    *("memory_mb", "memory_growth_mb", "descriptors", "descriptor_growth"),
)
_COSTS = ("cpu_us_per_request", "cpu_us_per_event")


def _costs(scenario: Scenario) -> tuple[str, ...]:
    """What the gateway's CPU can be divided by: requests that are all plain, or events where nothing else is asked."""
    shares = {load.streams if load.kind == "chat" else 0.0 for load in scenario.load if load.kind != "handshake"}
    if any(load.kind == "handshake" for load in scenario.load) or len(shares) != 1:
        return ()
    return {0.0: _COSTS[:1], 1.0: _COSTS[1:]}.get(shares.pop(), ())


def _streams(scenario: Scenario) -> int:
    """At a time, where nothing else is asked for."""
    arrivals = scenario.arrivals
    alone = all(load.kind == "chat" and load.streams == 1 for load in scenario.load)
    return arrivals.clients if alone and arrivals is not None and arrivals.kind == "closed" else 0


def record(name: str, scenario: Scenario, played: Played, verdicts: Iterable[Verdict]) -> Measured:
    """All of it: figures, histograms, seconds, what happened, verdicts."""
    duration = float(scenario.duration)
    found = {figure: measured(played, figure, 0.0, duration) for figure in (*_COUNTS, *_FIGURES, *_costs(scenario))}
    histograms = {one: played.results.histogram(one) for one in HISTOGRAMS}
    return Measured(
        scenario=name,
        proxy=OURS,
        repeat=0,
        title=scenario.title,
        story=scenario.story,
        streams=_streams(scenario),
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
    named = (name for name in (*_FIGURES, *_COSTS) if name in one.figures)
    figures = ", ".join(f"{name} {one.figures[name]:,.4g}" for name in named)
    rows = "\n".join(
        f"| {verdict.what} | {verdict.measured} | {verdict.bar} | {'holds' if verdict.holds else '**missed**'} |"
        for verdict in one.verdicts
    )
    heading = f"## {one.scenario}: {one.title}\n\n{one.story}"
    said = f"{requests:,} requests in {one.duration:g} s: {counts}{wrongs}."
    return f"{heading}\n\n{said}\n\n{figures}\n\n| what | measured | bar | |\n|---|---|---|---|\n{rows}\n"
