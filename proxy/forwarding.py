"""Route and relay: one admitted request, tried at its backends in the router's order, until one answers.

Whether another may be tried is settled in `proxy.routing.retry`, and only while no byte has gone to the client. From
the first byte of an answer on there is no way back: a break ends a stream with an error event where one can be
understood, and nothing with a clean end.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from proxy import translation
from proxy.config.structs import Hedging, Seconds
from proxy.hedging import Attempt as Turn
from proxy.hedging import Race, Side
from proxy.messages import UpstreamCredential
from proxy.metering.meter import Meter
from proxy.record.record import Attempt, End
from proxy.refusal import Reason, Refused, error_body, error_event
from proxy.routing import hints
from proxy.routing.breaker import Unavailable
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.load import Load
from proxy.routing.outcome import Outcome, classify_status, error_code, retry_after
from proxy.routing.queue import BATCH, INTERACTIVE
from proxy.routing.retry import may_retry
from proxy.routing.select import Plan, Router
from proxy.routing.wanted import wanted
from proxy.upstream import Answer, Asking, Failed, reach
from proxy.waiting import Waiter
from proxy.wire.body import Body, BodyBroken
from proxy.wire.http1 import ResponseHead
from proxy.wire.pool import Pool
from proxy.wire.relay import Relay, RelayEnd
from proxy.wire.server import ClientGone

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_ERROR_AT_MOST = 64 << 10
_ASKED_FOR_USAGE = frozenset(("chat.completions", "completions"))
_FAILED = "BackendFailed", "The backend failed before the answer was complete."
_BROKEN = b"data: %b\n\n" % error_body(*_FAILED)
_BROKEN_RESPONSE = b"event: error\ndata: %b\n\n" % error_event(*_FAILED)
_REFUSALS = {
    Outcome.FIRST_BYTE_TIMEOUT: Reason.BACKEND_TIMEOUT,
    Outcome.ANSWER_TIMEOUT: Reason.BACKEND_TIMEOUT,
    Outcome.NO_CREDENTIAL: Reason.CREDENTIAL_UNAVAILABLE,
    Outcome.DEADLINE: Reason.DEADLINE,
}
_ANSWERED = dict.fromkeys((o for o in Outcome if o.breaker or o is Outcome.THROTTLED), False)
_ANSWERED |= {Outcome.OK: True, Outcome.CLIENT_ERROR: True}
_UNMENDED = (Unavailable.MISCONFIGURED, Unavailable.DRAINED)  # by waiting
_TIMED_OUT = (Outcome.CONNECT_TIMEOUT, Outcome.FIRST_BYTE_TIMEOUT)
ENDED = {
    RelayEnd.COMPLETE: (End.COMPLETE, None, Outcome.OK),
    RelayEnd.CLIENT_GONE: (End.CLIENT_GONE, "client_gone", Outcome.CANCELLED),
    RelayEnd.CLIENT_STALLED: (End.CLIENT_GONE, "client_stalled", Outcome.CANCELLED),
    RelayEnd.BACKEND_BROKE: (End.BACKEND_FAILED, "broken_mid_answer", Outcome.BROKEN_MID_ANSWER),
    RelayEnd.BACKEND_IDLE: (End.TIMEOUT, "stream_idle", Outcome.IDLE_TIMEOUT),
    RelayEnd.TIMEOUT: (End.TIMEOUT, "request_timeout", Outcome.CANCELLED),
}


class Sent(msgspec.Struct):
    """What came of the forwarding, for settling and recording.

    `reached_backend`: bytes of the request were sent. `accepted`: a backend answered with success.
    """

    reached_backend: bool = False
    accepted: bool = False
    bytes_out: int = 0
    meter: Meter | None = None


class Forwarding:
    """The attempts of one request. `answered`: bytes of an answer have gone, or are going, to the client.

    By `_answer_by` an answer has begun or nobody waits for it; by `_until` everything is over (monotonic). `_denied`
    says why there was no further attempt, where one would have been allowed.
    """

    __slots__ = (
        "_answer_by",
        "_ask_usage",
        "_attempts",
        "_began",
        "_denied",
        "_exchange",
        "_hedging",
        "_load",
        "_passed",
        "_probe",
        "_released",
        "_side",
        "_until",
        "_worker",
        "answered",
        "sent",
    )

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._worker = exchange.worker
        self._passed = translation.forwarded_lines(exchange)
        self._until = self._answer_by = time.monotonic() + exchange.view.bounds.request
        assert exchange.head is not None
        timeout = exchange.head.timeout
        if timeout is not None:
            self._answer_by = min(self._until, exchange.began + timeout)
        self._denied: str | None = None
        self._released: Key | None = None  # a deployment that others wait for, too
        self._ask_usage = False
        self._probe = False
        self._attempts = 0
        self._began = 0.0
        self._load: Load | None = None
        self._side: Side | None = None
        self._hedging: Hedging | None = None
        if exchange.view.routing.hedging is not None:
            self._hedging = _hedging(exchange, exchange.view.routing.hedging)
        self.answered = False
        self.sent = Sent()

    async def run(self) -> None:
        """Have the request answered. Raises `Refused` when nobody can, and `ClientGone`."""
        worker = self._worker
        router, retries, room = worker.router, worker.retries, worker.room
        now = time.monotonic()
        retries.request(now)
        plan = router.order(self._wanted(router), now)
        tried: set[tuple[str, str]] = set()
        outcomes: set[Outcome] = set()
        while not self.answered:
            now = time.monotonic()
            candidate = self._next(plan, tried, now)
            if candidate is None or (room and room.is_wanted(candidate.key)):
                if outcomes == {Outcome.NO_CREDENTIAL}:
                    raise Refused(Reason.CREDENTIAL_UNAVAILABLE, "no credential is valid", retry_after=1.0)
                candidate = await self._wait(plan, tried)
            tried.add(candidate.key)
            if self._attempts and not retries.take(time.monotonic()):
                self._passed_on(None)
                self._denied = "retry budget"
                raise self._given_up(plan, Outcome.THROTTLED)
            self._start(candidate)
            if self._hedging is None:
                outcome = await self._attempt(candidate)
            else:
                outcome = await self._hedged(candidate, plan, tried)
            outcomes.add(outcome)
            if not self.answered and not self._may_go_on(outcome):
                raise self._given_up(plan, outcome)

    async def _wait(self, plan: Plan, tried: set[Key]) -> Candidate:
        """Wait for a deployment to be available; the one whose turn it is. Raises `Refused`, `ClientGone`."""
        waiter = self._waiter(plan, tried)
        if waiter is None:
            raise self._worker.router.refusal(plan, time.monotonic())
        while waiter is not None:
            released = self._released = await self._turn(waiter)
            if released is None:
                break
            others = {candidate.key for candidate in plan.candidates if candidate.key != released}
            candidate = self._next(plan, others, time.monotonic())
            if candidate is not None:
                return candidate
            self._passed_on(None)  # it was taken or drained in the moment in which it was to be this one's
            waiter = self._waiter(plan, tried)
        refused = self._worker.router.refusal(plan, time.monotonic())
        if refused.reason is Reason.BACKENDS_FAILED:  # one is there, and others are before this one
            refused = Refused(Reason.BACKENDS_THROTTLED, "queue", retry_after=1.0)
        raise refused

    def _waiter(self, plan: Plan, tried: set[Key]) -> Waiter | None:
        """One that waits for what is left of the time; None where that would be in vain."""
        exchange, now = self._exchange, time.monotonic()
        keys = tuple(
            candidate.key
            for candidate, why in plan.verdicts(now)
            if (candidate.key not in tried and why not in _UNMENDED) or why is Unavailable.THROTTLED
        )
        priority = BATCH if exchange.client.limits.priority == "batch" else INTERACTIVE
        waited = (exchange.record.queued_ms or 0.0) / 1000
        return self._worker.room.waiter(exchange.client.name, priority, keys, self._answer_by, waited)

    async def _turn(self, waiter: Waiter) -> Key | None:
        """Wait; None: there was no deployment. Raises `ClientGone`."""
        exchange, began = self._exchange, time.monotonic()
        if not exchange.connection.alive():
            raise ClientGone
        exchange.connection.await_on(waiter)
        try:
            return await self._worker.room.wait(waiter)
        finally:
            exchange.connection.await_on(None)
            waited = (time.monotonic() - began) * 1000
            exchange.record.queued_ms = round((exchange.record.queued_ms or 0.0) + waited, 3)

    def _passed_on(self, answered: bool | None) -> None:
        """Those who still wait may go after this one, if it had waited."""
        released, self._released = self._released, None
        if released is not None:
            self._worker.room.over(released, answered)

    def _given_up(self, plan: Plan, outcome: Outcome) -> Refused:
        """What the client is told after the last attempt that may be made."""
        if outcome is Outcome.THROTTLED:
            refused = self._worker.router.refusal(plan, time.monotonic())
        else:
            refused = Refused(_REFUSALS.get(outcome, Reason.BACKENDS_FAILED), outcome.reason)
        refused.rule = self._denied or refused.rule
        return refused

    def _wanted(self, router: Router) -> Wanted:
        exchange = self._exchange
        deployments = router.deployments(exchange.served)
        if deployments is None:  # the configuration has just changed
            return Wanted(exchange.served)
        return wanted(
            deployments, exchange.client, exchange.principal.user, exchange.target, exchange.request, exchange.estimate
        )

    def _next(self, plan: Plan, tried: set[Key], now: float) -> Candidate | None:
        """Whom to ask, with who was considered in the record."""
        candidate = plan.next(now, tried)
        self._exchange.record.candidates = plan.considered()
        while plan.passed:
            self._worker.tally.skipped(*plan.passed.pop())
        return candidate

    def _start(self, candidate: Candidate) -> None:
        """A deployment's turn has come; `_attempt` follows, which may be in a task that has not begun yet.

        Before it does, others look at how the deployment stands, and there must be one probe at a time.
        """
        worker = self._worker
        self._began = began = time.monotonic()
        self._attempts += 1
        self._probe = worker.router.started(candidate)
        if self._probe:
            worker.announce(worker.router.breakers.probing(candidate.key, began))

    async def _attempt(self, candidate: Candidate) -> Outcome:
        """One deployment's turn: ask it, pass its answer on, and tell the router and the record how it went."""
        worker, record = self._worker, self._exchange.record
        outcome, status, wait = Outcome.CANCELLED, None, None
        began, estimate = self._began, self._exchange.estimate
        self._load = load = worker.router.load(candidate.key)
        if load is not None:
            load.charge(estimate, began)
        try:
            outcome, status = await self._ask(candidate)
        except Failed as failed:
            outcome, status, wait = failed.outcome, failed.status, failed.wait
            if outcome is Outcome.NO_CREDENTIAL and status is None:
                self._attempts -= 1  # nobody was asked: it takes nothing from those that may be
            if outcome in _TIMED_OUT and self._deadline_is_over():
                outcome = Outcome.DEADLINE
            elif outcome is Outcome.FIRST_BYTE_TIMEOUT and not record.stream:
                outcome = Outcome.ANSWER_TIMEOUT
        finally:
            now = time.monotonic()
            used = None
            if self._side is not None and self._side.lost:
                outcome, used = Outcome.HEDGE_LOST, self._lose(candidate, now)
            record.attempts.append(Attempt(candidate.backend, status, outcome.reason, round((now - began) * 1000, 1)))
            worker.tally.attempt(candidate.backend, candidate.region, candidate.deployment, outcome.reason)
            worker.announce(worker.router.report(candidate, outcome, now, wait, probe=self._probe))
            if self._released is not None:
                self._passed_on(_ANSWERED.get(outcome))
            used = self._used(estimate) if used is None else used
            if load is not None:
                load.correct(used - estimate, began, now)
        return outcome

    def _used(self, estimate: int) -> int:
        """The tokens that the attempt that has ended used up: as estimated, where its backend has not said."""
        if not self.sent.accepted:
            return 0
        meter = self.sent.meter
        return estimate if meter is None or meter.usage is None else meter.usage.total

    def _lose(self, candidate: Candidate, now: float) -> int:
        """The tokens that an attempt cost that was given up for another: its prompt, if that was sent."""
        exchange, worker = self._exchange, self._worker
        if not self.sent.reached_backend:
            return 0
        if self._load is not None and self._side is not None and self._side.first:
            self._load.answered(now - self._began, now, stream=True)  # it would have taken at least as long
        prompt = worker.estimator.estimate(exchange.served, exchange.client.name, len(exchange.body), 0)
        worker.tally.hedged(candidate.backend, candidate.region, candidate.deployment, prompt)
        return prompt

    async def _hedged(self, first: Candidate, plan: Plan, tried: set[Key]) -> Outcome:
        """The first attempt, with a second one beside it if no answer begins in time; once a request."""
        assert self._hedging is not None
        hedging, self._hedging = self._hedging, None
        worker, limit = self._worker, self._exchange.view.routing.attempts
        race = Race(self._exchange.connection)
        self._side = race.enter()
        other: Forwarding | None = None

        def second() -> Turn | None:
            nonlocal other
            now = time.monotonic()
            candidate = self._next(plan, tried, now) if self._attempts < limit else None
            if candidate is None or not worker.hedges.take(hedging.ratio, began, now):
                return None
            tried.add(candidate.key)
            other = self._beside(race.enter())
            other._start(candidate)
            self._attempts += 1
            return partial(other._attempt, candidate)

        began = time.monotonic()
        worker.hedges.request(began)
        try:
            return await race.run(partial(self._attempt, first), hedging.after, second)
        finally:
            self._side = None
            race.sides.clear()
            if other is not None:
                self._join(other)

    def _beside(self, side: Side) -> "Forwarding":
        """Another attempt at the same request, at the same time."""
        other = Forwarding(self._exchange)
        other._passed, other._until, other._answer_by = self._passed, self._until, self._answer_by
        other._denied, other._attempts, other._hedging = self._denied, self._attempts, None
        other._side = side
        return other

    def _join(self, other: "Forwarding") -> None:
        """What came of an attempt that was made beside this one."""
        reached = self.sent.reached_backend or other.sent.reached_backend
        if other.answered:
            self.answered, self.sent = True, other.sent
        self.sent.reached_backend = reached

    def _may_go_on(self, outcome: Outcome) -> bool:
        exchange = self._exchange
        if exchange.connection.gone:
            raise ClientGone
        allowed = self._attempts < exchange.view.routing.attempts and may_retry(
            outcome,
            inference=exchange.target.operation.inference,
            bytes_sent=self.sent.reached_backend,
            whole=not exchange.stream_body,
            settings=exchange.view.routing,
        )
        if not allowed:
            return False
        if self._deadline_is_over():
            self._denied = "deadline"
            return False
        if self._attempts and not self._worker.retries.left(time.monotonic()):
            self._denied = "retry budget"
            self._worker.tally.retry_denied()
            return False
        return True

    def _deadline_is_over(self) -> bool:
        """Whether the client has said that it waits no longer."""
        return self._answer_by < self._until and time.monotonic() >= self._answer_by

    async def _ask(self, candidate: Candidate) -> tuple[Outcome, int]:
        """The outcome and the status that went to the client. Raises `Failed` where none did."""
        pool = self._worker.pools.get(candidate.backend)
        if pool is None:  # the configuration has changed since the plan was made
            raise Failed(Outcome.CONNECT_FAILED)
        credential = self._credential(candidate)
        asking = self._asking(candidate, pool, credential)
        begun = await reach(pool, asking)
        asking.request = b""  # a prompt is not kept for as long as its answer lasts
        try:
            status = begun.head.status
            if status < 400:
                if self._side is not None and not self._side.wins():
                    raise Failed(Outcome.HEDGE_LOST, status=status)
                return await self._deliver(candidate, begun), status
            try:
                idle = asking.bounds.body_idle
                until = min(self._answer_by, time.monotonic() + idle)
                error = await begun.small_body(_ERROR_AT_MOST, until, idle, asking.connection)
            except BodyBroken:
                raise Failed(Outcome.RESET_BEFORE_HEAD, status=status) from None
        except BaseException:
            begun.close()
            raise
        if status == 401 and self._renewed_since(candidate, credential):
            if self._exchange.stream_body:
                raise Failed(Outcome.NO_CREDENTIAL, status=status)
            return await self._ask(candidate)
        return await self._take_error(candidate, begun.head, error)

    def _renewed_since(self, candidate: Candidate, sent: UpstreamCredential) -> bool:
        """Whether the credential that was not taken has been renewed meanwhile: that is nobody's fault."""
        name = self._exchange.view.backends[candidate.backend].credential
        return self._worker.credential_rejected(name, sent, candidate.backend)

    async def _take_error(self, candidate: Candidate, head: ResponseHead, body: bytes) -> tuple[Outcome, int]:
        """A backend's error: ours to cure elsewhere (`Failed`), or the client's to see."""
        status = head.status
        if self._ask_usage and status == 400 and b"stream_options" in body:
            self._worker.hints.refused(self._hint(candidate), time.monotonic())
            return await self._ask(candidate)
        outcome = classify_status(status, error_code(body))
        if outcome is Outcome.THROTTLED:
            raise Failed(outcome, status=status, wait=retry_after(head.said, time.time()))
        if outcome.ours or (outcome is Outcome.BACKEND_ERROR and self._another_may(outcome)):
            raise Failed(outcome, status=status)
        if self._side is not None:
            await self._side.outlast()
        exchange = self._exchange
        self._head_is_known(candidate, status)
        told = translation.response_head(exchange, candidate, head, b"content-length: %d" % len(body))
        await exchange.connection.send(told + body, exchange.view.bounds)
        self.sent.bytes_out += len(body)
        if outcome is Outcome.BACKEND_ERROR:
            exchange.record.rule = self._denied or exchange.record.rule
            exchange.end(End.BACKEND_FAILED, outcome.reason)
        else:
            exchange.end(End.COMPLETE)
        return outcome, status

    def _another_may(self, outcome: Outcome) -> bool:
        """Whether somebody else is asked, or may be, so that this error is not the client's to see."""
        return (self._side is not None and self._side.contested) or self._may_go_on(outcome)

    # The request.

    def _hint(self, candidate: Candidate) -> tuple[str, str, str]:
        return (*candidate.key, self._exchange.target.api_version)

    def _credential(self, candidate: Candidate) -> UpstreamCredential:
        """What proves the gateway to a candidate's backend. Raises `Failed`."""
        worker = self._worker
        credential = worker.credentials.get(self._exchange.view.backends[candidate.backend].credential)
        if credential is None or credential.expires <= time.time():
            raise Failed(Outcome.NO_CREDENTIAL)
        return credential

    def _asking(self, candidate: Candidate, pool: Pool, credential: UpstreamCredential) -> Asking:
        exchange = self._exchange
        view, head = exchange.view, exchange.head
        assert head is not None
        model = view.models[exchange.served]
        bounds, left = view.bounds, self._answer_by - time.monotonic()
        if left < bounds.connect:
            bounds = msgspec.structs.replace(bounds, connect=Seconds(max(left, 0.0)))
        return Asking(
            connection=exchange.connection if self._side is None else self._side,
            request=self._request(candidate, pool, credential),
            parts=exchange.next_part if exchange.stream_body else None,
            chunked=head.chunked,
            again=exchange.target.operation.inference and not exchange.stream_body,
            bounds=bounds,
            first_byte=view.bounds.first_byte if model.first_byte is None else model.first_byte,
            until=self._answer_by,
            sent=self._mark_sent,
        )

    def _mark_sent(self) -> None:
        self.sent.reached_backend = True

    def _request(self, candidate: Candidate, pool: Pool, credential: UpstreamCredential) -> bytes:
        exchange = self._exchange
        asked = exchange.request
        self._ask_usage = (
            asked is not None
            and asked.stream
            and not asked.wants_usage
            and exchange.target.operation.name in _ASKED_FOR_USAGE
            and self._worker.hints.asks_usage(self._hint(candidate), time.monotonic())
        )
        return translation.request(exchange, candidate, pool, credential, self._passed, ask_usage=self._ask_usage)

    # The answer.

    async def _deliver(self, candidate: Candidate, begun: Answer) -> Outcome:
        """Pass an answer on, from its head to its last byte."""
        exchange, sent = self._exchange, self.sent
        head, connection = begun.head, exchange.connection
        sent.accepted = True
        if self._released is not None:
            self._passed_on(True)
        self._take_hints(head)
        if self._probe:
            self._probe = False
            self._worker.announce(self._worker.router.answering(candidate, time.monotonic()))
        body, framing, sent.meter = translation.body(exchange, head, cut_usage=self._ask_usage)
        if body is None:
            await self._begin(candidate, head, framing, b"")
            begun.keep(clean=not begun.rest)
            exchange.end(End.COMPLETE)
            return Outcome.OK
        try:
            first = translation.first_of(body, begun.rest)
        except BodyBroken:
            raise Failed(Outcome.RESET_BEFORE_HEAD, status=head.status) from None
        await self._begin(candidate, head, framing, first)
        first = b""
        end = RelayEnd.COMPLETE
        if not body.complete:
            end = await self._relay(begun, body)
        if end is RelayEnd.COMPLETE:
            begun.keep(clean=not body.surplus)
            if sent.meter is not None:
                sent.meter.finish()
        else:
            begun.close()
            exchange.keep_alive = False
        how, reason, outcome = ENDED[end]
        connection.gone = connection.gone or how is End.CLIENT_GONE
        exchange.end(how, reason)
        return outcome

    def _take_hints(self, head: ResponseHead) -> None:
        """Learn how fast the deployment has answered, and what it says of its room."""
        load, now = self._load, time.monotonic()
        if load is not None:
            load.answered(now - self._began, now, stream=self._exchange.record.stream)
            if now >= load.hints_due:
                load.hinted(*hints.read(head.said), now)

    async def _relay(self, begun: Answer, body: Body) -> RelayEnd:
        exchange, worker = self._exchange, self._worker
        bounds, connection = exchange.view.bounds, exchange.connection
        exchange.let_go()
        begun.let_go()
        self._passed = b""
        relay = Relay(
            connection.link,
            begun.link,
            body,
            idle=self._stream_idle(),
            stall=bounds.client_stall,
            until=self._until,
            last_words=_BROKEN_RESPONSE if exchange.target.operation.name == "responses" else _BROKEN,
            client_alive=connection.alive,
        )
        worker.streaming += 1
        try:
            return await relay.run()
        finally:
            worker.streaming -= 1
            self.sent.bytes_out += relay.sent

    def _stream_idle(self) -> float:
        """For how long a backend may be silent in the middle of an answer, in seconds."""
        view = self._exchange.view
        idle = view.models[self._exchange.served].stream_idle
        return view.bounds.stream_idle if idle is None else idle

    async def _begin(self, candidate: Candidate, head: ResponseHead, framing: bytes, first: bytes) -> None:
        """Send the head, with as much of the body as is there. From here on the answer is this backend's."""
        exchange = self._exchange
        self._head_is_known(candidate, head.status)
        data = translation.response_head(exchange, candidate, head, framing) + first
        await exchange.connection.send(data, exchange.view.bounds)
        self.sent.bytes_out += len(data)

    def _head_is_known(self, candidate: Candidate, status: int) -> None:
        self.answered = True
        exchange = self._exchange
        record = exchange.record
        record.status = status
        record.backend = candidate.backend
        record.region = candidate.region
        record.deployment = candidate.deployment
        record.ttfb_ms = round((time.monotonic() - exchange.began) * 1000, 3)


def _hedging(exchange: "Exchange", settings: Hedging) -> Hedging | None:
    """The settings, where the request may be hedged: a stream that somebody waits for, whole, and safe to ask twice."""
    interactive = exchange.client.limits.priority == "interactive"
    inference = exchange.target.operation.inference
    return settings if interactive and inference and exchange.record.stream and not exchange.stream_body else None
