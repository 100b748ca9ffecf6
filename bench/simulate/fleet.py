"""A gateway in virtual time: workers that route requests to modelled backends, and tell each other of breakers."""

import contextlib
import logging
import random
from collections.abc import Iterator
from itertools import count

from bench.simulate.account import Account, Attempt, Ended, Stuck, Wait
from bench.simulate.backend import Modelled
from bench.simulate.clock import Clock
from bench.simulate.scenario import Client, Scenario
from bench.simulate.sharing import Sharing
from bench.simulate.worker import Request, Worker, priority
from proxy.config import structs
from proxy.routing.breaker import State
from proxy.routing.breakers import Change
from proxy.routing.candidate import Key, Wanted
from proxy.routing.select import Router

MODEL = "m"
DEPLOYMENT = "d"
_END = 60.0  # s; by then everything that was asked before the end is over


def simulate(scenario: Scenario) -> Account:
    """Run it to its end."""
    with quiet():
        return _Run(scenario).account()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Breakers are logged as they change, for people who watch a gateway; nobody watches this one."""
    log = logging.getLogger("penstock.breakers")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


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
        self._turns = count()
        self.workers = [self._worker(index, 0) for index in range(scenario.workers)]
        self._sharing = Sharing(self.workers, self.clock, scenario.delay, self.uniform)

    def _worker(self, index: int, life: int) -> Worker:
        routing = self.scenario.routing
        router = Router(self.models, self.backends, routing, self.uniform.random)
        return Worker((index, life), self.clock, router, routing, self.modelled, self, self.start)

    def account(self) -> Account:
        """Run, and see how everything is in the end, once what was under way is over."""
        for client in self.scenario.clients:
            self._next(client)
        for death in self.scenario.deaths:
            self.clock.at(self.start + death.at, self._dies, death.worker)
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
            self.clock.at(when, self._ask, client)

    def _ask(self, client: Client) -> None:
        now = self.clock.now
        self._account.asked += 1
        stream = self.uniform.random() < client.streams
        leaves = self.uniform.random() < client.leaves
        leaves_at = now + self.uniform.uniform(0.01, 0.5) if leaves else float("inf")
        wanted = Wanted(MODEL, client.regions, tokens=client.tokens, stream=stream)
        rank, by = priority(client.priority), now + client.timeout
        request = Request(self._account.asked, client.name, rank, wanted, now, by, leaves_at)
        self.uniform.choice(self.workers).serve(request)
        self._next(client)

    def attempted(self, worker: Worker, attempt: Attempt) -> None:
        self._account.attempts.append(attempt)

    def waits(self, wait: Wait) -> None:
        self._account.waits.append(wait)

    def waited(self, wait: Wait) -> None:
        wait.turn = next(self._turns)

    def ended(
        self,
        worker: Worker,
        request: Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None:
        began, over = request.began - self.start, self.clock.now - self.start
        place = worker.index, worker.life
        self._account.ended.append(
            Ended(
                request.number, request.client, *place, began, over, how, reason, request.attempts, first, told, untried
            )
        )

    # Workers.

    def _dies(self, index: int) -> None:
        dead = self.workers[index]
        for request in dead.die():
            self.ended(dead, request, "lost", "worker_lost")
        self.workers[index] = new = self._worker(index, dead.life + 1)
        self._sharing.greet(new)

    def announced(self, worker: Worker, change: Change) -> None:
        self._sharing.announced(worker, change)
