"""What a deployment still takes: tokens a minute, or requests at a time. Pure: the time comes in, in seconds.

As Azure does, a request is charged at admission by an estimate, its prompt and the most it may complete, and what it
really used is never put right (azure.md, "Answers").
"""

from collections import deque

_WINDOW = 60.0
_FULL = 0.05  # seconds until a provisioned deployment that is full is worth another try
_REQUESTS_A_THOUSAND_TOKENS = 6  # Azure's ratio of requests to tokens a minute
_UNLIMITED_TOKENS, _UNLIMITED_REQUESTS = 99_999, 999


class Allowance:
    """`tokens_per_minute` 0: any. `capacity`, requests at a time, 0: any."""

    __slots__ = ("_capacity", "_per_minute", "_spent", "_window", "busy")

    def __init__(self, tokens_per_minute: int, capacity: int) -> None:
        self.busy = 0
        self._per_minute = tokens_per_minute
        self._capacity = capacity
        self._window: deque[tuple[float, int]] = deque()
        self._spent = 0

    def admit(self, now: float, tokens: int) -> float | None:
        """None: charged, and one more is busy. Else the seconds until it is worth another try."""
        if self._capacity and self.busy >= self._capacity:
            return _FULL
        if self._per_minute:
            self._forget(now)
            over = self._spent + tokens - self._per_minute
            if over > 0:
                return self._until_free(now, over)
            self._window.append((now, tokens))
            self._spent += tokens
        self.busy += 1
        return None

    def done(self) -> None:
        """A request that was admitted is over."""
        self.busy -= 1

    def remaining(self) -> tuple[int, int]:
        """Tokens and requests left in this minute, as of the last admission."""
        if not self._per_minute:
            return _UNLIMITED_TOKENS, _UNLIMITED_REQUESTS
        requests = max(1, self._per_minute * _REQUESTS_A_THOUSAND_TOKENS // 1000)
        return self._per_minute - self._spent, max(0, requests - len(self._window))

    def utilization(self) -> str:
        """Of a provisioned deployment, as its header says it."""
        return f"{100 * self.busy / self._capacity:.1f}%" if self._capacity else "42.5%"

    def _forget(self, now: float) -> None:
        while self._window and self._window[0][0] <= now - _WINDOW:
            self._spent -= self._window.popleft()[1]

    def _until_free(self, now: float, tokens: int) -> float:
        for at, spent in self._window:
            tokens -= spent
            if tokens <= 0:
                return at + _WINDOW - now
        return _WINDOW
