"""The breaker of one deployment: sets it aside when it fails, and lets single probes find out when it is back.

    CLOSED     --`failures` in a row-->  OPEN
    OPEN       --its time is over-->     HALF_OPEN, by the probe that is let through
    HALF_OPEN  --probe succeeds-->       CLOSED
    HALF_OPEN  --probe fails-->          OPEN, for twice as long

Being throttled, and being misconfigured on our side, are no faults: they make a deployment unavailable until a time,
whatever the state. While it is not closed only its probe moves it: what was sent before it opened, and comes back
later, says how things were then. A probe that ends without a verdict (its client left) makes room for the next.
"""

from collections.abc import Callable
from enum import Enum

from proxy.config.structs import Breaker as Settings
from proxy.routing.outcome import Outcome

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


class Breaker:
    """Times are monotonic seconds; `uniform` gives numbers in [0, 1) for the jitter."""

    __slots__ = (
        "_failures", "_misconfigured", "_opened_for", "_probing", "_uniform", "reason", "settings", "state", "until",
        "why",
    )  # fmt: skip

    def __init__(self, settings: Settings, uniform: Callable[[], float]) -> None:
        self.settings = settings
        self.state = State.CLOSED
        self.until = 0.0  # not to be asked before
        self.why = Unavailable.OPEN  # the cause of `until`
        self.reason = ""
        self._uniform = uniform
        self._failures = 0
        self._opened_for = 0.0
        self._misconfigured = 0
        self._probing = False

    def unavailable(self, now: float) -> Unavailable | None:
        if now < self.until:
            return self.why
        if self.state is State.HALF_OPEN and self._probing:
            return Unavailable.PROBING
        return None

    def begin(self) -> bool:
        """A request goes out; true if it is the probe."""
        if self.state is State.CLOSED:
            return False
        self.state = State.HALF_OPEN
        self._probing = True
        return True

    def end(self, outcome: Outcome, now: float, wait: float | None, *, probe: bool) -> bool:
        """It came back; true if there is something to announce."""
        before = self.state, self.until
        if probe:
            self._probing = False
        if outcome is Outcome.THROTTLED:
            wait = min(1.0 if wait is None else wait, float(self.settings.retry_after_at_most))
            self._set_aside(Unavailable.THROTTLED, outcome, now + wait)
        elif outcome is Outcome.MISCONFIGURED:
            self._misconfigure(outcome, now)
        elif probe or self.state is State.CLOSED:
            if outcome.value.breaker:
                self._fail(outcome, now)
            elif outcome in (Outcome.OK, Outcome.CLIENT_ERROR):
                self._succeed()
        return before != (self.state, self.until)

    def _misconfigure(self, outcome: Outcome, now: float) -> None:
        """Twice as long each time; those that were under way together count as one."""
        if now < self.until and self.why is Unavailable.MISCONFIGURED:
            return
        first = float(self.settings.misconfigured_for)
        wait = min(first * 2**self._misconfigured, max(first, _MISCONFIGURED_AT_MOST))
        self._misconfigured = min(self._misconfigured + 1, 32)
        self._set_aside(Unavailable.MISCONFIGURED, outcome, now + wait)

    def _succeed(self) -> None:
        self._failures = self._misconfigured = 0
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._opened_for = 0.0
            self.reason = "recovered"

    def _set_aside(self, why: Unavailable, outcome: Outcome, until: float) -> None:
        if until > self.until:
            self.until = until
            self.why = why
            self.reason = outcome.reason

    def _fail(self, outcome: Outcome, now: float) -> None:
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self.settings.failures:
            return
        self._opened_for = min(max(self._opened_for * 2, float(self.settings.open_for)), self.settings.open_at_most)
        self.state = State.OPEN
        self.reason = outcome.reason
        # Up to a fifth less: workers and nodes that opened together do not probe together.
        self.until = max(self.until, now + self._opened_for * (1 - self._uniform() / 5))
        self.why = Unavailable.OPEN
