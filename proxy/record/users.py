"""How a user's id goes into records: as it is, as a keyed hash, or not at all.

The hash is the same for the same user wherever this deployment writes it, and another one in every other deployment;
without the key nobody can try who it stands for. Pure.
"""

import hmac
from collections.abc import Callable
from functools import lru_cache

_HEX = 32
_REMEMBERED = 10_000

Shown = Callable[[str | None], str | None]


def shown(mode: str, key: bytes) -> Shown:
    """What becomes of a user's id under `audit.user`: "plain", "hash" or "none"."""
    if mode == "plain":
        return lambda user: user
    if mode == "none":
        return lambda user: None

    @lru_cache(_REMEMBERED)
    def hashed(user: str | None) -> str | None:
        if user is None:
            return None
        return "hmac:" + hmac.digest(key, user.encode("utf-8", "surrogatepass"), "sha256").hex()[:_HEX]

    return hashed
