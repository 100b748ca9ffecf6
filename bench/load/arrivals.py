"""When requests fall due: endless or ending series of moments, in seconds from the start of what is measured. Pure.

Moments before nought are the warm-up. The same seed gives the same series.
"""

import math
import random
from collections.abc import Iterator

from bench.failure import BenchError
from bench.load.job import Arrivals


def moments(arrivals: Arrivals, warm_up: float, duration: float, seed: int) -> Iterator[float]:
    """Of any kind but `closed` and `replay`, which know no rate. Raises `BenchError` for one that cannot be."""
    if arrivals.rate < 0 or arrivals.to < 0 or arrivals.rate + arrivals.to == 0:
        raise BenchError(f"arrivals of kind {arrivals.kind} need a rate above 0")
    match arrivals.kind:
        case "constant":
            return _even(arrivals.rate, -warm_up, duration)
        case "poisson":
            return _poisson(arrivals.rate, -warm_up, duration, random.Random(seed))
        case "ramp":
            return _ramp(arrivals.rate, arrivals.to, warm_up, duration)
        case "step":
            return _step(arrivals.rate, arrivals.to, warm_up, duration)
        case _:
            raise ValueError(arrivals.kind)


def _even(rate: float, since: float, until: float) -> Iterator[float]:
    """Evenly, the first at once; by number, so that no error adds up."""
    number = 0
    while rate and (moment := since + number / rate) < until:
        yield moment
        number += 1


def _poisson(rate: float, since: float, until: float, uniform: random.Random) -> Iterator[float]:
    moment = since
    while rate and (moment := moment + uniform.expovariate(rate)) < until:
        yield moment


def _ramp(rate: float, to: float, warm_up: float, duration: float) -> Iterator[float]:
    """After t seconds, rate·t + (to − rate)·t²/(2·duration) requests are due: solved for t, request by request."""
    yield from _even(rate, -warm_up, 0.0)
    growth = (to - rate) / duration
    number = 0
    while 2 * growth * number + rate * rate >= 0:
        root = math.sqrt(rate * rate + 2 * growth * number) + rate
        moment = 2 * number / root if root else 0.0
        if moment >= duration:
            return
        yield moment
        number += 1


def _step(rate: float, to: float, warm_up: float, duration: float) -> Iterator[float]:
    yield from _even(rate, -warm_up, duration / 2)
    yield from _even(to, duration / 2, duration)
