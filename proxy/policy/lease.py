"""The worker's side of limits: shares of each client's budgets, spent from memory.

`admit` decides on the spot where the share suffices. Where it does not, it says what to ask the owner (once, whoever
else waits for the same client), and is called again with the answer. A share that runs low, or ends soon, is asked for
ahead, so that a busy client's requests wait for nobody. After a denial, requests of that client are refused here for a
moment, so that a storm over the limit does not become a storm on the owner.

A share of a minute's budget is one lease at a time: a new one sends the rest of the old one back, tied to the window
slot it was debited to. Tokens used beyond a reservation are paid from the share at hand; what that cannot pay is debt,
which reaches the owner no later than the next ask. Nothing in here performs I/O or reads a clock; `now` is the
machine's monotonic time.
"""

from collections.abc import Mapping

from proxy.config.structs import Limits
from proxy.frozen import Frozen
from proxy.policy.budget import Ask, Denied, Granted, Recall, Return
from proxy.policy.window import SPAN, ends

_REMEMBERED = 0.05  # s: how long a denial answers for the owner, and an ask ahead that brought nothing is not repeated
_ASK_AGAIN = 0.05  # s: an ask that was not answered by then is lost
_AHEAD = 0.25  # s before a lease's end at which the next one is asked for
_LOW = 4  # a share is low at one part in so many of what was granted
_IDLE_SLOTS = 1.0  # s: how often unused concurrency slots go back
_BUDGETS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
_TRY_LATER = 1.0  # s: when a slot will be free, nobody knows


class Denial(Frozen, frozen=True):
    """Why a request is not admitted. `budget` is the name of the limit; `never`: no waiting helps."""

    budget: str
    retry_after: float
    never: bool = False


class Shortage(Frozen, frozen=True):
    """The share of `budget` does not suffice: `ask` is to be sent, if there is one; or it is `denied`; or wait."""

    budget: str
    ask: Ask | None = None
    denied: Denial | None = None


class Admission:
    """One admitted request: what it holds of its client's budgets until it is settled. Window slot 0: nothing."""

    __slots__ = ("concurrent", "request_slot", "share", "token_slot", "tokens")

    def __init__(
        self, share: "_Share | None", tokens: int, request_slot: int, token_slot: int, *, concurrent: bool
    ) -> None:
        self.share = share
        self.tokens = tokens
        self.request_slot = request_slot
        self.token_slot = token_slot
        self.concurrent = concurrent


_UNLIMITED = Admission(None, 0, 0, 0, concurrent=False)


class _Lease:
    """Unspent units of one budget a minute, all of one window slot. At `low` units the next are asked for.

    Slot 0 is none: nothing was leased yet, or the lease was recalled.
    """

    __slots__ = ("ends", "low", "slot", "units")

    def __init__(self) -> None:
        self.units = 0
        self.low = 0
        self.slot = 0
        self.ends = 0.0

    def runs_out(self, units: int, now: float) -> bool:
        """It is low, ends soon, or has no room for another request of `units`."""
        return self.units <= self.low or self.units < units or now >= self.ends - _AHEAD

    def take_over(self, credit: dict[int, int], slot: int, units: int) -> None:
        """A new lease in place of the old one, whose rest goes back."""
        if self.slot != slot:
            self.hand_in(credit)
        self.slot = slot
        self.ends = ends(slot)
        self.units += units
        self.low = self.units // _LOW

    def hand_in(self, credit: dict[int, int]) -> None:
        """What is unspent goes back, and so will what is refunded later."""
        if self.units:
            credit[self.slot] = credit.get(self.slot, 0) + self.units
            self.units = 0
        self.slot = 0
        self.ends = 0.0

    def refund(self, credit: dict[int, int], slot: int, units: int, now: float) -> None:
        """Units that were spent and not used: to be spent again while their lease lasts, else they go back."""
        if slot == self.slot and now < self.ends:
            self.units += units
        elif slot:
            credit[slot] = credit.get(slot, 0) + units


