"""A world of one owner of budgets and several workers, in virtual time, without a socket, a task or a clock.

Messages take time and arrive in order; what arrives together is taken before anything else happens, as a worker takes
all frames of one read. Requests that are short wait for the owner as the worker's do. What is admitted is written down,
so that a test can add up what any interval of a minute held.
"""

import random
from collections import Counter, deque
from heapq import heappop, heappush
from itertools import count

from proxy.config.structs import Limits
from proxy.policy.budget import Ask, Budgets, Granted, Outgoing, Recall, Return
from proxy.policy.lease import Admission, Denial, Leases
from proxy.policy.window import SPAN

CLIENT = "c"
AGAIN = 0.05  # s after which an ask that nobody answered is sent once more
GIVE_UP = 1.0  # s
RETURN_EVERY = 0.1  # s
START = 1_000.0
GRACE = 1.0  # s after a change of limits in which a lease of the old ones may still be spent


class Call:
    """One request: what it asks for, and what became of it."""

    def __init__(self, worker: "Worker", tokens: int, used: int | None, lasts: float, at: float) -> None:
        self.worker = worker
        self.tokens = tokens
        self.used = used  # None: it never reached a backend
        self.lasts = lasts
        self.arrived = at
        self.admitted_at: float | None = None
        self.denied: Denial | None = None
        self.given_up = False
        self.admission: Admission | None = None
        self.requests = 0  # what it counts for in the minute's budgets
        self.reserved = 0
        self.debt = 0

    @property
    def waited(self) -> float | None:
        return None if self.admitted_at is None else self.admitted_at - self.arrived


class Worker:
    """One worker's leases, the requests that wait for the owner, and those under way."""

    def __init__(self, index: int, limits: Limits) -> None:
        self.index = index
        self.alive = True
        self.limits = limits
        self.leases = Leases({CLIENT: limits})
        self.waiting: list[Call] = []
        self.open: list[Call] = []


