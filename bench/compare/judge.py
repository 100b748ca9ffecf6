"""Bars and aims held against what was measured. Pure.

A repeat gives one value: where a bar names another proxy, of the two figures that were measured next to each other. A
pair during which others had the machine is counted as noisy, and kept.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from bench.compare.bars import BARS, Against, Bar
from bench.report.stored import CONTROL, DIRECT, NOISY, OURS, Measured, Verdict

KEPT = 0.95
"""The share of a rate from which on it was kept."""

_RAN, _RIGHT = "it could be measured", "every answer was right"


class Value(NamedTuple):
    """A bar's value in one repeat."""

    value: float
    noisy: bool


def noisy(one: Measured) -> bool:
    """Whether others had more of the machine meanwhile than they may."""
    return one.figures.get("share_of_others", 0.0) > NOISY


def failed(said: str) -> Verdict:
    """What is stored of a proxy that could not be measured."""
    return Verdict(what=_RAN, measured=said, bar="no failure", holds=False)


def failure(one: Measured) -> str:
    """Why it could not be measured; empty where it was."""
    return next((verdict.measured for verdict in one.verdicts if verdict.what == _RAN), "")


def wrong(said: str) -> Verdict:
    """What is stored beside figures of which some answers were wrong, or none."""
    return Verdict(what=_RIGHT, measured=said, bar="no error", holds=False)


def errors(one: Measured) -> str:
    """What went wrong, in words; empty where nothing did."""
    return next((verdict.measured for verdict in one.verdicts if verdict.what == _RIGHT), "")


def values(bar: Bar, measured: Sequence[Measured]) -> list[Value]:
    """What a bar is judged by, repeat by repeat; none where what it compares was not measured."""
    return list(_values(bar, measured))


def _values(bar: Bar, measured: Sequence[Measured]) -> Iterator[Value]:
    about = _about(bar, measured)
    ours = [one for one in about if one.proxy == OURS]
    match bar.against:
        case Against.NOTHING:
            yield from (Value(one.figures[bar.figure], noisy(one)) for one in ours)
        case Against.STREAMS:
            for several in _by_repeat(ours):
                fewest, *more = sorted(several, key=lambda one: one.streams)
                if more:
                    yield _compared(bar, max(more, key=lambda one: one.figures[bar.figure]), fewest)
        case Against.WORKERS:
            for several in _by_repeat(ours):
                one_worker, *more = sorted(several, key=lambda one: one.workers)
                if more:
                    yield _compared(bar, more[-1], one_worker)
        case _:
            theirs = {_place(one): one for one in about if one.proxy == bar.other}
            yield from (_compared(bar, one, theirs[_place(one)]) for one in ours if _place(one) in theirs)


def _about(bar: Bar, measured: Sequence[Measured]) -> list[Measured]:
    """What has the figure that a bar is about."""
    return [
        one
        for one in measured
        if one.scenario == bar.phase and bar.figure in one.figures and (not bar.streams or one.streams in bar.streams)
    ]


def _place(one: Measured) -> tuple[int, int, int]:
    """What two that are compared have in common."""
    return one.repeat, one.streams, one.workers


def _by_repeat(measured: Sequence[Measured]) -> list[list[Measured]]:
    return [
        [one for one in measured if one.repeat == repeat] for repeat in dict.fromkeys(one.repeat for one in measured)
    ]


def _compared(bar: Bar, ours: Measured, theirs: Measured) -> Value:
    a, b = ours.figures[bar.figure], theirs.figures[bar.figure]
    if bar.against is Against.CHEAPER:
        a, b = b, a
    value = a - b if bar.against is Against.DIFFERENCE else a / b if b else float("inf")
    return Value(value, noisy(ours) or noisy(theirs))


def verdict(bar: Bar, measured: Sequence[Measured]) -> Verdict | None:
    """None where what the bar compares was not asked for, or the peer that it names does not run here. Where Penstock
    could not be measured, it does not hold.
    """
    found = values(bar, measured)
    failures = list(_failures(bar, measured))
    if not found and not failures:
        return None
    each = [one.value for one in found]
    middle = median(each) if each else float("nan")
    said = "; ".join(_measured(bar, found, middle) + _beside(bar, measured) + failures)
    return Verdict(
        what=bar.what,
        measured=said,
        bar=bar.demanded(bar.limit),
        holds=bar.allows(middle, bar.limit) and not failures,
        aim="" if bar.aim is None else bar.demanded(bar.aim),
        reached=bar.aim is not None and bar.allows(middle, bar.aim) and not failures,
    )


def _failures(bar: Bar, measured: Sequence[Measured]) -> Iterator[str]:
    """Of what the bar needs: Penstock's, and those of what is no peer."""
    about = [one for one in measured if one.scenario == bar.phase and (not bar.streams or one.streams in bar.streams)]
    if bar.other and not any(one.proxy == bar.other for one in about):
        return
    for proxy in (OURS, *({bar.other} & {DIRECT, CONTROL})):
        theirs = [one for one in about if one.proxy == proxy]
        whys = [why for one in theirs if (why := failure(one))]
        if whys:
            yield f"{proxy} failed in {len(whys)} of {len(theirs)}: {whys[0]}"


def _measured(bar: Bar, found: Sequence[Value], middle: float) -> list[str]:
    """The median, between which it lies, and how often others had the machine."""
    if not found:
        return ["nothing"]
    each = [one.value for one in found]
    disturbed = sum(one.noisy for one in found)
    said = bar.said(middle)
    if len(each) > 1:
        said += f" ({bar.said(min(each))} – {bar.said(max(each))})"
    return [said, f"{disturbed} of {len(each)} noisy"] if disturbed else [said]


def _beside(bar: Bar, measured: Sequence[Measured]) -> list[str]:
    """What one must know to read it: counts of streams, a rate or a load that was not reached, a peer's errors."""
    about = _about(bar, measured)
    ours = [one for one in about if one.proxy == OURS]
    said: list[str] = []
    if bar.against is Against.STREAMS and ours:
        said.append(f"{', '.join(f'{count:,}' for count in sorted({one.streams for one in ours}))} streams")
    rates = [one.figures["share_of_rate"] for one in ours if "share_of_rate" in one.figures]
    if rates and min(rates) < KEPT:
        said.append(f"down to {100 * min(rates):.0f} % of the events that were due")
    loads = [one.figures["share_of_capacity"] for one in ours if "share_of_capacity" in one.figures]
    if loads:
        said.append(f"at {100 * median(loads):.0f} % of what a core carries")
    if any(one.proxy == bar.other and errors(one) for one in about):
        said.append(f"not every answer of {bar.other} was right")
    return said


def verdicts(measured: Sequence[Measured]) -> tuple[Verdict, ...]:
    """Of all bars whose figures are there; and that Penstock could be measured, with no wrong answer where nothing was
    made to fail.
    """
    found = [one for bar in BARS if (one := verdict(bar, measured)) is not None]
    ours = [one for one in measured if one.proxy == OURS]
    if ours:
        count = sum(one.figures.get("errors", 0.0) for one in ours if not one.bands)
        failures = sum(bool(failure(one)) for one in ours)
        said = f"{count:g}" + (f"; {failures} of {len(ours)} could not be measured" if failures else "")
        found.append(Verdict(what="errors and wrong bytes", measured=said, bar="0", holds=not count and not failures))
    return tuple(found)
