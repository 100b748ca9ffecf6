"""A modelled deployment: what it makes of a request. Chance comes from the run's seed."""

import math
import random

from bench.mock.limits import Allowance
from bench.simulate.scenario import Backend, Kind, Trouble
from bench.simulate.worker import Reply, Request
from proxy.routing.outcome import Outcome

_CONNECT = 0.02  # s, until it is known that nobody is there
_REFUSED = 0.03  # s, of an answer without content
_HALF = 0.6745  # standard deviations, within which half of all values are
_AT_MOST = 3.0  # of them; the rest would be a trouble


class Modelled:
    """One deployment at work. `first_byte`: how long the gateway waits for it."""

    def __init__(self, config: Backend, first_byte: float, uniform: random.Random) -> None:
        self.config = config
        self._first_byte = first_byte
        self._uniform = uniform
        self._allowance = Allowance(config.tokens_per_minute, config.capacity)
        self._sigma = math.log(config.spread) / _HALF

    def asked(self, now: float, request: Request) -> Reply:
        """A request arrives; one that is admitted is `done` in the end. `now` counts from the run's start."""
        tokens, stream = request.wanted.tokens, request.wanted.stream
        trouble = self._trouble(now)
        if trouble is not None and trouble.kind is not Kind.SLOW and trouble.kind is not Kind.BREAK:
            return self._fails(trouble, stream=stream)
        wait = self._allowance.admit(now, tokens)
        if wait is not None:
            return Reply(_REFUSED, Outcome.THROTTLED, wait=wait)
        deviation = max(-_AT_MOST, min(_AT_MOST, self._uniform.gauss(0.0, 1.0)))
        head = self.config.first * math.exp(deviation * self._sigma)
        if trouble is not None and trouble.kind is Kind.SLOW:
            head *= 10
        saying = tokens * self.config.between
        head, rest = (head, saying) if stream else (head + saying, 0.0)
        if head > self._first_byte:
            return Reply(self._first_byte, _no_first_byte(stream=stream), admitted=True)
        if trouble is not None and trouble.kind is Kind.BREAK:
            return Reply(head, Outcome.BROKEN_MID_ANSWER, rest / 2, admitted=True)
        return Reply(head, Outcome.OK, rest, admitted=True)

    def done(self, _now: float, _request: Request, reply: Reply) -> None:
        """It is over, or the gateway has given it up."""
        if reply.admitted:
            self._allowance.done()

    def _trouble(self, now: float) -> Trouble | None:
        for trouble in self.config.troubles:
            if trouble.since <= now < trouble.until and self._uniform.random() < trouble.share:
                return trouble
        return None

    def _fails(self, trouble: Trouble, *, stream: bool) -> Reply:
        match trouble.kind:
            case Kind.DOWN:
                return Reply(_CONNECT, Outcome.CONNECT_FAILED)
            case Kind.RESET:
                return Reply(_REFUSED, Outcome.RESET_BEFORE_HEAD)
            case Kind.HANG:
                return Reply(self._first_byte, _no_first_byte(stream=stream))
            case Kind.THROTTLE:
                return Reply(_REFUSED, Outcome.THROTTLED, wait=trouble.wait)
            case Kind.REJECT:
                return Reply(_REFUSED, Outcome.MISCONFIGURED)
            case _:
                return Reply(_REFUSED, Outcome.BACKEND_ERROR)


def _no_first_byte(*, stream: bool) -> Outcome:
    return Outcome.FIRST_BYTE_TIMEOUT if stream else Outcome.ANSWER_TIMEOUT
