"""Each bar of a scenario beside what was measured. Pure."""

from bench.report.stored import Verdict
from bench.scenarios.measure import Played, measured
from bench.scenarios.structs import OF_THE_WHOLE, Bar, Scenario

_AS_SHARE = frozenset(("answered", "share"))
_UNITS = (
    ("_ms", " ms"),
    ("_us", " µs"),
    ("_mb", " MB"),
    ("_per_second", " /s"),
    ("_us_per_request", " µs"),
    ("_us_per_event", " µs"),
)


def judge(scenario: Scenario, played: Played) -> list[Verdict]:
    """A verdict on each bar. One whose metric nothing was there to measure by is missed."""
    return [_judge(scenario, bar, played) for bar in scenario.bars]


def _judge(scenario: Scenario, bar: Bar, played: Played) -> Verdict:
    until = float(scenario.duration if bar.until is None else bar.until)
    value = measured(played, bar.metric, bar.since, until, backend=bar.backend, client=bar.client)
    before = None
    if bar.times_before is not None:
        before = measured(played, bar.metric, 0.0, scenario.calm_until, backend=bar.backend, client=bar.client)
    limit = _limit(bar, before)
    holds = value is not None and limit is not None and (value >= limit if bar.at_least is not None else value <= limit)
    return Verdict(
        what=f"{bar.says} ({_about(bar, until)})",
        measured=_said(bar, value),
        bar=_demanded(bar, limit, before),
        holds=holds,
    )


def _limit(bar: Bar, before: float | None) -> float | None:
    if bar.times_before is None:
        return bar.at_least if bar.at_least is not None else bar.at_most
    return None if before is None else max(before * bar.times_before, before + bar.slack)


def _about(bar: Bar, until: float) -> str:
    of = "".join(f" of {who}" for who in (bar.backend, bar.client) if who)
    return f"{bar.metric}{of}" if bar.metric in OF_THE_WHOLE else f"{bar.metric}{of}, {bar.since:g}–{until:g} s"


def _demanded(bar: Bar, limit: float | None, before: float | None) -> str:
    sign = "≥" if bar.at_least is not None else "≤"
    text = f"{sign} {_said(bar, limit)}"
    return text if bar.times_before is None else f"{text} (before: {_said(bar, before)})"


def _said(bar: Bar, value: float | None) -> str:
    if value is None:
        return "nothing to measure"
    if bar.metric in _AS_SHARE:
        return f"{100 * value:.1f} %"
    unit = next((unit for end, unit in _UNITS if bar.metric.endswith(end)), "")
    if unit:
        return f"{value:.1f}{unit}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
