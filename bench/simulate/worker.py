"""A worker in virtual time: a request's way through it is `proxy.forwarding.Forwarding.run`, without the bytes.

The same router, the same questions to it in the same order. What deployments make of a request, and who hears of what
became of it, is its owner's business.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import msgspec

from bench.simulate.account import Attempt, Wait
from bench.simulate.clock import Clock
from bench.simulate.waiting import Room
from proxy.config.structs import Routing
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Change
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.outcome import Outcome
from proxy.routing.queue import BATCH, INTERACTIVE
from proxy.routing.retry import may_retry
from proxy.routing.retry_budget import RetryBudget
from proxy.routing.select import Plan, Router

_ANSWERED = dict.fromkeys((one for one in Outcome if one.breaker or one is Outcome.THROTTLED), False)
_UNMENDED = (Unavailable.MISCONFIGURED, Unavailable.DRAINED)  # by waiting
_BEGINS = (Outcome.OK, Outcome.BROKEN_MID_ANSWER)
_NOT_SENT = (Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What comes of an attempt. `head`: seconds until an answer begins or the attempt has failed; `rest`: seconds from
    there to its end. `outcome`: how it ends; an answer has begun where it is OK or broken in the middle. `admitted`: it
    counts for what the deployment takes at a time. `used`: tokens, where they are others than was estimated. The last
    three are what the answer's head says of the deployment's room.
    """

    head: float
    outcome: Outcome
    rest: float = 0.0
    wait: float | None = None
    admitted: bool = False
    used: int | None = None
    remaining_tokens: int | None = None
    remaining_requests: int | None = None
    utilisation: float | None = None


class Request:
    """One request on its way. `wanted.tokens` is the estimate; `by`: monotonic, an answer has begun or nobody waits."""

    __slots__ = (
        "attempts", "began", "by", "client", "deployment", "leaves_at", "number", "plan", "priority", "released",
        "reply", "tried", "waited", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        client: str,
        priority: int,
        wanted: Wanted,
        began: float,
        by: float,
        leaves_at: float = math.inf,
    ) -> None:
        self.number = number
        self.client = client
        self.priority = priority
        self.wanted = wanted
        self.began = began
        self.by = by
        self.leaves_at = leaves_at
        self.waited = 0.0
        self.released: Key | None = None  # a deployment that others wait for, too
        self.tried: set[Key] = set()
        self.attempts = 0
        self.plan: Plan
        self.deployment: Deployment | None = None  # where it is at present
        self.reply: Reply


class Deployment(Protocol):
    """A modelled one. `now` counts from the run's start."""

    def asked(self, now: float, request: Request) -> Reply:
        """A request arrives; one that is admitted is `done` in the end."""

    def done(self, now: float, request: Request, reply: Reply) -> None:
        """It is over, or the gateway has given it up."""


