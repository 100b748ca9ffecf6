"""The worker's side of limits: shares of each client's budgets, spent from memory.

`admit` decides on the spot where the share suffices. Where it does not, it says what to ask the owner (once, whoever
else waits for the same client), and is called again with the answer. A share that runs low, or ends soon, is asked for
ahead, so that a busy client's requests wait for nobody. After a denial, requests of that client are refused here for a
moment, so that a storm over the limit does not become a storm on the owner.

A share of a minute's budget is one lease at a time: a new one sends the rest of the old one back, tied to the window
slot it was debited to. Nothing in here performs I/O or reads a clock; `now` is the machine's monotonic time.
"""

from collections.abc import Mapping

import msgspec

from proxy.config.structs import Limits
from proxy.policy.budget import Ask, Denied, Granted, Recall, Return
from proxy.policy.window import SPAN, ends

_REMEMBERED = 0.05  # s: how long a denial answers for the owner
_ASK_AGAIN = 0.05  # s: an ask that was not answered by then is lost
_AHEAD = 0.25  # s before a lease's end at which the next one is asked for
_LOW = 4  # a share is low at one part in so many of what was granted
_IDLE_SLOTS = 1.0  # s: how often unused concurrency slots go back
_BUDGETS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
_TRY_LATER = 1.0  # s: when a slot will be free, nobody knows


class Denial(msgspec.Struct, frozen=True):
    """Why a request is not admitted. `budget` is the name of the limit; `never`: no waiting helps."""

    budget: str
    retry_after: float
    never: bool = False


class Shortage(msgspec.Struct, frozen=True):
    """The share of `budget` does not suffice: `ask` is to be sent, if there is one; or it is `denied`; or wait."""

    budget: str
    ask: Ask | None = None
    denied: Denial | None = None


class Admission:
    """One admitted request: what it holds of its client's budgets until it is settled."""

    __slots__ = ("request_slot", "share", "token_slot", "tokens")

    def __init__(self, share: "_Share | None", tokens: int, request_slot: int, token_slot: int) -> None:
        self.share = share
        self.tokens = tokens
        self.request_slot = request_slot
        self.token_slot = token_slot


_UNLIMITED = Admission(None, 0, 0, 0)


class _Lease:
    """Unspent units of one budget a minute, all of one window slot. At `low` units the next are asked for."""

    __slots__ = ("ends", "low", "slot", "units")

    def __init__(self) -> None:
        self.units = 0
        self.low = 0
        self.slot = 0
        self.ends = 0.0


class _Share:
    """What this worker holds for one client, and what it owes the owner."""

    __slots__ = (
        "asked_at", "busy", "client", "credit_requests", "credit_tokens", "debt", "denied", "denied_at", "has_requests",
        "has_slots", "has_tokens", "held", "idle_at", "limits", "peak", "requests", "requests_left", "serial", "tokens",
        "tokens_left",
    )  # fmt: skip

    def __init__(self, client: str, limits: Limits) -> None:
        self.client = client
        self.requests = _Lease()
        self.tokens = _Lease()
        self.held = self.busy = self.peak = 0  # concurrency slots
        self.idle_at = 0.0
        self.debt = 0
        self.credit_requests: dict[int, int] = {}
        self.credit_tokens: dict[int, int] = {}
        self.requests_left = limits.requests_per_minute or 0
        self.tokens_left = limits.tokens_per_minute or 0
        self.serial = 0
        self.asked_at: float | None = None
        self.denied: Denied | None = None
        self.denied_at = 0.0
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        self.limits = limits
        self.has_requests = limits.requests_per_minute is not None
        self.has_tokens = limits.tokens_per_minute is not None
        self.has_slots = limits.concurrent_requests is not None

    def expire(self, now: float) -> None:
        """What was not spent in time goes back."""
        if self.requests.units and now >= self.requests.ends:
            _add(self.credit_requests, self.requests)
        if self.tokens.units and now >= self.tokens.ends:
            _add(self.credit_tokens, self.tokens)

    def refund_tokens(self, slot: int, units: int, now: float) -> None:
        if slot == self.tokens.slot and now < self.tokens.ends:
            self.tokens.units += units
        else:
            self.credit_tokens[slot] = self.credit_tokens.get(slot, 0) + units

    def refund_request(self, slot: int, now: float) -> None:
        if slot == self.requests.slot and now < self.requests.ends:
            self.requests.units += 1
        else:
            self.credit_requests[slot] = self.credit_requests.get(slot, 0) + 1


