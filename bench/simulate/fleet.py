"""A gateway in virtual time: workers that route requests to modelled backends, and tell each other of breakers.

A request's way is `proxy.forwarding.Forwarding.run`, without the bytes: the same router, the same questions to it in
the same order.
"""

import contextlib
import logging
import random
from collections.abc import Iterator
from functools import partial
from itertools import count

from bench.simulate.account import Account, Attempt, Ended, Stuck, Wait
from bench.simulate.backend import Modelled, Reply
from bench.simulate.clock import Clock
from bench.simulate.scenario import Client, Scenario
from bench.simulate.waiting import Room
from proxy.config import structs
from proxy.messages import BreakerChanged, BreakerTold
from proxy.routing.breaker import State, Unavailable
from proxy.routing.breakers import Change
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.outcome import Outcome
from proxy.routing.queue import BATCH, INTERACTIVE
from proxy.routing.retry import may_retry
from proxy.routing.retry_budget import RetryBudget
from proxy.routing.select import Plan, Router
from proxy.supervisor.backends.breakers import SharedBreakers

_ANSWERED = dict.fromkeys((one for one in Outcome if one.value.breaker or one is Outcome.THROTTLED), False)
MODEL = "m"
DEPLOYMENT = "d"
_END = 60.0  # s; by then everything that was asked before the end is over


