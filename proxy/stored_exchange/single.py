"""One thing: made, read, changed or deleted; what its answer says is remembered before it is passed on."""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy import translation
from proxy.policy.operation import State
from proxy.policy.references import Name, distinct
from proxy.record.record import End
from proxy.refusal import Reason, Refused
from proxy.routing.outcome import Outcome
from proxy.stored import answers, bodies, upload
from proxy.stored.entry import Entry, owner_of
from proxy.stored_exchange import batch, news
from proxy.stored_exchange.direct import OFF_LOOP, Direct, decoded, outcome_of, refusal
from proxy.stored_exchange.owned import named_by_path, owned, place_of, places_for
from proxy.upstream import Failed
from proxy.wire.http1 import ResponseHead

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_ELSEWHERE = frozenset((Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT, Outcome.THROTTLED, Outcome.NO_CREDENTIAL))
"""After these nothing was made, so another resource may be asked to make it."""


class Single(Direct):
    """`_said` is its JSON body, `_form` its form, `_judged` a batch's file in it, by the place it is made out to."""

    __slots__ = ("_form", "_judged", "_operation", "_said", "_state")

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange)
        self._operation = exchange.target.operation
        self._state = self._operation.state or State("create")
        self._said: bodies.Said | None = None
        self._form: upload.Upload | None = None
        self._judged: dict[str, upload.Judged] = {}

    async def run(self) -> None:
        exchange = self._exchange
        names = distinct([*named_by_path(exchange), *await self._read()])
        places = places_for(exchange) if self._state.act == "create" else []
        if self._form is not None and self._form.purpose == "batch":
            model = batch.model_of(exchange, self._form)
            places = places_for(exchange, (model,))
            self._judged[places[0]] = await batch.judged(exchange, self._form, model, places[0])
        entries = await self._admit(names)
        place = place_of(exchange, entries)
        exchange.charged = exchange.estimate or None  # a batch runs, whether or not this is here to hear its answer
        try:
            await self._serve([place] if place is not None else places, entries)
        except Refused:
            exchange.charged = None
            raise

    # What it says, and what it names.

    async def _read(self) -> tuple[Name, ...]:
        """The body. What it names."""
        exchange, body = self._exchange, self._exchange.body
        off_loop = len(body) >= OFF_LOOP
        if self._operation.body == "multipart":
            assert exchange.head is not None
            read = partial(upload.Upload, body, exchange.head.once[b"content-type"])
            self._form = await trio.to_thread.run_sync(read) if off_loop else read()
            return ()
        if self._operation.body == "none":
            return ()
        judge = partial(bodies.read, self._operation, body)
        self._said = said = await trio.to_thread.run_sync(judge) if off_loop else judge()
        permissions = exchange.view.permissions[exchange.client.name]
        permissions.allow(self._operation, exchange.principal, said.request)
        if self._operation.name == "fine_tuning.jobs.create":
            model = bodies.string(said, "model")
            exchange.record.model = model[:256]
            permissions.allow_base(self._operation, model, exchange.principal)
        return said.names

    async def _admit(self, names: Sequence[Name]) -> list[Entry]:
        """Admit the request, and find what it names. What a batch will use counts when it is made."""
        exchange = self._exchange
        if self._operation.name != "batches.create":
            await exchange.admit()
            return await owned(exchange, names)
        assert self._said is not None
        try:
            entries = await exchange.worker.stored.owned(exchange.client, exchange.view.clients, names)
            batch.judge_making(exchange, self._said, entries)
        except Refused:
            await exchange.admit()
            exchange.charged = 0
            raise
        exchange.estimate = entries[0].tokens
        await exchange.admit()
        return entries

    # Asking.

    async def _serve(self, places: list[str], entries: list[Entry]) -> None:
        exchange = self._exchange
        place, head, answer = await self._ask_in_turn(places)
        if head.status < 300:
            await self._remember(place, entries, answer)
        elif head.status == 404:
            await self._forget(place)
            raise Refused(Reason.NOT_FOUND, "backend")
        else:
            exchange.charged = None
        await self._send(place, head, answer)
        outcome = outcome_of(head.status, answer)
        if outcome is Outcome.BACKEND_ERROR:
            exchange.end(End.BACKEND_FAILED, outcome.reason)
        else:
            exchange.end(End.COMPLETE)

    async def _ask_in_turn(self, places: list[str]) -> tuple[str, ResponseHead, bytes]:
        """The first place that answers. What is to be made is waited for even when its client is gone: it would be
        nobody's.
        """
        target, watched = self._exchange.target.forward(""), self._state.act != "create"
        for place in places:
            body = await self._sent_to(place)
            try:
                with self.attempt(place) as attempt:
                    head, answer = await self.ask_whole(place, target, body, watched=watched)
                    attempt.status, attempt.reason = head.status, outcome_of(head.status, answer).reason
            except Failed as failed:
                if failed.outcome not in _ELSEWHERE or place == places[-1]:
                    raise refusal(failed) from None
            else:
                return place, head, answer
        raise Refused(Reason.NO_BACKEND, "nowhere to ask")

    async def _sent_to(self, place: str) -> bytes | None:
        """The body for a resource; None where there is none."""
        form = self._form
        if form is None:
            return self._said.sent if self._said is not None else None
        if form.purpose != "batch":
            return form.sent(form.content)
        if place not in self._judged:
            (before,) = self._judged.values()
            self._judged = {place: await batch.judged(self._exchange, form, before.model, place)}
        return form.sent(self._judged[place].content)

    async def _send(self, place: str, head: ResponseHead, body: bytes) -> None:
        candidate = self.candidate(place)
        self._head_is_known(candidate, head.status)
        framing = b"" if head.status == 204 else b"content-length: %d" % len(body)
        data = translation.response_head(self._exchange, candidate, head, framing) + body
        await self._exchange.connection.send(data, self._exchange.view.bounds)
        self.sent.bytes_out += len(data)

    # What comes of it.

    async def _remember(self, place: str, entries: list[Entry], body: bytes) -> None:
        """Have what an answer makes remembered, and count what it says was used, before it is passed on."""
        exchange, answer = self._exchange, await decoded(body)
        if self._state.act == "create":
            await self._keep(place, entries, answer)
        elif self._state.act == "delete":
            if self._state.kind:
                await exchange.worker.stored.drop((exchange.target.ids[-1][1],))
        elif len(exchange.target.ids) == 1 and answer.get("id") == entries[0].id:
            await news.take(exchange, entries[0], answer, body)

    async def _keep(self, place: str, entries: list[Entry], answer: dict[str, object]) -> None:
        exchange, now = self._exchange, time.time()
        entry = answers.entry_of(self._state.kind, answer, owner_of(exchange.client), place, now)
        if entry is None:
            raise Refused(Reason.BACKENDS_FAILED, "an answer without its id")
        entry = self._told_of(entry, entries)
        try:
            await exchange.worker.stored.keep((entry, *answers.files_of(entry, answer, now)))
        except Refused as refused:
            await self.undo(place, entry, refused)
            raise

    def _told_of(self, entry: Entry, entries: list[Entry]) -> Entry:
        """What is known of a new thing beside what the answer says."""
        if self._judged:
            (judged,) = self._judged.values()
            return msgspec.structs.replace(
                entry, label="batch", model=judged.model, operation=judged.operation, tokens=judged.tokens
            )
        if self._form is not None:
            return msgspec.structs.replace(entry, label=self._form.purpose)
        if entry.kind == "batch":
            file = entries[0]
            return msgspec.structs.replace(
                entry, model=file.model, operation=file.operation, tokens=file.tokens, pending=True
            )
        if entry.kind == "fine_tuning_job" and self._said is not None:
            return msgspec.structs.replace(entry, model=bodies.string(self._said, "model")[:256], pending=True)
        return entry

    async def _forget(self, place: str) -> None:
        """A deletion of what is gone already."""
        if self._state.act != "delete" or not self._state.kind:
            return
        thing_id = self._exchange.target.ids[-1][1]
        try:
            gone = await self.is_gone(place, self._state.kind, thing_id)
        except Failed as failed:
            raise refusal(failed) from None
        if gone:
            await self._exchange.worker.stored.drop((thing_id,))
