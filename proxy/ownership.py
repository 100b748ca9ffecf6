"""Whose stored things are, as one worker knows it: asked of the supervisor, and remembered where the answer was yes.

An owner never changes, so what is remembered stays true until the thing is deleted, which the supervisor tells. What is
another's is never remembered as such: to ask for it takes as long as for what is nobody's.
"""

import time
from collections.abc import Callable, Sequence
from itertools import count

import trio

from proxy.config.structs import Client
from proxy.messages import AskStored, StoredTold
from proxy.policy.references import Name
from proxy.refusal import Reason, Refused
from proxy.stored.entry import Count, Drop, Entry, Find, Keep, Page, Question, Told, may_use

_WAIT = 2.0
_WAITERS = 2_000
_REMEMBERED = 10_000


class Ownership:
    """`post` sends a question to the supervisor; false if it is too far behind."""

    def __init__(self, post: Callable[[AskStored], bool]) -> None:
        self._post = post
        self._serials = count(1)
        self._waiting: dict[int, tuple[trio.Event, list[Told]]] = {}
        self._known: dict[str, Entry] = {}
        self._drops = 0

    # What the supervisor says.

    def told(self, message: StoredTold) -> None:
        waiting = self._waiting.get(message.serial)
        if waiting is not None:
            waiting[1].append(message.told)
            waiting[0].set()

    def dropped(self, ids: Sequence[str]) -> None:
        self._drops += 1
        for one in ids:
            self._known.pop(one, None)

    # What requests ask. All of it raises `Refused`: STATE_UNAVAILABLE.

    async def owned(self, client: Client, clients: dict[str, Client], names: Sequence[Name]) -> list[Entry]:
        """The things of these names, all of them the client's. Raises `Refused`: NOT_FOUND."""
        now = time.time()
        found: dict[str, Entry] = {}
        for _, one in names:
            entry = self._known.get(one)
            if entry is not None and entry.live(now) and may_use(client, entry, clients.get(entry.owner.client)):
                found[one] = entry
        missing = tuple(one for _, one in names if one not in found)
        if missing:
            drops = self._drops
            told = await self._ask(Find(missing))
            for entry in told.entries:
                if may_use(client, entry, clients.get(entry.owner.client)):
                    found[entry.id] = entry
                    if drops == self._drops:  # else it may have been deleted since the answer was given
                        self._remember(entry)
        for kind, one in names:
            if one not in found or found[one].kind != kind:
                raise Refused(Reason.NOT_FOUND, "owner")
        return [found[one] for _, one in names]

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Have them remembered, on disk, before anybody hears of them. Raises `Refused`: STATE_FULL, INTERNAL."""
        if not entries:
            return
        told = await self._ask(Keep(tuple(entries)))
        if told.why == "full":
            raise Refused(Reason.STATE_FULL, "stored things")
        if not told.ok:
            raise Refused(Reason.INTERNAL, "a backend gave out an id that is another's")

    async def page(self, page: Page) -> Told:
        """Raises `Refused`: NOT_FOUND for a mark that is not the client's."""
        told = await self._ask(page)
        if not told.ok:
            raise Refused(Reason.NOT_FOUND, "owner")
        return told

    async def drop(self, ids: Sequence[str]) -> None:
        self.dropped(ids)
        await self._ask(Drop(tuple(ids)))

    async def count_once(self, entry: Entry) -> bool:
        """Whether nobody has counted yet what this thing used."""
        told = await self._ask(Count(entry.id))
        self.dropped((entry.id,))
        return told.ok

    def _remember(self, entry: Entry) -> None:
        if entry.pending:
            return
        self._known.pop(entry.id, None)
        self._known[entry.id] = entry
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _ask(self, question: Question) -> Told:
        if len(self._waiting) >= _WAITERS:
            raise Refused(Reason.STATE_UNAVAILABLE, "questions", retry_after=1.0)
        serial = next(self._serials)
        event, answers = self._waiting[serial] = trio.Event(), []
        try:
            if self._post(AskStored(serial, question)):
                with trio.move_on_after(_WAIT):
                    await event.wait()
        finally:
            del self._waiting[serial]
        if not answers or answers[0].why == "unavailable":
            raise Refused(Reason.STATE_UNAVAILABLE, "store", retry_after=1.0)
        return answers[0]
