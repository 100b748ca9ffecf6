"""The owner's side of limits: who may spend how much, exact over all the workers of this node.

The supervisor owns every budget (requests a minute, tokens a minute, concurrent requests, each per client) and hands
shares of it to workers that ask: leases. A lease of a minute's budget ends after a fraction of a second; what is
unspent comes back tied to the slot it was debited to (see `window`). A concurrency slot is leased until it is given
back. A worker that dies takes its leases along: they stay spent until their slot leaves the window; its concurrency
slots are free as soon as the owner hears that it is gone. So the sum of all reservations never exceeds a limit.

Nor is anything refused that could be granted: before it says no, the owner recalls what other workers have not spent,
and holds the ask until they answered, for at most `HOLD` seconds.

Every method that can have something to say returns it as `(worker, message)` pairs, to be sent in that order. Messages
to one worker must arrive in the order sent, and the other way round. Nothing in here performs I/O or reads a clock;
`now` is the machine's monotonic time (see `window`).
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from proxy.config.structs import Limits
from proxy.policy.window import UNLIMITED, Window, ends

HOLD = 0.010
"""Seconds for which an ask waits, at most, for recalled shares. Workers wait twice as long for an answer."""

_PACE = 0.25  # s: how long the chunk for a busy worker should last
_GROWTH = 4  # at most so many times the last chunk
_LINGER = 1.0  # s after a lease's end in which its rest may still be on the way back
_RECALL_EVERY = 0.010  # s: a worker without idle concurrency slots is not asked for them again before


class Ask(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker's wish: units of one client's budgets, 0 of what it has.

    `serial` comes back in the answer. `least` is the part of `tokens` without which the request that waits first gains
    nothing; of requests and slots that is one. `debt` are tokens used beyond what was reserved. `ahead`: no request
    waits yet, so the answer is what is free, be it nothing; no other worker has to give up its share for it.
    """

    client: str
    serial: int
    requests: int
    tokens: int
    slots: int
    least: int
    debt: int = 0
    ahead: bool = False


class Denied(msgspec.Struct, frozen=True, array_like=True):
    """Why nothing was granted, so that a worker can answer other requests of this client too, for a moment.

    `requests_at`: when one request is free (0: now). `steps`: how many tokens are free when, as of `Window.steps`
    (empty: tokens were not asked for). `slots`: every concurrency slot is in use.
    """

    requests_at: float
    steps: tuple[tuple[int, float], ...]
    slots: bool


class Granted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The answer to an ask: a lease of `requests` and `tokens` that ends with window slot `slot`, and further slots.

    `requests_left` and `tokens_left` are what the owner still has, for response headers.
    """

    client: str
    serial: int
    slot: int
    requests: int
    tokens: int
    slots: int
    requests_left: int
    tokens_left: int
    denied: Denied | None = None


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Give back what is unspent of the budgets that are true. To be answered at once, even with nothing."""

    client: str
    serial: int
    requests: bool
    tokens: bool
    slots: bool


