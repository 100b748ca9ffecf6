"""Who asks for what in which hour of the week: from curves and sizes, as a plan's file gives them. Pure.

Each client has a rate for every hour of the week, and a pool of sizes that its requests are drawn from. So what is
asked for in all hours together is known exactly, before anything is simulated: rates times the pool's means.
"""

import math
import random
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from bench.plan.structs import HOURS_A_WEEK, Bursts, Client, Mix, Plan, Workload
from proxy.config.structs import Limits

POOL = 2048
"""Sizes that are kept of a client."""
_TAIL = 1.645  # standard deviations, within which 95 % of all values are
_FURTHEST = 3.0  # of them; the rest would be one in a thousand


class Size(NamedTuple):
    """Of one request, in tokens. `most`: what it says it wants at most, 0 where it does not say."""

    prompt: int
    completion: int
    cached: int
    most: int
    stream: bool


class Means(NamedTuple):
    """Tokens of a request, on average. `streams` is the share that is streamed."""

    prompt: float
    completion: float
    cached: float
    streams: float


class Asker(msgspec.Struct, frozen=True, dict=True):
    """A client. `rates`: requests a second in each hour of the week, Monday's first one first, in the first month."""

    name: str
    tenant: str
    rates: tuple[float, ...]
    sizes: tuple[Size, ...]
    limits: Limits = Limits()
    tiers: tuple[str, ...] = ()
    timeout: float = 60.0

    @cached_property
    def means(self) -> Means:
        count = len(self.sizes)
        return Means(
            sum(size.prompt for size in self.sizes) / count,
            sum(size.completion for size in self.sizes) / count,
            sum(size.cached for size in self.sizes) / count,
            sum(size.stream for size in self.sizes) / count,
        )


class Demand(msgspec.Struct, frozen=True):
    """All who ask. `unevenness`: the variance of a rate from one ten seconds to the next, of its square; 0: even.

    `notes` are what the reader has to know of where this comes from.
    """

    askers: tuple[Asker, ...]
    growth: float = 0.0
    bursts: Bursts | None = None
    unevenness: float = 0.0
    notes: tuple[str, ...] = ()

    def grown(self, month: int) -> float:
        """How much is asked for in a month, of what is in the first, which is number 0."""
        return float((1 + self.growth) ** month)

    def rates(self, hour: int) -> tuple[float, ...]:
        """Of all askers in an hour of the week, in the first month."""
        return tuple(asker.rates[hour] for asker in self.askers)


def synthetic(plan: Plan) -> Demand:
    """From the plan's curves and mixes."""
    workload = plan.workload
    total = sum(client.share for client in plan.clients)
    askers = tuple(
        Asker(
            client.name,
            client.tenant or client.name,
            _rates(client, workload, client.share / total),
            _sizes(client.name, workload.mixes, random.Random(f"{plan.seed} sizes {client.name}")),
            client.limits,
            client.tiers,
            float(client.timeout),
        )
        for client in plan.clients
    )
    return Demand(askers, workload.growth, workload.bursts)


def curve(day: Sequence[float], weekend: Sequence[float], week: Sequence[float]) -> tuple[float, ...]:
    """A week by hours, Monday first, with a mean of 1. Each day has its share by `week`; its hours' shape by `day`, or
    `weekend`, whose height counts, too.
    """
    hours = [
        (weekend or day)[hour] * week[of] if of >= 5 else day[hour] * week[of] for of in range(7) for hour in range(24)
    ]
    mean = sum(hours) / HOURS_A_WEEK
    return tuple(hour / mean for hour in hours)


def _rates(client: Client, workload: Workload, share: float) -> tuple[float, ...]:
    day = client.day or workload.day
    weekend = client.weekend or (() if client.day else workload.weekend)
    mean = workload.requests_per_day / 86_400 * share
    return tuple(mean * hour for hour in curve(day, weekend, client.week or workload.week))


def _sizes(client: str, mixes: Sequence[Mix], uniform: random.Random) -> tuple[Size, ...]:
    """A pool: each mix has its share of it, evenly over its own distribution, and at random beside one another."""
    mine = [mix for mix in mixes if not mix.clients or client in mix.clients]
    total = sum(mix.share for mix in mine)
    found: list[Size] = []
    for mix in mine:
        found += [_size(mix, uniform) for _ in range(max(1, round(POOL * mix.share / total)))]
    return tuple(found)


def _size(mix: Mix, uniform: random.Random) -> Size:
    prompt = _drawn(*mix.prompt, uniform)
    completion = _drawn(*mix.completion, uniform)
    if mix.max_tokens is not None:
        completion = min(completion, mix.max_tokens)
    return Size(prompt, completion, int(prompt * mix.cached), mix.max_tokens or 0, uniform.random() < mix.streams)


def _drawn(median: float, within: float, uniform: random.Random) -> int:
    """Log-normal, by its median and what 95 % are within."""
    if median <= 0:
        return 0
    deviation = max(-_FURTHEST, min(_FURTHEST, uniform.gauss(0.0, 1.0)))
    return max(1, round(median * math.exp(deviation * math.log(within / median) / _TAIL)))
