"""The memory of stored state, as the workers ask it: questions gathered, answered together off the loop, in order.

A store that cannot be used answers "unavailable" to all, and is announced once; nothing is decided without it.
"""

from collections.abc import Callable

import trio

from proxy.config.structs import State
from proxy.messages import AskStored, Downward, StoredDropped, StoredTold
from proxy.stored.entry import Drop, Question, Told
from proxy.supervisor.events.events import Event
from proxy.supervisor.store.database import StoreError
from proxy.supervisor.store.owned import OwnedStore

_WAITING_AT_MOST = 10_000
_TOGETHER = 256
_PRUNE_EVERY = 600.0


class Ownership:
    """Raises `StoreError` if the store cannot be opened. `post` tells one worker, or all (None)."""

    def __init__(
        self, state: State, *, post: Callable[[int | None, Downward], None], announce: Callable[[Event], None]
    ) -> None:
        self._store = OwnedStore(state)
        self._post = post
        self._announce = announce
        self._waiting: list[tuple[int, AskStored]] = []
        self._wake = trio.Event()
        self._one_at_a_time = trio.Lock()
        self._failing = False

    def ask(self, worker: int, message: AskStored) -> None:
        """Take a question; past the bound it is dropped, and its worker gives up waiting."""
        if len(self._waiting) < _WAITING_AT_MOST:
            self._waiting.append((worker, message))
            self._wake.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prune)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._waiting:
                    batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                    await self._answer(batch)

    async def _answer(self, batch: list[tuple[int, AskStored]]) -> None:
        questions: list[Question] = [message.question for _, message in batch]
        try:
            async with self._one_at_a_time:
                told = await trio.to_thread.run_sync(self._store.answer, questions)
        except StoreError as error:
            self._failed(error)
            told = [Told("unavailable")] * len(batch)
        else:
            self._works()
            dropped = tuple(one for question in questions if isinstance(question, Drop) for one in question.ids)
            if dropped:
                self._post(None, StoredDropped(dropped))
        for (worker, message), one in zip(batch, told, strict=True):
            self._post(worker, StoredTold(message.serial, one))

    async def _prune(self) -> None:
        while True:
            await trio.sleep(_PRUNE_EVERY)
            try:
                async with self._one_at_a_time:
                    await trio.to_thread.run_sync(self._store.prune)
            except StoreError as error:
                self._failed(error)

    def _failed(self, error: StoreError) -> None:
        if not self._failing:
            self._failing = True
            words = f"it cannot be told whose stored things are, so nobody may use them: {error}"
            self._announce(Event("stored_state_failed", "error", words))

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            self._announce(Event("stored_state_back", "info", "stored things can be told apart again"))
