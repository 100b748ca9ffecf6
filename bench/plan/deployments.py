"""Deployments as Azure runs them: provisioned units that fill and drain, and standard quota by the minute.

Provisioned ("What is provisioned throughput?", Microsoft Learn): a request adds what it is expected to take, its prompt
less what is cached (if that is 1,024 tokens or more) and the most it may complete; when it has ended, that is put
right. All the while utilisation falls by what the units do. At 100 % requests get 429 at once, with the milliseconds
until it is below. How much fits is not documented: `burst` says it. Standard: tokens a minute by estimate, never put
right, and requests by windows of ten seconds. Times are virtual seconds from the run's start.
"""

import math
import random

from bench.mock.limits import Allowance
from bench.plan.demand import Size
from bench.plan.structs import Latency, Provisioned, Standard, Unit
from bench.simulate.worker import Reply, Request
from proxy.routing.outcome import Outcome
from proxy.routing.sliding import Sliding

_REFUSED = 0.03  # s, of an answer without content
_HALF = 0.6745  # standard deviations, within which half of all values are
_FURTHEST = 3.0
_CACHED_FROM = 1_024  # tokens
_AVERAGED = 20.0  # s, that utilisation is averaged over, as far as latency goes by it
_WINDOW = 10  # s, in which a sixth of the requests of a minute may come


class Asked(Request):
    """A request of a plan, of the asker with that number. `at`: the deployment that it was admitted at, last."""

    __slots__ = ("asker", "at", "size")

    asker: int
    at: str
    size: Size


def work(unit: Unit, prompt: float, cached: float, completion: float) -> float:
    """What tokens are to a provisioned unit, in prompt tokens."""
    return prompt - cached + unit.completion * completion


def rounded(units: float, unit: Unit) -> int:
    """The least number of units that can be had and is no less."""
    if units <= unit.minimum:
        return unit.minimum
    return unit.minimum + math.ceil((units - unit.minimum) / unit.step - 1e-9) * unit.step


class ProvisionedUnits:
    """A deployment of so many of them. `means`: completion tokens that are expected of a client that does not say."""

    def __init__(
        self, units: int, unit: Unit, config: Provisioned, means: tuple[float, ...], uniform: random.Random
    ) -> None:
        self._name = config.name
        self._unit = unit
        self._a_second = units * unit.tokens_per_minute / 60
        self._fits = self._a_second * config.burst
        self._means = means
        self._held = self._at = 0.0
        self._speed = _Speed(config.latency, uniform)
        self._worked = self._worked_at = 0.0

    def begin(self, asked: float) -> None:
        """As they would be after a long time with so much asked for, in prompt tokens a second."""
        if asked >= self._a_second:
            self._held = self._fits

    def asked(self, now: float, request: Request) -> Reply:
        assert isinstance(request, Asked)
        self._drain(now)
        held, fits = self._held, self._fits
        if held >= fits:
            return Reply(_REFUSED, Outcome.THROTTLED, wait=(held - fits) / self._a_second + 0.001)
        request.at = self._name
        self._held = held + self._expected(request)
        head, rest = self._speed.of(request.size, self.utilisation(now))
        self._worked += self._actual(request.size)
        return Reply(head, Outcome.OK, rest, None, True, _used(request.size), utilisation=held / fits)

    def done(self, now: float, request: Request, reply: Reply) -> None:
        assert isinstance(request, Asked)
        if reply.admitted:
            self._drain(now)
            self._held = max(0.0, self._held + self._actual(request.size) - self._expected(request))

    def utilisation(self, now: float) -> float:
        """What was worked lately, of what can be."""
        self._worked *= math.exp((self._worked_at - now) / _AVERAGED)
        self._worked_at = now
        return self._worked / (self._a_second * _AVERAGED)

    def _drain(self, now: float) -> None:
        self._held = max(0.0, self._held - (now - self._at) * self._a_second)
        self._at = now

    def _expected(self, request: Asked) -> float:
        size = request.size
        cached = size.cached if size.cached >= _CACHED_FROM else 0
        return work(self._unit, size.prompt, cached, size.most or self._means[request.asker])

    def _actual(self, size: Size) -> float:
        return work(self._unit, size.prompt, size.cached, size.completion)


class StandardQuota:
    """A deployment that is paid by tokens."""

    def __init__(self, config: Standard, uniform: random.Random) -> None:
        self._name = config.name
        self._tokens = Allowance(config.tokens_per_minute, 0)
        self._limited = bool(config.tokens_per_minute)
        self._at_most = config.requests_per_minute * _WINDOW / 60
        self._requests = Sliding(_WINDOW)
        self._speed = _Speed(config.latency, uniform)

    def asked(self, now: float, request: Request) -> Reply:
        assert isinstance(request, Asked)
        requests = self._requests
        requests.move(int(now))
        if self._at_most and requests.total >= self._at_most:
            return Reply(_REFUSED, Outcome.THROTTLED, wait=1.0)
        wait = self._tokens.admit(now, request.wanted.tokens)
        if wait is not None:
            return Reply(_REFUSED, Outcome.THROTTLED, wait=float(math.ceil(wait)))
        request.at = self._name
        requests.add(1, requests.slot)
        head, rest = self._speed.of(request.size, 0.0)
        left = self._tokens.remaining()[0] if self._limited else None
        return Reply(head, Outcome.OK, rest, None, True, _used(request.size), remaining_tokens=left)

    def done(self, _now: float, _request: Request, reply: Reply) -> None:
        if reply.admitted:
            self._tokens.done()


class _Speed:
    """How long answers take. Chance comes from the run's seed."""

    def __init__(self, latency: Latency, uniform: random.Random) -> None:
        self._latency = latency
        self._gauss = uniform.gauss
        self._sigma = math.log(latency.spread) / _HALF
        self._a_token = latency.prompt / 1000

    def of(self, size: Size, utilisation: float) -> tuple[float, float]:
        """Seconds to the first byte, and from there to the end."""
        latency = self._latency
        times = rise(latency.rises, utilisation) if latency.rises else 1.0
        deviation = self._gauss(0.0, 1.0)
        chance = math.exp(self._sigma * max(-_FURTHEST, min(_FURTHEST, deviation)))
        head = (latency.first + self._a_token * (size.prompt - size.cached)) * chance * times
        saying = size.completion * latency.between * times
        return (head, saying) if size.stream else (head + saying, 0.0)


def rise(rises: tuple[tuple[float, float], ...], utilisation: float) -> float:
    """How many times as long something takes, at a utilisation."""
    before = rises[0]
    for after in rises:
        if utilisation <= after[0]:
            break
        before = after
    else:
        return before[1]
    if after[0] <= before[0]:
        return after[1]
    share = (utilisation - before[0]) / (after[0] - before[0])
    return before[1] + max(0.0, share) * (after[1] - before[1])


def _used(size: Size) -> int:
    return size.prompt + size.completion