class Watcher(Protocol):
    """Who hears of what becomes of requests. Times count from the run's start."""

    def attempted(self, worker: "Worker", attempt: Attempt) -> None: ...

    def waits(self, wait: Wait) -> None: ...

    def waited(self, wait: Wait) -> None: ...

    def announced(self, worker: "Worker", change: Change) -> None: ...

    def ended(
        self,
        worker: "Worker",
        request: Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None: ...


def priority(of: str) -> int:
    """A client's, as the queue has it."""
    return BATCH if of == "batch" else INTERACTIVE


class Worker:
    """A router, and what it has under way. `life` tells it from those that had its place before."""

    def __init__(
        self,
        place: tuple[int, int],
        clock: Clock,
        router: Router,
        routing: Routing,
        deployments: Mapping[str, Deployment],
        watcher: Watcher,
        start: float,
    ) -> None:
        self.index, self.life = place
        self.alive = True
        self.under_way: dict[int, Request] = {}
        self.router = router
        self.room = Room(routing.queue, router.breakers, clock)
        self.retries = RetryBudget(routing.retries)
        self._routing = routing
        self._clock = clock
        self._start = start
        self._deployments = deployments
        self._watcher = watcher

    def serve(self, request: Request) -> None:
        """A request has come."""
        now = self._clock.now
        self.under_way[request.number] = request
        self.retries.request(now)
        request.plan = self.router.order(request.wanted, now)
        self._go_on(request)

    def _go_on(self, request: Request) -> None:
        """The next candidate's turn, or the end."""
        candidate = request.plan.next(self._clock.now, request.tried)
        if candidate is None or self.room.is_wanted(candidate.key):
            self._wait(request)
        else:
            self._try(request, candidate)

    def _wait(self, request: Request) -> None:
        """Until a deployment is available, and it is this request's turn."""
        now = self._clock.now
        keys = tuple(
            candidate.key
            for candidate, why in request.plan.verdicts(now)
            if (candidate.key not in request.tried and why not in _UNMENDED) or why is Unavailable.THROTTLED
        )
        since = now - self._start
        wait = Wait(request.number, request.client, self.index, self.life, request.priority, keys, since)
        waiter = self.room.waiter(
            request.client, request.priority, keys, request.by, request.waited, self._waited, (request, wait)
        )
        if waiter is None:
            self._refuse(request)
        else:
            self._watcher.waits(wait)
            self.room.wait(waiter)

    def _waited(self, request: Request, wait: Wait, key: Key | None) -> None:
        if not self.alive:
            return
        now = self._clock.now
        wait.over, wait.released = now - self._start, key
        self._watcher.waited(wait)
        request.waited += wait.over - wait.since
        request.released = key
        if key is None:
            self._refuse(request)
            return
        others = {candidate.key for candidate in request.plan.candidates if candidate.key != key}
        candidate = request.plan.next(now, others)
        if candidate is not None:
            self._try(request, candidate)
        else:  # it was taken in the moment in which it was to be this one's
            self._passed_on(request, None)
            self._wait(request)

    def _passed_on(self, request: Request, answered: bool | None) -> None:
        """Those who still wait may go after this one, if it had waited."""
        released = request.released
        if released is not None:
            request.released = None
            self.room.over(released, answered)

    def _try(self, request: Request, candidate: Candidate) -> None:
        clock, router = self._clock, self.router
        now, key = clock.now, candidate.key
        request.tried.add(key)
        if request.attempts and not self.retries.take(now):
            self._passed_on(request, None)
            self._refuse(request)
            return
        request.attempts += 1
        probe = router.started(candidate)
        if probe:
            self._announce(router.breakers.probing(key, now))
        load = router.load(key)
        if load is not None:
            load.charge(request.wanted.tokens, now)
        began = now - self._start
        attempt = Attempt(
            request.number, self.index, self.life, key, candidate.region, began, request.attempts > 1, probe
        )
        self._watcher.attempted(self, attempt)
        request.deployment = deployment = self._deployments[candidate.backend]
        request.reply = reply = deployment.asked(began, request)
        head_at = now + reply.head
        if request.leaves_at < head_at:
            clock.at(request.leaves_at, self._left, request, candidate, attempt)
        else:
            clock.at(head_at, self._head, request, candidate, attempt)

    def _head(self, request: Request, candidate: Candidate, attempt: Attempt) -> None:
        """An answer begins, or the attempt has failed."""
        if not self.alive:
            return
        now, reply = self._clock.now, request.reply
        outcome = reply.outcome
        if outcome not in _BEGINS:
            self._over(request, candidate, attempt, outcome, probe=attempt.probe)
            self._passed_on(request, _ANSWERED.get(outcome))
            if self._may_go_on(request, outcome):
                self._go_on(request)
            elif outcome is Outcome.THROTTLED:
                self._refuse(request)
            else:
                self._end(request, "failed", outcome.reason)
            return
        self._passed_on(request, True)
        load = self.router.load(candidate.key)
        if load is not None:
            load.answered(now - self._start - attempt.began, now, stream=request.wanted.stream)
            if now >= load.hints_due:
                load.hinted(reply.remaining_tokens, reply.remaining_requests, reply.utilisation, now)
        if attempt.probe:
            self._announce(self.router.answering(candidate, now))
        self._clock.at(now + reply.rest, self._done, request, candidate, attempt, now)

    def _done(self, request: Request, candidate: Candidate, attempt: Attempt, head_at: float) -> None:
        if not self.alive:
            return
        outcome = request.reply.outcome
        self._over(request, candidate, attempt, outcome, probe=False)
        well = outcome is Outcome.OK
        self._end(request, "answered" if well else "broken", outcome.reason, first=head_at - request.began)

    def _left(self, request: Request, candidate: Candidate, attempt: Attempt) -> None:
        """The client has gone before an answer began."""
        if not self.alive:
            return
        self._over(request, candidate, attempt, Outcome.CANCELLED, probe=attempt.probe)
        self._passed_on(request, None)
        self._end(request, "left", "client_gone")

    def _over(self, request: Request, candidate: Candidate, attempt: Attempt, outcome: Outcome, *, probe: bool) -> None:
        now, reply, deployment = self._clock.now, request.reply, request.deployment
        assert deployment is not None
        attempt.over, attempt.outcome = now - self._start, outcome
        attempt.left = reply.wait if outcome is Outcome.THROTTLED else None
        request.deployment = None
        deployment.done(attempt.over, request, reply)
        self._announce(self.router.report(candidate, outcome, now, attempt.left, probe=probe))
        if reply.used is not None:
            load = self.router.load(candidate.key)
            if load is not None:
                load.correct(reply.used - request.wanted.tokens, attempt.began + self._start, now)

    def _may_go_on(self, request: Request, outcome: Outcome) -> bool:
        routing, now = self._routing, self._clock.now
        return (
            request.attempts < routing.attempts
            and may_retry(outcome, inference=True, bytes_sent=outcome not in _NOT_SENT, whole=True, settings=routing)
            and now < request.by
            and self.retries.left(now)
        )

    def _refuse(self, request: Request) -> None:
        refused = self.router.refusal(request.plan, self._clock.now)
        untried = tuple(one.key for one in request.plan.candidates if one.key not in request.tried)
        self._end(request, "refused", refused.reason.value, told=refused.retry_after, untried=untried)

    def _end(
        self,
        request: Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None:
        del self.under_way[request.number]
        self._watcher.ended(self, request, how, reason, first=first, told=told, untried=untried)

    def die(self) -> list[Request]:
        """At once; what was under way."""
        self.alive = False
        lost = list(self.under_way.values())
        for request in lost:
            if request.deployment is not None:
                request.deployment.done(self._clock.now - self._start, request, request.reply)
        return lost

    def _announce(self, change: Change | None) -> None:
        if change is not None:
            self.room.changed()
            self._watcher.announced(self, change)

    def told(self, key: Key, word: str, reason: str, seconds: float) -> None:
        """What another worker found. Seconds count from when it was sent, as they do on the wire."""
        now = self._clock.now
        self._announce(self.router.breakers.told(key, word, reason, now + seconds, now))
        self.room.changed()
