"""The breaker of one deployment: sets it aside when it fails, and lets single probes find out when it is back.

    CLOSED     --`failures` in a row, or `ratio` of `volume`-->    OPEN
    CLOSED     --a 429 that asks for more than is believed-->      OPEN, with THROTTLED as its cause
    OPEN       --its time is over-->     HALF_OPEN, by the probe that is let through
    HALF_OPEN  --probe succeeds-->       CLOSED
    HALF_OPEN  --probe fails-->          OPEN, for twice as long

Being throttled, and being misconfigured on our side, are no faults: they make a deployment unavailable until a time,
whatever the state. While it is not closed only its probe moves it: what was sent before it opened, and comes back
later, says how things were then. A probe that ends without a verdict (its client left), or has none for long, makes
room for the next.

What other workers found is `told`. Who opened a breaker probes first: who was told of it waits for the word of the
first a little beyond the time, and while a probe is known to be under way. So a deployment that comes back meets few
probes, however many workers there are, and none of them depends on another to find out.
"""

import math
from collections.abc import Callable
from enum import Enum

from proxy.config.structs import Breaker as Settings
from proxy.routing.failure_rate import FailureRate
from proxy.routing.outcome import Outcome

GRACE = 1.0
"""Seconds that whoever was told waits beyond the time, and up to as much again."""
PROBE_FOR = 10.0
"""Seconds for which a probe under way keeps others from being sent, here and by other workers."""
BY_HAND = "by_hand"
"""The reason of a person's word, which holds whatever is found: until its time, or the next one."""
THROTTLED_LONG = "throttled_long"
"""The reason of a deployment that asked for a longer wait than is believed."""
_NEWS = 0.05  # s; a time that is longer by less is not worth telling
_SPREAD = 0.25  # s, over which those who may all probe at once do
_MISCONFIGURED_AT_MOST = 600.0  # s


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Unavailable(Enum):
    """Why a deployment is not to be asked now."""

    OPEN = "breaker_open"
    PROBING = "probe_under_way"
    THROTTLED = "throttled"
    MISCONFIGURED = "misconfigured"
    DRAINED = "drained"  # by a person, whatever its breaker says


_OF_THE_BREAKER = (Unavailable.OPEN, Unavailable.PROBING)