def simulate(scenario: Scenario) -> Account:
    """Run it to its end."""
    with _quiet():
        return _Run(scenario).account()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Breakers are logged as they change, for people who watch a gateway; nobody watches this one."""
    log = logging.getLogger("penstock.breakers")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


class _Request:
    """One request on its way."""

    __slots__ = (
        "answer_by", "attempts", "began", "client", "leaves_at", "number", "plan", "released", "stream", "tried",
        "waited",
    )  # fmt: skip

    def __init__(self, number: int, client: Client, began: float, *, stream: bool, leaves_at: float) -> None:
        self.number = number
        self.client = client
        self.began = began
        self.stream = stream
        self.leaves_at = leaves_at
        self.answer_by = began + client.timeout
        self.waited = 0.0
        self.released: Key | None = None  # a deployment that others wait for, too
        self.tried: set[Key] = set()
        self.attempts = 0
        self.plan: Plan


class _Worker:
    """A worker: a router, and what it has under way. `life` tells it from those that had its place before."""

    def __init__(self, run: "_Run", index: int, life: int) -> None:
        self.index = index
        self.life = life
        self.alive = True
        self.under_way: dict[int, _Request] = {}
        self._at_backends: dict[int, tuple[Modelled, Reply]] = {}
        routing = run.scenario.routing
        self.router = Router(run.models, run.backends, routing, run.uniform.random)
        self.room = Room(routing.queue, self.router.breakers, run.clock)
        self.retries = RetryBudget(routing.retries)
        self._run = run

    def serve(self, request: _Request) -> None:
        """A request has come."""
        now = self._run.clock.now
        self.under_way[request.number] = request
        self.retries.request(now)
        request.plan = self.router.order(
            Wanted(MODEL, request.client.regions, tokens=request.client.tokens, stream=request.stream), now
        )
        self._go_on(request)

    def _go_on(self, request: _Request) -> None:
        """The next candidate's turn, or the end."""
        now = self._run.clock.now
        candidate = request.plan.next(now, request.tried)
        if candidate is None or self.room.is_wanted(candidate.key):
            self._wait(request)
        else:
            self._try(request, candidate)

    def _wait(self, request: _Request) -> None:
        """Until a deployment is available, and it is this request's turn."""
        now, client = self._run.clock.now, request.client
        keys = tuple(
            candidate.key
            for candidate, why in request.plan.verdicts(now)
            if (candidate.key not in request.tried and why is not Unavailable.MISCONFIGURED)
            or why is Unavailable.THROTTLED
        )
        priority = BATCH if client.priority == "batch" else INTERACTIVE
        wait = Wait(request.number, client.name, self.index, self.life, priority, keys, now - self._run.start)
        resume = partial(self._waited, request, wait)
        waiter = self.room.waiter(client.name, priority, keys, request.answer_by, request.waited, resume)
        if waiter is None:
            self._refuse(request)
        else:
            self._run.waits(wait)
            self.room.wait(waiter)

    def _waited(self, request: _Request, wait: Wait, key: Key | None) -> None:
        if not self.alive:
            return
        now = self._run.clock.now
        wait.over, wait.released, wait.turn = now - self._run.start, key, next(self._run.turns)
        request.waited += wait.over - wait.since
        request.released = key
        others = {candidate.key for candidate in request.plan.candidates if candidate.key != key}
        candidate = None if key is None else request.plan.next(now, others)
        if candidate is None:
            self._passed_on(request, None)
            self._refuse(request)
        else:
            self._try(request, candidate)

    def _passed_on(self, request: _Request, answered: bool | None) -> None:
        """Those who still wait may go after this one, if it had waited."""
        released, request.released = request.released, None
        if released is not None:
            self.room.over(released, answered)

    def _try(self, request: _Request, candidate: Candidate) -> None:
        now = self._run.clock.now
        request.tried.add(candidate.key)
        if request.attempts and not self.retries.take(now):
            self._passed_on(request, None)
            self._refuse(request)
            return
        request.attempts += 1
        probe = self.router.started(candidate)
        if probe:
            self._announce(self.router.breakers.probing(candidate.key, now))
        load = self.router.load(candidate.key)
        if load is not None:
            load.charge(request.client.tokens, now)
        attempt = self._run.attempted(self, request, candidate, probe=probe)
        modelled = self._run.modelled[candidate.backend]
        reply = modelled.asked(attempt.began, request.client.tokens, stream=request.stream)
        self._at_backends[request.number] = modelled, reply
        head_at = now + reply.head
        if request.leaves_at < head_at:
            self._at(request.leaves_at, partial(self._left, request, candidate, attempt, reply, probe=probe))
        else:
            self._at(head_at, partial(self._head, request, candidate, attempt, reply))

    def _head(self, request: _Request, candidate: Candidate, attempt: Attempt, reply: Reply) -> None:
        """An answer begins, or the attempt has failed."""
        now = self._run.clock.now
        if not reply.begins:
            self._over(candidate, attempt, reply, reply.outcome, probe=attempt.probe)
            self._passed_on(request, _ANSWERED.get(reply.outcome))
            if self._may_go_on(request, reply.outcome):
                self._go_on(request)
            elif reply.outcome is Outcome.THROTTLED:
                self._refuse(request)
            else:
                self._end(request, "failed", reply.outcome.reason)
            return
        self._passed_on(request, True)
        first = now - self._run.start - attempt.began
        load = self.router.load(candidate.key)
        if load is not None:
            load.answered(first, now, stream=request.stream)
        if attempt.probe:
            self._announce(self.router.answering(candidate, now))
        self._at(now + reply.rest, partial(self._done, request, candidate, attempt, reply, now))

    def _done(self, request: _Request, candidate: Candidate, attempt: Attempt, reply: Reply, head_at: float) -> None:
        self._over(candidate, attempt, reply, reply.outcome, probe=False)
        well = reply.outcome is Outcome.OK
        self._end(request, "answered" if well else "broken", reply.outcome.reason, first=head_at - request.began)

    def _left(self, request: _Request, candidate: Candidate, attempt: Attempt, reply: Reply, *, probe: bool) -> None:
        """The client has gone before an answer began."""
        self._over(candidate, attempt, reply, Outcome.CANCELLED, probe=probe)
        self._passed_on(request, None)
        self._end(request, "left", "client_gone")

    def _over(self, candidate: Candidate, attempt: Attempt, reply: Reply, outcome: Outcome, *, probe: bool) -> None:
        now = self._run.clock.now
        attempt.over, attempt.outcome = now - self._run.start, outcome
        attempt.left = reply.wait if outcome is Outcome.THROTTLED else None
        self._at_backends.pop(attempt.request)[0].done(reply)
        self._announce(self.router.report(candidate, outcome, now, attempt.left, probe=probe))

    def _may_go_on(self, request: _Request, outcome: Outcome) -> bool:
        routing = self._run.scenario.routing
        sent = outcome not in (Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT)
        now = self._run.clock.now
        return (
            request.attempts < routing.attempts
            and may_retry(outcome, inference=True, bytes_sent=sent, whole=True, settings=routing)
            and now < request.answer_by
            and self.retries.left(now)
        )

    def _refuse(self, request: _Request) -> None:
        refused = self.router.refusal(request.plan, self._run.clock.now)
        untried = tuple(one.key for one in request.plan.candidates if one.key not in request.tried)
        self._end(request, "refused", refused.reason.value, told=refused.retry_after, untried=untried)

    def _end(
        self,
        request: _Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None:
        del self.under_way[request.number]
        self._run.ended(self, request, how, reason, first=first, told=told, untried=untried)

    def die(self) -> list[_Request]:
        """At once; what was under way."""
        self.alive = False
        for modelled, reply in self._at_backends.values():
            modelled.done(reply)
        return list(self.under_way.values())

    def _at(self, when: float, do: "partial[None]") -> None:
        """Do something then, unless this worker is dead by then."""
        self._run.clock.at(when, lambda: do() if self.alive else None)

    def _announce(self, change: Change | None) -> None:
        if change is not None:
            self.room.changed()
            self._run.announced(self, change)

    def told(self, told: BreakerTold) -> None:
        """What another worker found. Seconds count from when it was sent, as they do on the wire."""
        now = self._run.clock.now
        key = told.backend, told.deployment
        self._announce(self.router.breakers.told(key, told.state, told.reason, now + told.seconds, now))
        self.room.changed()


class _Run:
    """All of it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.start = self.clock.now
        self.uniform = random.Random(scenario.seed)
        self.modelled = {
            one.name: Modelled(one, scenario.first_byte, random.Random(f"{scenario.seed} {one.name}"))
            for one in scenario.backends
        }
        self.backends = tuple(
            structs.Backend(
                name=one.name,
                url="https://modelled.invalid",
                region=one.region,
                tier="provisioned" if one.tier == "provisioned" else "standard",
                credential="none",
            )
            for one in scenario.backends
        )
        deployments = tuple(
            structs.Deployment(backend=one.name, deployment=DEPLOYMENT, priority=one.priority, weight=one.weight)
            for one in scenario.backends
        )
        self.models = (structs.Model(name=MODEL, deployments=deployments),)
        self._account = Account([], [], [], [], {})
        self._shared = SharedBreakers(scenario.workers, self._post, lambda _: None)
        self.turns = count()
        self._sent: dict[tuple[str, int], float] = {}
        self.workers = [_Worker(self, index, 0) for index in range(scenario.workers)]

    def account(self) -> Account:
        """Run, and see how everything is in the end, once what was under way is over."""
        for client in self.scenario.clients:
            self._next(client)
        for death in self.scenario.deaths:
            self.clock.at(self.start + death.at, partial(self._dies, death.worker))
        self.clock.run(self.start + self.scenario.duration)
        self._look()
        self.clock.run(self.clock.now + _END)
        for worker in self.workers:
            for backend in self.scenario.backends:
                key = backend.name, DEPLOYMENT
                if left := worker.router.in_flight(key):
                    self._account.in_flight[worker.index, key] = left
        return self._account

    def _look(self) -> None:
        for worker in self.workers:
            for standing in worker.router.breakers.view(self.clock.now):
                if standing.state != State.CLOSED.value:
                    until = standing.until - self.start
                    stuck = Stuck(worker.index, standing.key, standing.state, standing.reason, until)
                    self._account.stuck.append(stuck)

    # Clients.

    def _next(self, client: Client) -> None:
        """When a client asks next: a Poisson process, and no more at the end."""
        when = self.clock.now + self.uniform.expovariate(client.rate)
        if when < self.start + self.scenario.duration:
            self.clock.at(when, partial(self._ask, client))

    def _ask(self, client: Client) -> None:
        now = self.clock.now
        self._account.asked += 1
        stream = self.uniform.random() < client.streams
        leaves = self.uniform.random() < client.leaves
        leaves_at = now + self.uniform.uniform(0.01, 0.5) if leaves else float("inf")
        request = _Request(self._account.asked, client, now, stream=stream, leaves_at=leaves_at)
        self.uniform.choice(self.workers).serve(request)
        self._next(client)

    def attempted(self, worker: _Worker, request: _Request, candidate: Candidate, *, probe: bool) -> Attempt:
        attempt = Attempt(
            request.number,
            worker.index,
            worker.life,
            candidate.key,
            candidate.region,
            self.clock.now - self.start,
            request.attempts > 1,
            probe,
        )
        self._account.attempts.append(attempt)
        return attempt

    def waits(self, wait: Wait) -> None:
        self._account.waits.append(wait)

    def ended(
        self,
        worker: _Worker,
        request: _Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None:
        self._account.ended.append(
            Ended(
                request.number,
                request.client.name,
                worker.index,
                worker.life,
                request.began - self.start,
                self.clock.now - self.start,
                how,
                reason,
                request.attempts,
                first,
                told,
                untried,
            )
        )

    # Workers.

    def _dies(self, index: int) -> None:
        dead = self.workers[index]
        for request in dead.die():
            self.ended(dead, request, "lost", "worker_lost")
        self.workers[index] = new = _Worker(self, index, dead.life + 1)
        for told in self._shared.greeting(self.clock.now):
            new.told(told)

    def announced(self, worker: _Worker, change: Change) -> None:
        """To the supervisor. Messages of one worker stay in order."""
        seconds = change.until - self.clock.now
        message = BreakerChanged(change.backend, change.deployment, change.state, change.reason, seconds, change.asked)
        self._deliver(("up", worker.index), lambda: self._shared.changed(worker.index, message, self.clock.now))

    def _post(self, index: int, told: BreakerTold) -> None:
        """To a worker: that which has the place when it was sent."""
        worker = self.workers[index]
        self._deliver(("down", index), lambda: worker.told(told) if worker.alive else None)

    def _deliver(self, way: tuple[str, int], do: "partial[None] | object") -> None:
        assert callable(do)
        when = max(self.clock.now + self.uniform.random() * self.scenario.delay, self._sent.get(way, 0.0))
        self._sent[way] = when
        self.clock.at(when, do)