def _add(credit: dict[int, int], lease: _Lease) -> None:
    credit[lease.slot] = credit.get(lease.slot, 0) + lease.units
    lease.units = 0


def _take_over(lease: _Lease, credit: dict[int, int], slot: int, units: int) -> None:
    """A new lease in place of the old one, whose rest goes back."""
    if lease.slot != slot and lease.units:
        _add(credit, lease)
    lease.slot = slot
    lease.ends = ends(slot)
    lease.units += units
    lease.low = lease.units // _LOW


class Leases:
    """All shares of one worker. `ahead` collects what is to be asked for, though nobody waits for it yet."""

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        self.ahead: list[Ask] = []
        self._shares: dict[str, _Share] = {}
        self.reconfigure(limits, 0.0)

    def reconfigure(self, limits: Mapping[str, Limits], now: float) -> None:
        """New limits; what is held stays held."""
        unlimited = Limits()
        for client, share in self._shares.items():
            share.limit(limits.get(client, unlimited))
            share.expire(now)
        for client, limit in limits.items():
            if client not in self._shares and _limited(limit):
                self._shares[client] = _Share(client, limit)

    def admit(self, client: str, tokens: int, now: float) -> Admission | Shortage:
        """Admit a request that is estimated to use `tokens`, from the share at hand; else what is short."""
        share = self._shares.get(client)
        if share is None:
            return _UNLIMITED
        requests, leased = share.requests, share.tokens
        if (
            (not share.has_requests or (requests.units >= 1 and now < requests.ends))
            and (not share.has_tokens or (leased.units >= tokens and now < leased.ends))
            and (not share.has_slots or share.busy < share.held)
        ):
            if share.has_requests:
                requests.units -= 1
            reserved = tokens if share.has_tokens else 0
            leased.units -= reserved
            share.busy += 1
            if share.busy > share.peak:
                share.peak = share.busy
            if (
                (share.has_requests and (requests.units <= requests.low or now >= requests.ends - _AHEAD))
                or (share.has_tokens and (leased.units <= leased.low or now >= leased.ends - _AHEAD))
                or (share.has_slots and share.busy == share.held)
            ):
                self._ask_ahead(share, tokens, now)
            return Admission(share, reserved, requests.slot, leased.slot)
        return self._short(share, tokens, now)

    def _short(self, share: _Share, tokens: int, now: float) -> Shortage:
        share.expire(now)
        limit = share.limits.tokens_per_minute
        if limit is not None and tokens > limit:
            return Shortage("tokens_per_minute", denied=Denial("tokens_per_minute", SPAN, never=True))
        lacks = (
            share.has_requests and share.requests.units < 1,
            share.has_tokens and share.tokens.units < tokens,
            share.has_slots and share.busy >= share.held,
        )
        budget = next((name for name, lack in zip(_BUDGETS, lacks, strict=True) if lack), _BUDGETS[0])
        denial = self._denial(share, lacks, tokens, now)
        if denial is not None:
            return Shortage(budget, denied=denial)
        if share.asked_at is not None and now < share.asked_at + _ASK_AGAIN:
            return Shortage(budget)
        return Shortage(budget, ask=_ask(share, lacks, tokens, now))

    def _ask_ahead(self, share: _Share, tokens: int, now: float) -> None:
        """Ask for what is low, unless an answer is under way or there was a denial a moment ago."""
        if share.asked_at is not None and now < share.asked_at + _ASK_AGAIN:
            return
        if share.denied is not None and now < share.denied_at + _REMEMBERED:
            return
        self.ahead.append(_ask(share, (share.has_requests, share.has_tokens, share.busy == share.held), tokens, now))

    def _denial(self, share: _Share, lacks: tuple[bool, bool, bool], tokens: int, now: float) -> Denial | None:
        """The denial the owner's last one amounts to for this request, while it is remembered."""
        denied = share.denied
        if denied is None:
            return None
        if now >= share.denied_at + _REMEMBERED:
            share.denied = None
            return None
        found = []
        if lacks[0] and denied.requests_at > now:
            found.append(Denial("requests_per_minute", denied.requests_at - now))
        if lacks[1] and denied.steps:
            at = next((at for free, at in denied.steps if free >= tokens), denied.steps[-1][1])
            if at > now:
                found.append(Denial("tokens_per_minute", at - now))
        if lacks[2] and denied.slots:
            found.append(Denial("concurrent_requests", _TRY_LATER))
        return max(found, key=lambda denial: denial.retry_after, default=None)

    def granted(self, granted: Granted, now: float) -> None:
        """The owner's answer; a late one is as good as any."""
        share = self._shares.get(granted.client)
        if share is None:
            return
        if granted.serial == share.serial:
            share.asked_at = None
        if granted.requests:
            _take_over(share.requests, share.credit_requests, granted.slot, granted.requests)
        if granted.tokens:
            _take_over(share.tokens, share.credit_tokens, granted.slot, granted.tokens)
        share.held += granted.slots
        share.requests_left = granted.requests_left
        share.tokens_left = granted.tokens_left
        share.denied = granted.denied
        share.denied_at = now

    def recalled(self, recall: Recall, now: float) -> Return:
        """Give back, at once, what is unspent of the budgets that are recalled, and all that is owed."""
        share = self._shares.get(recall.client)
        if share is None:
            return Return(recall.client, recall.serial, {}, {}, 0, 0)
        share.expire(now)
        if recall.requests and share.requests.units:
            _add(share.credit_requests, share.requests)
        if recall.tokens and share.tokens.units:
            _add(share.credit_tokens, share.tokens)
        slots = share.held - share.busy if recall.slots else 0
        return self._return(share, recall.serial, max(0, slots))

    def _return(self, share: _Share, serial: int, slots: int) -> Return:
        share.held -= slots
        returned = Return(share.client, serial, share.credit_requests, share.credit_tokens, share.debt, slots)
        share.credit_requests, share.credit_tokens, share.debt = {}, {}, 0
        return returned

    def settle(self, admission: Admission, used: int, now: float) -> None:
        """The request has ended and used this many tokens: the reservation is replaced by them."""
        share = admission.share
        if share is None:
            return
        share.busy -= 1
        if not share.has_tokens:
            return
        rest = admission.tokens - used
        if rest > 0:
            share.refund_tokens(admission.token_slot, rest, now)
        else:
            share.debt -= rest

    def cancel(self, admission: Admission, now: float) -> None:
        """The request never reached a backend: all it held goes back."""
        share = admission.share
        if share is None:
            return
        share.busy -= 1
        if share.has_requests:
            share.refund_request(admission.request_slot, now)
        if admission.tokens:
            share.refund_tokens(admission.token_slot, admission.tokens, now)

    def due(self, now: float) -> list[Return]:
        """What is to be sent back by now: to be asked for several times a second."""
        returns = []
        for share in self._shares.values():
            share.expire(now)
            slots = 0
            if now >= share.idle_at:
                slots = max(0, share.held - share.peak)
                share.peak = share.busy
                share.idle_at = now + _IDLE_SLOTS
            if slots or share.debt or share.credit_requests or share.credit_tokens:
                returns.append(self._return(share, 0, slots))
        return returns

    def remaining(self, client: str, now: float) -> tuple[int | None, int, int | None, int]:
        """Limit and rest of requests a minute, and of tokens a minute, as far as this worker knows."""
        share = self._shares.get(client)
        if share is None:
            return None, 0, None, 0
        limits = share.limits
        requests = share.requests.units if now < share.requests.ends else 0
        tokens = share.tokens.units if now < share.tokens.ends else 0
        return (
            limits.requests_per_minute,
            share.requests_left + requests,
            limits.tokens_per_minute,
            max(0, share.tokens_left + tokens - share.debt),
        )


def _ask(share: _Share, lacks: tuple[bool, bool, bool], tokens: int, now: float) -> Ask:
    share.serial += 1
    share.asked_at = now
    asked = tokens if lacks[1] else 0
    return Ask(share.client, share.serial, int(lacks[0]), asked, int(lacks[2] and share.has_slots), asked)


def _limited(limits: Limits) -> bool:
    return any((limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests))