class Breaker:
    """Times are monotonic seconds; `uniform` gives numbers in [0, 1) for the jitter."""

    __slots__ = (
        "_failures", "_held", "_misconfigured", "_opened_for", "_own", "_probe_until", "_probing", "_rate", "_said",
        "_uniform", "asked", "reason", "settings", "state", "until", "why",
    )  # fmt: skip

    def __init__(self, settings: Settings, uniform: Callable[[], float]) -> None:
        self.settings = settings
        self.state = State.CLOSED
        self.until = 0.0  # not to be asked before
        self.why = Unavailable.OPEN  # the cause of `until`
        self.reason = ""
        self.asked = 0.0  # s; the wait that was not believed
        self._uniform = uniform
        self._held = 0.0  # open by hand before
        self._failures = 0
        self._rate = FailureRate()
        self._opened_for = 0.0
        self._misconfigured = 0
        self._probing = False
        self._probe_until = math.inf
        self._said = 0.0  # the last `until` that others know
        self._own = False  # opened here, and not by what was told

    def unavailable(self, now: float) -> Unavailable | None:
        if now < self._held:
            return Unavailable.OPEN
        if now < self.until:
            return self.why
        if self._probing and self.state is not State.CLOSED and now < self._probe_until:
            return Unavailable.PROBING
        return None

    def begin(self) -> bool:
        """A request goes out; true if it is the probe."""
        if self.state is State.CLOSED:
            return False
        self.state = State.HALF_OPEN
        self._probing = True
        self._probe_until = math.inf
        return True

    def probing(self, until: float) -> None:
        """The probe has begun; one that has no answer by then keeps nobody else from trying."""
        self._probe_until = until

    def end(self, outcome: Outcome, now: float, wait: float | None, *, probe: bool) -> str | None:
        """It came back; how the deployment stands, if that is to be announced."""
        before = self.state
        if probe:
            self._probing = False
        if now < self._held:
            return None
        if outcome is Outcome.THROTTLED:
            self._throttle(outcome, now, wait)
        elif outcome.ours:
            self._misconfigure(outcome, now)
        elif probe or self.state is State.CLOSED:
            if outcome.breaker:
                self._fail(outcome, now)
            elif outcome in (Outcome.OK, Outcome.CLIENT_ERROR) and self._succeed(now):
                return State.CLOSED.value
        # A probe that ends without closing it is over for others, too.
        if before is self.state and not (probe and before is not State.CLOSED) and self.until <= self._said + _NEWS:
            return None
        self._said = self.until
        return self.word(now)

    def word(self, now: float) -> str:
        """How the deployment stands: a state, or why it is unavailable though it has not failed."""
        cause = self.unavailable(now)
        if cause in (Unavailable.THROTTLED, Unavailable.MISCONFIGURED):
            return str(cause.value)
        return str(self.state.value)

    def _throttle(self, outcome: Outcome, now: float, wait: float | None) -> None:
        """Until its time; a time beyond belief is cut, and one probe decides then."""
        at_most = float(self.settings.retry_after_at_most)
        self._set_aside(Unavailable.THROTTLED, outcome.reason, now + min(1.0 if wait is None else wait, at_most))
        if wait is not None and wait > at_most:
            self._own = True
            self._doubt(wait)

    def _doubt(self, wait: float) -> None:
        self.asked = wait
        self.reason = THROTTLED_LONG
        if self.state is State.CLOSED:
            self.state = State.OPEN

    def forgive(self, now: float) -> bool:
        """Another credential is there: what was set aside for the old one may be asked at once.

        True if that is to be announced: what has failed besides remains to be probed.
        If it is set aside again, that is for longer than before.
        """
        rejected = self.why is Unavailable.MISCONFIGURED and self.reason == Outcome.CREDENTIAL_REJECTED.reason
        if not rejected or now >= self.until:
            return False
        self.until = self._said = now
        self.reason = "credential_renewed"
        return self.state is State.CLOSED

    def _misconfigure(self, outcome: Outcome, now: float) -> None:
        """Twice as long each time; those that were under way together count as one."""
        if now < self.until and self.why is Unavailable.MISCONFIGURED:
            return
        first = float(self.settings.misconfigured_for)
        wait = min(first * 2**self._misconfigured, max(first, _MISCONFIGURED_AT_MOST))
        self._misconfigured = min(self._misconfigured + 1, 32)
        self._set_aside(Unavailable.MISCONFIGURED, outcome.reason, now + wait)

    def _succeed(self, now: float) -> bool:
        self._failures = 0
        if self.state is State.CLOSED:
            self._rate.count(now, self.settings, failed=False)
            if not self._misconfigured or now < self.until:
                return False
        self._close(now, "recovered")
        return True

    def _close(self, now: float, reason: str) -> None:
        self.state = State.CLOSED
        self.reason = reason
        if self.why is not Unavailable.THROTTLED or self.asked:
            self.until = min(self.until, now)
        self._said = self.until
        self.asked = self._opened_for = 0.0
        self._failures = self._misconfigured = 0
        self._own = False
        self._rate.forget()

    def _set_aside(self, why: Unavailable, reason: str, until: float) -> None:
        if until > self.until:
            self.until = until
            self.why = why
            self.reason = reason

    def _fail(self, outcome: Outcome, now: float) -> None:
        self._failures += 1
        settings = self.settings
        if self.state is State.CLOSED:
            over = self._rate.count(now, settings, failed=True)
            if self._failures < settings.failures and not over:
                return
        self._opened_for = min(max(self._opened_for * 2, float(settings.open_for)), settings.open_at_most)
        self.state = State.OPEN
        self._own = True
        self.reason = outcome.reason
        # Up to a fifth less: workers and nodes that opened together do not probe together.
        self.until = max(self.until, now + self._opened_for * (1 - self._uniform() / 5))
        self.why = Unavailable.OPEN

    # What others found.

    def told(self, word: str, reason: str, until: float, now: float) -> bool:
        """What another worker or a person found, in the words of `end`.

        True if it closed what had been opened here: that crossed the word of it, and has to be announced.
        """
        if reason == BY_HAND:
            self._take_in_hand(word, until, now)
            return False
        match word:
            case "closed":
                crossed = self._own
                self._close(now, reason)
                return crossed
            case "open":
                self._told_open(reason, until, now)
            case "half_open":
                self._told_of_probe(until)
            case "throttled":
                self._set_aside(Unavailable.THROTTLED, reason, until)
                if reason == THROTTLED_LONG:
                    self._doubt(max(self.asked, until - now))
                    self.until = max(self.until, until + self._grace())
            case "misconfigured":
                self._misconfigured = max(self._misconfigured, 1)
                self._set_aside(Unavailable.MISCONFIGURED, reason, until)
        self._said = self.until  # what follows from others' word is no news to them: told again, graces would add up
        return False

    def _take_in_hand(self, word: str, until: float, now: float) -> None:
        """Open until then, and a probe finds out; or closed at once, whatever the deployment was set aside for."""
        if word == "open":
            self._held = until
            self.state = State.OPEN
            self._set_aside(Unavailable.OPEN, BY_HAND, until + self._grace())
        else:
            self._held = 0.0
            self._close(now, BY_HAND)
            self.until = min(self.until, now)
        self._said = self.until

    def _told_open(self, reason: str, until: float, now: float) -> None:
        settings = self.settings
        self.state = State.OPEN
        self._opened_for = min(max(self._opened_for, until - now, float(settings.open_for)), settings.open_at_most)
        if self._own and self.why is Unavailable.OPEN and now < self.until and until <= self.until + GRACE:
            return  # who opened it too probes at a time of its own
        if self.why is Unavailable.PROBING:
            self.until = now  # the probe that was waited for has failed
        self._set_aside(Unavailable.OPEN, reason, until + self._grace())

    def _told_of_probe(self, until: float) -> None:
        """Others' probe is under way until then at most; or nobody's is any more, and it is anybody's turn."""
        if self.state is State.CLOSED:
            return
        until += self._uniform() * _SPREAD
        if self.why in _OF_THE_BREAKER:
            self.until = until
            self.why = Unavailable.PROBING
        else:
            self.until = max(self.until, until)

    def _grace(self) -> float:
        return GRACE * (1 + self._uniform())
