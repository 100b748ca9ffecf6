"""A listing: what is remembered of the client's, each asked for where it lies; nobody else's can be among it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy.record.record import End
from proxy.refusal import Reason, Refused
from proxy.routing.outcome import Outcome
from proxy.stored import answers
from proxy.stored.entry import Entry, Owner, Page, owners_for
from proxy.stored.places import PATHS
from proxy.stored_exchange.direct import SMALL_AT_MOST, Direct, refusal
from proxy.upstream import Failed
from proxy.wire.http1 import response_head

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_AT_A_TIME = 8
_EMPTY_PAGES = 5
_SETTLED_AFTER = 3_600.0
"""Seconds after which what a resource does not know is gone, and not just not there yet."""

_encode = msgspec.json.Encoder().encode


class Listing(Direct):
    """A page of a client's things. `_gone` is what turns out to be no more, `_made` what things have made, by owner."""

    __slots__ = ("_gone", "_made")

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange)
        self._gone: list[str] = []
        self._made: dict[Owner, list[Entry]] = {}

    async def run(self) -> None:
        exchange = self._exchange
        stored = exchange.worker.stored
        await exchange.admit()
        exchange.charged = 0
        page = self._page()
        data: list[bytes] = []
        told = await stored.page(page)
        for _ in range(_EMPTY_PAGES):
            data = await self._fetch(told.entries)
            if data or not told.more or not told.entries:
                break
            told = await stored.page(msgspec.structs.replace(page, after=told.entries[-1].id))
        for made in self._made.values():
            await stored.keep(made)
        if self._gone:  # not before: pages go on from one of them
            await stored.drop(self._gone)
        await self._answer(data, more=told.more)

    def _page(self) -> Page:
        exchange, query = self._exchange, dict(self._exchange.target.query)
        limit, order = query.get("limit", "20"), query.get("order", "desc")
        if not limit.isdecimal() or len(limit) > 6 or order not in ("asc", "desc"):
            raise Refused(Reason.BAD_TARGET, "page", message="'limit' must be a number, 'order' asc or desc.")
        state = exchange.target.operation.state
        assert state is not None
        return Page(
            owners_for(exchange.client, exchange.view.clients),
            state.kind,
            query.get("purpose"),
            query.get("after"),
            query.get("before"),
            ascending=order == "asc",
            limit=int(limit),
        )

    async def _answer(self, data: list[bytes], *, more: bool) -> None:
        exchange = self._exchange
        ids = [answers.decoded(item)["id"] for item in data]
        listing = {
            "object": "list",
            "data": [msgspec.Raw(item) for item in data],
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": more,
        }
        body = _encode(listing)
        exchange.record.status = 200
        self.answered = True
        head = response_head(200, [*exchange.head_lines(), (b"content-length", b"%d" % len(body))])
        await exchange.connection.send(head + body, exchange.view.bounds)
        self.sent.bytes_out += len(head) + len(body)
        exchange.end(End.COMPLETE)

    async def _fetch(self, entries: Sequence[Entry]) -> list[bytes]:
        """The things themselves, in order; without those that are no longer where they were made."""
        found: list[bytes | None] = [None] * len(entries)
        limiter = trio.CapacityLimiter(_AT_A_TIME)
        failures: list[Failed] = []

        async def fetch(number: int, entry: Entry) -> None:
            async with limiter:
                if failures or entry.backend not in self._exchange.view.backends:
                    return
                try:
                    found[number] = await self._fetch_one(entry)
                except Failed as failed:
                    failures.append(failed)

        async with trio.open_nursery() as nursery:
            for number, entry in enumerate(entries):
                nursery.start_soon(fetch, number, entry)
        if failures:
            raise refusal(failures[0])
        return [body for body in found if body is not None]

    async def _fetch_one(self, entry: Entry) -> bytes | None:
        """Raises `Failed` alone: it runs beside others."""
        target = self.target_of(f"{PATHS[entry.kind]}/{entry.id}")
        head, body = await self.ask_whole(entry.backend, target, None, at_most=SMALL_AT_MOST)
        now = time.time()
        if head.status == 404:
            if entry.created < now - _SETTLED_AFTER and await self.is_gone(entry.backend, entry.kind, entry.id):
                self._gone.append(entry.id)
            return None
        answer = answers.decoded(body)
        if head.status >= 300 or answer.get("id") != entry.id:
            raise Failed(Outcome.BACKEND_ERROR, status=head.status)
        made = answers.files_of(entry, answer, now)
        if made:
            self._made.setdefault(entry.owner, []).extend(made)
        return body
