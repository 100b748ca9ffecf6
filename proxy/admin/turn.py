"""One at a time: what changes the configuration, whoever asks for it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from proxy.admin.body import Cannot

RELOAD_AT_MOST = 60.0

T = TypeVar("T")


class Turn:
    """Nobody waits for another's to end, and nothing takes more than a minute."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def take(self, do: Callable[[], Awaitable[T]]) -> T:
        """Raises `Cannot`: 409 if it is another's turn, 504 if it was given up."""
        if self._lock.locked():
            raise Cannot(409, "ReloadUnderWay", "A reload is under way; ask again when it has ended.")
        async with self._lock:
            with trio.move_on_after(RELOAD_AT_MOST):
                return await do()
        text = f"The reload took more than {RELOAD_AT_MOST:.0f} s and was given up."
        raise Cannot(504, "ReloadTimeout", text)