class Return(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What a worker gives back: units by the window slot of their lease (at most one entry a slot of the window).

    `serial` is that of the recall it answers, else 0. `debt` are tokens used beyond what was reserved.
    """

    client: str
    serial: int
    requests: dict[int, int]
    tokens: dict[int, int]
    debt: int
    slots: int


class Usage(NamedTuple):
    """What is taken of one client's budgets, shares at workers included; a limit of None is none."""

    requests: int
    requests_per_minute: int | None
    tokens: int
    tokens_per_minute: int | None
    concurrent: int
    concurrent_requests: int | None


Outgoing = list[tuple[int, Granted | Recall]]


class _Minute:
    """One budget a minute: its window, who may hold unspent units of it until when, and each worker's last chunk."""

    __slots__ = ("_chunks", "_holders", "window")

    def __init__(self, limit: int | None) -> None:
        self.window = Window(UNLIMITED if limit is None else limit)
        self._holders: dict[int, float] = {}
        self._chunks: dict[int, tuple[float, int]] = {}

    def lease(self, worker: int, asked: int, sharers: int, now: float) -> tuple[int, int]:
        """Debit what was asked or, of an ample budget, about what this worker spends in `_PACE` → units, slot."""
        free = self.window.free(now)
        then, last = self._chunks.get(worker, (now, 0))
        elapsed = now - then
        pace = last * (_PACE / elapsed if elapsed * _GROWTH > _PACE else _GROWTH)
        units = min(free, max(asked, min(int(pace), free // (2 * sharers))))
        slot = self.window.debit(units, now)
        if units:
            self._chunks[worker] = (now, units)
            self._holders[worker] = ends(slot) + _LINGER
        return units, slot

    def recall(self, now: float) -> list[int]:
        """The workers that may hold unspent units; they count as asked for them from here on."""
        holders = [worker for worker, until in self._holders.items() if now < until]
        self._holders.clear()
        return holders

    def forget(self, worker: int) -> None:
        self._holders.pop(worker, None)
        self._chunks.pop(worker, None)


class _Slots:
    """Concurrency: who holds how many slots, idle ones included."""

    __slots__ = ("_recalled", "held", "limit", "used")

    def __init__(self, limit: int | None) -> None:
        self.limit = UNLIMITED if limit is None else limit
        self.used = 0
        self.held: dict[int, int] = {}
        self._recalled: dict[int, float] = {}

    def free(self) -> int:
        return max(0, self.limit - self.used)

    def lease(self, worker: int, asked: int, sharers: int) -> int:
        """What was asked or, of an ample budget, as many as the worker has: idle ones come back soon."""
        held = self.held.get(worker, 0)
        slots = min(self.free(), max(asked, min(held, self.free() // (2 * sharers))))
        self.used += slots
        self.held[worker] = held + slots
        self._recalled.pop(worker, None)
        return slots

    def give_back(self, worker: int, slots: int) -> None:
        held = self.held.get(worker, 0)
        slots = min(slots, held)
        self.used -= slots
        if held == slots:
            self.held.pop(worker, None)
        else:
            self.held[worker] = held - slots

    def recall(self, now: float) -> list[int]:
        holders = [worker for worker in self.held if now >= self._recalled.get(worker, 0) + _RECALL_EVERY]
        for worker in holders:
            self._recalled[worker] = now
        return holders

    def forget(self, worker: int) -> None:
        self.used -= self.held.pop(worker, 0)
        self._recalled.pop(worker, None)


class _Held(NamedTuple):
    """An ask that waits for its answer, until `deadline` at most."""

    worker: int
    ask: Ask
    deadline: float


class _Account:
    """One client's budgets, the asks that wait for them, and the recalls that are not answered yet."""

    __slots__ = ("recalling", "requests", "slots", "tokens", "waiting")

    def __init__(self, limits: Limits) -> None:
        self.requests = _Minute(limits.requests_per_minute)
        self.tokens = _Minute(limits.tokens_per_minute)
        self.slots = _Slots(limits.concurrent_requests)
        self.waiting: deque[_Held] = deque()
        self.recalling: dict[int, int] = {}  # worker → serial

    def limit(self, limits: Limits) -> None:
        self.requests.window.limit = UNLIMITED if limits.requests_per_minute is None else limits.requests_per_minute
        self.tokens.window.limit = UNLIMITED if limits.tokens_per_minute is None else limits.tokens_per_minute
        self.slots.limit = UNLIMITED if limits.concurrent_requests is None else limits.concurrent_requests

    def owe(self, debt: int, now: float) -> None:
        if debt > 0:
            self.tokens.window.free(now)
            self.tokens.window.debit(debt, now)

    def lacks(self, ask: Ask, now: float) -> tuple[bool, bool, bool]:
        """Which of requests, tokens and slots there is too little of for the request that waits first."""
        return (
            ask.requests > 0 and self.requests.window.free(now) < 1,
            ask.tokens > 0 and self.tokens.window.free(now) < ask.least,
            ask.slots > 0 and self.slots.free() < 1,
        )

    def denial(self, ask: Ask, now: float) -> Denied:
        lacks_requests, _, lacks_slots = self.lacks(ask, now)
        return Denied(
            self.requests.window.opens(1, now) if lacks_requests else 0.0,
            self.tokens.window.steps(ask.least, now) if ask.tokens else (),
            lacks_slots,
        )

    def forget(self, worker: int) -> None:
        self.requests.forget(worker)
        self.tokens.forget(worker)
        self.slots.forget(worker)
        self.recalling.pop(worker, None)
        self.waiting = deque(held for held in self.waiting if held.worker != worker)

    def empty(self, now: float) -> bool:
        windows = (self.requests.window, self.tokens.window)
        return not self.waiting and not self.slots.used and all(w.free(now) == w.limit for w in windows)


class Budgets:
    """All clients' budgets. `workers` is how many share them."""

    def __init__(self, limits: Mapping[str, Limits], workers: int) -> None:
        self._limits = dict(limits)
        self._workers = max(1, workers)
        self._accounts: dict[str, _Account] = {}
        self._held: dict[str, _Account] = {}  # those with asks that wait
        self._serial = 0

    def ask(self, worker: int, ask: Ask, now: float) -> Outgoing:
        """A worker asks. The answer may follow later: from `give_back`, `worker_gone` or `tick`."""
        account = self._account(ask.client)
        account.owe(ask.debt, now)
        # A worker has one ask a client under way; a second one means that it has given up the first.
        if any(held.worker == worker for held in account.waiting):
            account.waiting = deque(held for held in account.waiting if held.worker != worker)
        account.waiting.append(_Held(worker, ask, now + HOLD))
        return self._serve(ask.client, account, now)

    def give_back(self, worker: int, ret: Return, now: float) -> Outgoing:
        """A worker returns what it did not spend, and reports debt."""
        account = self._account(ret.client)
        for slot, units in ret.requests.items():
            account.requests.window.credit(slot, units)
        for slot, units in ret.tokens.items():
            account.tokens.window.credit(slot, units)
        account.owe(ret.debt, now)
        account.slots.give_back(worker, ret.slots)
        if ret.serial and account.recalling.get(worker) == ret.serial:
            del account.recalling[worker]
        return self._serve(ret.client, account, now)

    def worker_gone(self, worker: int, now: float) -> Outgoing:
        """A worker has ended, and all its requests with it."""
        out: Outgoing = []
        for client, account in self._accounts.items():
            account.forget(worker)
            out += self._serve(client, account, now)
        return out

    def tick(self, now: float) -> Outgoing:
        """Answer the asks whose time is up; to be called at `next_deadline`."""
        out: Outgoing = []
        for client, account in list(self._held.items()):
            out += self._serve(client, account, now)
        return out

    def next_deadline(self, now: float) -> float | None:
        """When `tick` is due; None while no ask waits."""
        return min((max(now, account.waiting[0].deadline) for account in self._held.values()), default=None)

    def reconfigure(self, limits: Mapping[str, Limits], now: float, workers: int | None = None) -> Outgoing:
        """New limits; what is spent stays spent."""
        self._limits = dict(limits)
        self._workers = max(1, workers or self._workers)
        unlimited = Limits()
        for client, account in list(self._accounts.items()):
            account.limit(self._limits.get(client, unlimited))
            if client not in self._limits and account.empty(now):
                del self._accounts[client]
        return self.tick(now)

    def usage(self, client: str, now: float) -> Usage:
        limits = self._limits.get(client, Limits())
        account = self._accounts.get(client) or _Account(limits)
        account.requests.window.free(now)
        account.tokens.window.free(now)
        return Usage(
            account.requests.window.used,
            limits.requests_per_minute,
            account.tokens.window.used,
            limits.tokens_per_minute,
            account.slots.used,
            limits.concurrent_requests,
        )

    def _account(self, client: str) -> _Account:
        account = self._accounts.get(client)
        if account is None:
            # A client without limits is asked for only by a worker that has not heard yet that they are gone.
            account = self._accounts[client] = _Account(self._limits.get(client, Limits()))
        return account

    def _serve(self, client: str, account: _Account, now: float) -> Outgoing:
        """Answer the asks of one client in their order, up to the first that has to wait for recalled shares."""
        out: Outgoing = []
        while account.waiting:
            worker, ask, deadline = account.waiting[0]
            lacks = account.lacks(ask, now)
            if any(lacks) and not ask.ahead:
                if now >= deadline:
                    account.recalling.clear()  # who has not answered by now is not waited for again
                elif not account.recalling:
                    out += self._recall(client, account, lacks, now)
                if account.recalling:
                    break
            account.waiting.popleft()
            out.append((worker, self._answer(account, worker, ask, now)))
        if account.waiting:
            self._held[client] = account
        else:
            self._held.pop(client, None)
        return out

    def _recall(self, client: str, account: _Account, lacks: tuple[bool, bool, bool], now: float) -> Outgoing:
        """Ask for unspent shares of what is lacking wherever there may be some, the asking worker included."""
        budgets = account.requests.recall, account.tokens.recall, account.slots.recall
        holders = dict.fromkeys(
            worker for lack, recall in zip(lacks, budgets, strict=True) if lack for worker in recall(now)
        )
        if not holders:
            return []
        self._serial += 1
        account.recalling = dict.fromkeys(holders, self._serial)
        return [(worker, Recall(client, self._serial, *lacks)) for worker in holders]

    def _answer(self, account: _Account, worker: int, ask: Ask, now: float) -> Granted:
        denied = None
        requests = tokens = slots = slot = 0
        lacks = account.lacks(ask, now)
        if any(lacks) and not ask.ahead:
            denied = account.denial(ask, now)
        else:
            if ask.requests and not lacks[0]:
                requests, slot = account.requests.lease(worker, ask.requests, self._workers, now)
            if ask.tokens and not lacks[1]:
                tokens, slot = account.tokens.lease(worker, ask.tokens, self._workers, now)
            if ask.slots and not lacks[2]:
                slots = account.slots.lease(worker, ask.slots, self._workers)
        left = account.requests.window.free(now), account.tokens.window.free(now)
        return Granted(ask.client, ask.serial, slot, requests, tokens, slots, *left, denied)
