"""Who gets a canary: a share of clients or users, always the same ones. Pure.

Everybody has a place between 0 and 1, by a hash of the model and who it is. A canary takes the places below its share,
the next one those that follow. So a share that grows keeps whom it had, and one model's canary is not always tried on
the same clients as another's.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate

_REMEMBERED = 4096
NOBODYS = -1


def place(model: str, who: str) -> float:
    """From 0, up to but not including 1."""
    digest = blake2b(f"{model}\0{who}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


class Canaries:
    """Those of one model, by their shares, in order."""

    def __init__(self, model: str, shares: Sequence[float]) -> None:
        self._model = model
        self._ends = tuple(accumulate(shares))
        self._known: dict[str, int] = {}

    def of(self, who: str) -> int:
        """Which one somebody gets; `NOBODYS`: none."""
        found = self._known.get(who)
        if found is None:
            at = place(self._model, who)
            found = next((index for index, end in enumerate(self._ends) if at < end), NOBODYS)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[who] = found
        return found
