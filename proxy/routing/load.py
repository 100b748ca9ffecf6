"""How much a deployment has to do, how fast it answers, and how much room it says it has: one worker's knowledge. Pure.

What a backend reports of itself is a hint, and forgotten soon: Azure charges at admission by an estimate, and counts
requests over windows as short as a second. What this worker has sent, it knows.
"""

from bisect import bisect_left
from math import exp

from proxy.record.metrics import FIRST_BYTE_BUCKETS
from proxy.routing.outcome import Outcome
from proxy.routing.shared import DeploymentSeen, DeploymentTold
from proxy.routing.sliding import Sliding

HINT_KEPT = 10.0  # s, that what a backend said of its remaining quota counts
SPILLED_FOR = 0.25  # s, that a provisioned deployment is spared when it is too busy: longer, and it stands idle
SHOWN_EVERY = 1.0  # s, where hints are for people alone
DECIDED_EVERY = 0.02  # s, where there is a choice to make by them
_DECAY = 10.0  # s
_SLOT = 5.0  # s
_SLOTS = 12
_UNDECAYED = 1e-6  # s


class PeakAverage:
    """An average of durations that jumps up to a peak and decays towards what follows, and towards nought by itself.

    As in Finagle's peak EWMA: who turns slow is known at once, and who is not asked any more is tried again in time.
    """

    __slots__ = ("_at", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        kept = exp((self._at - now) / _DECAY)
        value = self._value * kept
        self._value = seconds if seconds >= value else value + seconds * (1 - kept)
        self._at = now

    def at(self, now: float) -> float:
        """Seconds; 0: there is nothing to go by, or it was too long ago to count."""
        value = self._value
        if not value:
            return 0.0
        value *= exp((self._at - now) / _DECAY)
        return value if value > _UNDECAYED else 0.0


class LastMinute:
    """How much was sent in the last minute, in slots of five seconds: what is up to one slot older counts, too."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent = Sliding(_SLOTS + 1)

    def add(self, amount: int, now: float) -> None:
        sent = self._sent
        sent.move(int(now / _SLOT))
        sent.add(amount, sent.slot)

    def correct(self, amount: int, at: float, now: float) -> None:
        """Put right what was added `at` a time, if that still counts."""
        sent, slot = self._sent, int(at / _SLOT)
        sent.move(int(now / _SLOT))
        if sent.slot - slot <= _SLOTS:
            sent.add(amount, slot)

    def total(self, now: float) -> int:
        sent, slot = self._sent, int(now / _SLOT)
        if slot > sent.slot:
            sent.move(slot)
        return sent.total


class Load:
    """One deployment's. Times are monotonic seconds.

    `streams` and `answers` are the times to the first byte of streams and of whole answers, which take as long as there
    is to say. A backend's hints are read again when they are due, every so often. `drained`, `weight` and `elsewhere`
    are as told; `recovered` is when its breaker was last seen to keep it out.
    """

    __slots__ = (
        "_hinted", "_remaining_requests", "_remaining_tokens", "_utilisation", "_utilised", "answers", "drained",
        "elsewhere", "hints_due", "hints_every", "in_flight", "recovered", "sent", "since", "streams", "weight",
    )  # fmt: skip

    def __init__(self) -> None:
        self.in_flight = 0
        self.sent = LastMinute()
        self.streams = PeakAverage()
        self.answers = PeakAverage()
        self.recovered = float("-inf")
        self.drained = False
        self.weight: float | None = None
        self.elsewhere = 0  # tokens, of the other workers, in the last minute
        self.hints_every = SHOWN_EVERY
        self.since = Since()
        self.hints_due = float("-inf")
        self._remaining_tokens: int | None = None
        self._remaining_requests: int | None = None
        self._hinted = float("-inf")
        self._utilisation = 0.0
        self._utilised = float("-inf")

    def __repr__(self) -> str:
        return f"<Load {self.in_flight} in flight>"

    # What happens to it.

    def started(self) -> None:
        self.in_flight += 1
        self.since.changed = True

    def ended(self, outcome: Outcome) -> None:
        self.in_flight -= 1
        since = self.since
        since.changed = True
        since.requests += 1
        if outcome.breaker:
            since.failed += 1
        elif outcome is Outcome.THROTTLED:
            since.throttled += 1
        elif not outcome.ours and outcome is not Outcome.NO_CREDENTIAL:
            return
        since.last_error = outcome.reason

    def charge(self, tokens: int, now: float) -> None:
        """Tokens that a request is expected to use go there."""
        self.sent.add(tokens, now)
        self.since.tokens += tokens
        if self._remaining_tokens is not None:
            self._remaining_tokens -= tokens
        if self._remaining_requests is not None:
            self._remaining_requests -= 1

    def correct(self, tokens: int, at: float, now: float) -> None:
        """What was charged `at` a time was so many too few; negative: too many."""
        if tokens:
            self.sent.correct(tokens, at, now)
            self.since.tokens += tokens
            self.since.changed = True

    def answered(self, seconds: float, now: float, *, stream: bool) -> None:
        """The head of an answer came after so long."""
        (self.streams if stream else self.answers).observe(seconds, now)
        self.since.ttfb[bisect_left(FIRST_BYTE_BUCKETS, seconds)] += 1
        self.since.changed = True

    def hinted(self, tokens: int | None, requests: int | None, utilisation: float | None, now: float) -> None:
        """What a backend said of itself; None: nothing."""
        self.hints_due = now + self.hints_every
        if tokens is not None or requests is not None:
            self._remaining_tokens, self._remaining_requests = tokens, requests
            self._hinted = now
        if utilisation is not None:
            self._utilisation, self._utilised = utilisation, now
            self.since.utilisation = utilisation

    def told(self, told: DeploymentTold, now: float) -> None:
        self.drained = told.drained or told.weight == 0
        self.weight = told.weight or None
        self.elsewhere = told.tokens
        if told.utilisation is not None:
            self._utilisation, self._utilised = told.utilisation, now

    # What that means.

    def has_room(self, tokens: int, limit: int | None, now: float) -> bool:
        """Whether a request of so many tokens would pass, by all that is known. `limit`: tokens a minute."""
        if now - self._hinted < HINT_KEPT:
            left = self._remaining_tokens
            if left is not None and left < tokens:
                return False
            left = self._remaining_requests
            if left is not None and left < 1:
                return False
        return limit is None or self.sent.total(now) + self.elsewhere + tokens <= limit

    def spills(self, threshold: float | None, now: float) -> bool:
        """Whether it was too busy lately. It is spared for a moment, then asked again: its answer says how it is."""
        return threshold is not None and self._utilisation >= threshold and now - self._utilised < SPILLED_FOR

    def utilisation(self, now: float) -> float | None:
        return self._utilisation if now - self._utilised < HINT_KEPT else None

    def seen(self, backend: str, deployment: str, now: float) -> DeploymentSeen | None:
        """What there is to tell since the last time, if anything."""
        since = self.since
        if not since.changed:
            return None
        self.since = Since()
        hinted = now - self._hinted < HINT_KEPT
        return DeploymentSeen(
            backend,
            deployment,
            self.in_flight,
            since.requests,
            since.tokens,
            since.failed,
            since.throttled,
            tuple(since.ttfb),
            self.streams.at(now) or self.answers.at(now),
            self._remaining_tokens if hinted else None,
            self._remaining_requests if hinted else None,
            since.utilisation,
            since.last_error,
        )


class Since:
    """What was counted since the last report."""

    __slots__ = ("changed", "failed", "last_error", "requests", "throttled", "tokens", "ttfb", "utilisation")

    def __init__(self) -> None:
        self.changed = False
        self.requests = 0
        self.tokens = 0
        self.failed = 0
        self.throttled = 0
        self.ttfb = [0] * (len(FIRST_BYTE_BUCKETS) + 1)
        self.utilisation: float | None = None  # as the backend said; what others were told is not told on
        self.last_error: str | None = None