class Ledger:
    """What was admitted in the last minute, added up; every admission is checked against what was allowed."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self.requests = 0
        self.tokens = 0

    def add(self, call: Call, now: float) -> None:
        while self._calls and self._left(self._calls[0], now):
            gone = self._calls.popleft()
            self.requests -= gone.requests
            self.tokens -= gone.reserved
        self._calls.append(call)
        self.requests += call.requests
        self.tokens += call.reserved

    def settle(self, call: Call, requests: int, tokens: int, now: float) -> None:
        """What it counts for is no more than this."""
        if self._calls and call.admitted_at is not None and call.admitted_at >= (self._calls[0].admitted_at or 0):
            self.requests -= call.requests - requests
            self.tokens -= call.reserved - tokens
        call.requests, call.reserved = requests, tokens

    @staticmethod
    def _left(call: Call, now: float) -> bool:
        return call.admitted_at is not None and call.admitted_at < now - SPAN


class World:
    """`delays`: the shortest and the longest way of a message, in seconds."""

    def __init__(
        self, limits: Limits, workers: int, rng: random.Random, delays: tuple[float, float] = (0.0002, 0.002)
    ) -> None:
        self.now = START
        self.rng = rng
        self.delays = delays
        self.limits = limits
        self.history = [(START, limits)]
        self.owner = Budgets({CLIENT: limits}, workers)
        self.workers = [Worker(index, limits) for index in range(workers)]
        self.ledger = Ledger()
        self.calls: list[Call] = []
        self.sent: Counter[str] = Counter()
        self.most: Counter[str] = Counter()  # of each budget, the most that was taken at once
        self.lost_tokens = 0  # that dead workers held, unspent
        self.lost_requests = 0
        self._order = count()
        self._events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._latest: dict[tuple[object, ...], float] = {}
        for worker in self.workers:
            self._after(self.rng.random() * RETURN_EVERY, "return", worker)

    # What a test does.

    def request(self, index: int, tokens: int, used: int | None, lasts: float = 0.1) -> Call:
        """A request arrives now; `used` None means that it is cancelled at its end."""
        alive = [worker for worker in self.workers if worker.alive]
        call = Call(alive[index % len(alive)], tokens, used, lasts, self.now)
        self.calls.append(call)
        if not self._admit(call):
            call.worker.waiting.append(call)
            self._after(AGAIN, "again", call)
            self._after(GIVE_UP, "give up", call)
        return call

    def die(self, index: int) -> None:
        """A worker ends, and its requests with it; another takes its place when the owner has heard of it."""
        old = self.workers[index]
        if not old.alive or sum(worker.alive for worker in self.workers) == 1:
            return
        old.alive = False
        share = old.leases._shares[CLIENT]
        self.lost_tokens += share.tokens.units + sum(share.credit_tokens.values()) - share.debt
        self.lost_requests += share.requests.units + sum(share.credit_requests.values())
        old.open.clear()
        self._after(self._way(("up", index)), "gone", old)

    def reconfigure(self, limits: Limits) -> None:
        self.limits = limits
        self.history.append((self.now, limits))
        self._tell(self.owner.reconfigure({CLIENT: limits}, self.now))
        for worker in self.workers:
            self._after(self._way(("down", worker.index)), "adopt", worker, limits)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            at, _, kind, what = heappop(self._events)
            self.now = max(self.now, at)
            self._happen(kind, what)
        self.now = max(self.now, until)

    def rest(self, seconds: float = 2.0) -> None:
        self.run(self.now + seconds)

    # What is true.

    def allowed(self, budget: str) -> int | None:
        """The largest limit in force within `GRACE`; None: there was none."""
        found = [limits for at, limits in self.history if at >= self.now - GRACE]
        before = [limits for at, limits in self.history if at < self.now - GRACE]
        values = [getattr(limits, budget) for limits in (*before[-1:], *found)]
        return None if None in values else max(values)

    def under_way(self) -> int:
        """Requests under way that were admitted under a limit of them."""
        return sum(bool(call.admission and call.admission.concurrent) for w in self.workers for call in w.open)

    def unspent(self) -> tuple[int, int, int]:
        """Requests and tokens that live workers hold, what they owe taken off, and the slots they hold."""
        requests = tokens = slots = 0
        for worker in self.workers:
            share = worker.leases._shares[CLIENT]
            requests += share.requests.units + sum(share.credit_requests.values())
            tokens += share.tokens.units + sum(share.credit_tokens.values()) - share.debt
            slots += share.held + share.credit_slots
        return requests, tokens, slots

    # How it goes.

    def _after(self, seconds: float, kind: str, *what: object) -> None:
        heappush(self._events, (self.now + seconds, next(self._order), kind, what))

    def _way(self, lane: tuple[object, ...]) -> float:
        """How long a message takes: never past one sent before it; some arrive together."""
        at = max(self.now + self.rng.uniform(*self.delays), self._latest.get(lane, 0.0))
        self._latest[lane] = at
        return at - self.now

    def _happen(self, kind: str, what: tuple[object, ...]) -> None:
        match kind, what:
            case "down", (Worker() as worker, message):
                self._downward(worker, message)
            case "woken", (Worker() as worker,):
                self._retry(worker)
            case "up", (Worker() as worker, message):
                self._upward(worker, message)
            case "tick", ():
                self._tell(self.owner.tick(self.now))
            case "gone", (Worker() as worker,):
                self._tell(self.owner.worker_gone(worker.index, self.now))
                fresh = self.workers[worker.index] = Worker(worker.index, self.limits)
                self._after(RETURN_EVERY, "return", fresh)
            case "return", (Worker() as worker,) if worker.alive:
                for unspent in worker.leases.due(self.now):
                    self._send_up(worker, unspent)
                self._after(RETURN_EVERY, "return", worker)
            case "adopt", (Worker() as worker, Limits() as limits) if worker.alive:
                worker.limits = limits
                worker.leases.reconfigure({CLIENT: limits}, self.now)
            case "again", (Call() as call,) if call in call.worker.waiting:
                if not self._admit(call):
                    self._after(AGAIN, "again", call)
                else:
                    call.worker.waiting.remove(call)
            case "give up", (Call() as call,) if call in call.worker.waiting:
                call.worker.waiting.remove(call)
                call.given_up = True
            case "end", (Call() as call,) if call.worker.alive:
                self._end(call)

    def _downward(self, worker: Worker, message: object) -> None:
        if isinstance(message, Granted):
            self.sent["granted"] += 1
            if worker.alive:
                worker.leases.granted(message, self.now)
                self._after(0, "woken", worker)
            else:
                self.lost_tokens += message.tokens
                self.lost_requests += message.requests
        elif isinstance(message, Recall) and worker.alive:
            self.sent["recall"] += 1
            self._retry(worker)  # what was granted a moment ago is for those who waited
            self._send_up(worker, worker.leases.recalled(message, self.now))

    def _upward(self, worker: Worker, message: object) -> None:
        if isinstance(message, Ask):
            self.sent["ahead" if message.ahead else "ask"] += 1
            self._tell(self.owner.ask(worker.index, message, self.now))
        elif isinstance(message, Return):
            self._tell(self.owner.give_back(worker.index, message, self.now))

    def _tell(self, outgoing: Outgoing) -> None:
        for index, message in outgoing:
            self._after(self._way(("down", index)), "down", self.workers[index], message)
        due = self.owner.next_deadline(self.now)
        if due is not None:
            self._after(due - self.now, "tick")

    def _send_up(self, worker: Worker, message: Ask | Return) -> None:
        self._after(self._way(("up", worker.index)), "up", worker, message)

    def _retry(self, worker: Worker) -> None:
        worker.waiting = [call for call in worker.waiting if not self._admit(call)]

    def _admit(self, call: Call) -> bool:
        """True if it need not wait any longer."""
        worker = call.worker
        if not worker.alive:
            return True
        decided = worker.leases.admit(CLIENT, call.tokens, self.now)
        for ask in worker.leases.ahead:
            self._send_up(worker, ask)
        worker.leases.ahead.clear()
        if not isinstance(decided, Admission):
            call.denied = decided.denied
            if decided.ask is not None:
                self._send_up(worker, decided.ask)
            return call.denied is not None
        call.admitted_at = self.now
        call.admission = decided
        call.requests = int(worker.limits.requests_per_minute is not None)
        call.reserved = decided.tokens
        worker.open.append(call)
        self.ledger.add(call, self.now)
        self._check()
        self._after(call.lasts, "end", call)
        return True

    def _end(self, call: Call) -> None:
        call.worker.open.remove(call)
        assert call.admission is not None
        if call.used is None:
            call.worker.leases.cancel(call.admission, self.now)
            self.ledger.settle(call, 0, 0, self.now)
        else:
            call.worker.leases.settle(call.admission, call.used, self.now)
            if call.worker.limits.tokens_per_minute is not None:
                call.debt = max(0, call.used - call.admission.tokens)
            self.ledger.settle(call, call.requests, min(call.used, call.reserved), self.now)

    def _check(self) -> None:
        """No interval of a minute holds more than the limit, and no more requests are under way."""
        for budget, taken in (
            ("requests_per_minute", self.ledger.requests),
            ("tokens_per_minute", self.ledger.tokens),
            ("concurrent_requests", self.under_way()),
        ):
            allowed = self.allowed(budget)
            assert allowed is None or taken <= allowed, (budget, taken, allowed, self.now)
            self.most[budget] = max(self.most[budget], taken)
