"""What a request will probably use, at admission, before any backend has counted: to reserve it from a budget.

Prompt tokens by the body's length, with a ratio learned for each model; completion tokens by what the request allows,
else by what the client's answers from the model used lately. A worker's own, bounded. Nothing in here performs I/O.
"""

from collections.abc import Hashable
from typing import TypeVar

from proxy.record.record import Tokens

Key = TypeVar("Key", bound=Hashable)

FIRST_RATIO = 0.25
"""Tokens a byte of body, until a model has answered: four bytes a token, as in English."""

OVERHEAD = 8
"""Prompt tokens that no text accounts for: the frame of a message, and the start of the reply."""

FIRST_COMPLETION = 256
"""Tokens of an answer to a client that has had none."""

_RATIO_WEIGHT = 0.1
_COMPLETION_WEIGHT = 0.2
_RATIOS = (0.001, 2.0)
"""An image in base64 makes the smallest ratio; a token has at least one byte, and a template can add some."""


class Estimator:
    """Learns from settled requests. Past `size` entries it forgets all and learns again."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._ratios: dict[str, float] = {}
        self._completions: dict[tuple[str, str], float] = {}

    def estimate(self, model: str, client: str, body_bytes: int, completion_limit: int | None) -> int:
        """Tokens to reserve. `completion_limit`: the request's own maximum, if it names one."""
        if completion_limit is None:
            completion_limit = int(self._completions.get((model, client), FIRST_COMPLETION))
        return int(body_bytes * self._ratios.get(model, FIRST_RATIO)) + OVERHEAD + completion_limit

    def learn(self, model: str, client: str, body_bytes: int, tokens: Tokens) -> None:
        """Take in what a request with a body of `body_bytes` really used; estimates teach nothing."""
        if tokens.estimated:
            return
        if body_bytes > 0 and tokens.prompt > 0:
            low, high = _RATIOS
            ratio = min(high, max(low, (tokens.prompt - OVERHEAD) / body_bytes))
            _average(self._ratios, model, ratio, FIRST_RATIO, _RATIO_WEIGHT, self._size)
        _average(
            self._completions, (model, client), tokens.completion, FIRST_COMPLETION, _COMPLETION_WEIGHT, self._size
        )


def _average(averages: dict[Key, float], key: Key, value: float, first: float, weight: float, size: int) -> None:
    """Move an exponentially weighted average towards `value`."""
    if key not in averages and len(averages) >= size:
        averages.clear()
    before = averages.get(key, first)
    averages[key] = before + weight * (value - before)