class _Share:
    """What this worker holds for one client, and what it owes the owner."""

    __slots__ = (
        "asked_at", "busy", "client", "credit_requests", "credit_slots", "credit_tokens", "debt", "denied", "denied_at",
        "dry_at", "has_requests", "has_slots", "has_tokens", "held", "idle_at", "limits", "peak", "requests",
        "requests_left", "serial", "surplus", "tokens", "tokens_left",
    )  # fmt: skip

    def __init__(self, client: str, limits: Limits) -> None:
        self.client = client
        self.requests = _Lease()
        self.tokens = _Lease()
        self.held = self.busy = self.peak = 0  # concurrency slots
        self.surplus = 0  # of those held, how many go back as requests end, because the limit was lowered
        self.idle_at = 0.0
        self.debt = 0
        self.credit_requests: dict[int, int] = {}
        self.credit_tokens: dict[int, int] = {}
        self.credit_slots = 0
        self.requests_left = limits.requests_per_minute or 0
        self.tokens_left = limits.tokens_per_minute or 0
        self.serial = 0
        self.asked_at: float | None = None
        self.denied: Denied | None = None
        self.denied_at = 0.0
        self.dry_at = -_REMEMBERED
        self.limits = limits
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        before, after = self.limits.concurrent_requests, limits.concurrent_requests
        if after is not None and (before is None or after < before):
            idle = max(0, self.held - self.busy)
            self.held -= idle
            self.credit_slots += idle
            self.surplus = self.held
        self.limits = limits
        self.has_requests = limits.requests_per_minute is not None
        self.has_tokens = limits.tokens_per_minute is not None
        self.has_slots = limits.concurrent_requests is not None

    def expire(self, now: float) -> None:
        """What was not spent in time goes back."""
        if self.requests.units and now >= self.requests.ends:
            self.requests.hand_in(self.credit_requests)
        if self.tokens.units and now >= self.tokens.ends:
            self.tokens.hand_in(self.credit_tokens)

    def pay(self) -> None:
        """Pay debt with the tokens at hand: they stay debited, in the slot of their lease."""
        paid = min(self.debt, self.tokens.units)
        self.tokens.units -= paid
        self.debt -= paid

    def leave(self) -> None:
        """A concurrency slot is free for the next request, or goes back."""
        self.busy -= 1
        if self.surplus:
            self.surplus -= 1
            self.held -= 1
            self.credit_slots += 1


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
            and (not share.has_tokens or not tokens or (leased.units >= tokens and now < leased.ends))
            and (not share.has_slots or share.busy < share.held)
        ):
            if share.has_requests:
                requests.units -= 1
            reserved = tokens if share.has_tokens else 0
            leased.units -= reserved
            if share.has_slots:
                share.busy += 1
                if share.busy > share.peak:
                    share.peak = share.busy
            if (
                (share.has_requests and requests.runs_out(1, now))
                or (reserved and leased.runs_out(reserved, now))
                or (share.has_slots and share.busy == share.held)
            ):
                self._ask_ahead(share, reserved, now)
            request_slot = requests.slot if share.has_requests else 0
            return Admission(share, reserved, request_slot, leased.slot, concurrent=share.has_slots)
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
        return Shortage(budget, ask=_ask(share, lacks, tokens, now, ahead=False))

    def _ask_ahead(self, share: _Share, tokens: int, now: float) -> None:
        """Ask for what is low, unless an answer is under way or there was nothing to be had a moment ago."""
        if (share.asked_at is not None and now < share.asked_at + _ASK_AGAIN) or now < share.dry_at + _REMEMBERED:
            return
        slots = share.limits.concurrent_requests
        low = (
            share.has_requests and share.requests.runs_out(1, now),
            tokens > 0 and share.tokens.runs_out(tokens, now),
            slots is not None and share.busy == share.held < slots,
        )
        if any(low):
            self.ahead.append(_ask(share, low, tokens, now, ahead=True))

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
            share.requests.take_over(share.credit_requests, granted.slot, granted.requests)
        if granted.tokens:
            share.tokens.take_over(share.credit_tokens, granted.slot, granted.tokens)
            share.pay()
        share.held += granted.slots
        share.requests_left = granted.requests_left
        share.tokens_left = granted.tokens_left
        if granted.requests or granted.tokens or granted.slots or granted.denied is not None:
            share.denied = granted.denied
            share.denied_at = now
        else:
            share.dry_at = now

    def recalled(self, recall: Recall, now: float) -> Return:
        """Give back, at once, what is unspent of the budgets that are recalled, and all that is owed."""
        share = self._shares.get(recall.client)
        if share is None:
            return Return(recall.client, recall.serial, {}, {}, 0, 0)
        share.expire(now)
        if recall.requests:
            share.requests.hand_in(share.credit_requests)
        if recall.tokens:
            share.tokens.hand_in(share.credit_tokens)
        return self._return(share, recall.serial, max(0, share.held - share.busy) if recall.slots else 0)

    def _return(self, share: _Share, serial: int, idle: int) -> Return:
        share.held -= idle
        slots = share.credit_slots + idle
        returned = Return(share.client, serial, share.credit_requests, share.credit_tokens, share.debt, slots)
        share.credit_requests, share.credit_tokens, share.credit_slots, share.debt = {}, {}, 0, 0
        return returned

    def settle(self, admission: Admission, used: int, now: float) -> None:
        """The request has ended and used this many tokens: the reservation is replaced by them."""
        share = admission.share
        if share is None:
            return
        if admission.concurrent:
            share.leave()
        rest = admission.tokens - used
        if rest > 0:
            share.tokens.refund(share.credit_tokens, admission.token_slot, rest, now)
        elif share.has_tokens:
            share.debt -= rest
        if share.debt:
            share.expire(now)
            share.pay()

    def cancel(self, admission: Admission, now: float) -> None:
        """The request never reached a backend: all it held goes back."""
        share = admission.share
        if share is None:
            return
        if admission.concurrent:
            share.leave()
        share.requests.refund(share.credit_requests, admission.request_slot, 1, now)
        if admission.tokens:
            share.tokens.refund(share.credit_tokens, admission.token_slot, admission.tokens, now)
            share.pay()

    def due(self, now: float) -> list[Return]:
        """What is to be sent back by now: to be asked for several times a second."""
        returns = []
        for share in self._shares.values():
            share.expire(now)
            idle = 0
            if now >= share.idle_at:
                idle = max(0, share.held - share.peak)
                share.peak = share.busy
                share.idle_at = now + _IDLE_SLOTS
            if idle or share.credit_slots or share.debt or share.credit_requests or share.credit_tokens:
                returns.append(self._return(share, 0, idle))
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


def _ask(share: _Share, lacks: tuple[bool, bool, bool], tokens: int, now: float, *, ahead: bool) -> Ask:
    share.serial += 1
    share.asked_at = now
    asked = tokens if lacks[1] else 0
    debt, share.debt = share.debt, 0
    return Ask(share.client, share.serial, int(lacks[0]), asked, int(lacks[2]), asked, debt, ahead)


def _limited(limits: Limits) -> bool:
    return any((limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests))
