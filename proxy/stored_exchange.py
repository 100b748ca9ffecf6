"""One request on stored state: what it names is its client's own, it goes to where that lies, and what it makes is
remembered as its client's before anybody hears of it.

    authorize → read → admit → whose is it → where does it lie → ask → remember → answer

It is admitted before it is looked up, so that whoever guesses ids is held to its limits. Entered from `proxy.exchange`
where a request needs it; a stateless one never comes here.
"""

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from proxy.forwarding import ENDED, Forwarding, first_of
from proxy.metering.usage import usage_of
from proxy.policy.operation import State
from proxy.policy.operations import OPERATIONS
from proxy.policy.references import Name, distinct
from proxy.policy.request import State as Asked
from proxy.policy.stored_operations import UNNAMED
from proxy.record.record import Attempt, End, Tokens
from proxy.refusal import Reason, Refused
from proxy.routing.candidate import Candidate, Wanted
from proxy.routing.outcome import Outcome, classify_status, error_code, retry_after
from proxy.routing.select import Router
from proxy.stored import answers, bodies, upload
from proxy.stored.entry import Entry, Page, owner_of, owners_for
from proxy.upstream import Answer, Asking, Failed, Unwatched, reach
from proxy.wire.body import BodyBroken, LengthFraming, OpaqueBody
from proxy.wire.http1 import ResponseHead, response_head
from proxy.wire.relay import Relay, RelayEnd

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_ANSWER_AT_MOST = 32 << 20
_OFF_LOOP = 1 << 20
_FIRST_EVENT_AT_MOST = 1 << 20
_IGNORED_BODY = 64 << 10
_AT_A_TIME = 8
_EMPTY_PAGES = 5
_SETTLED_AFTER = 3_600.0
_NOT_THERE = "The resource that holds what the request names does not serve this model."
_PLACE = b"x-penstock-backend"
_LISTED = {
    "file": "files",
    "batch": "batches",
    "vector_store": "vector_stores",
    "fine_tuning_job": "fine_tuning/jobs",
}
"""Where the things of a listing are asked for, one by one."""

_encode = msgspec.json.Encoder().encode
_REFUSALS = {
    Outcome.FIRST_BYTE_TIMEOUT: Reason.BACKEND_TIMEOUT,
    Outcome.NO_CREDENTIAL: Reason.CREDENTIAL_UNAVAILABLE,
    Outcome.MISCONFIGURED: Reason.BACKENDS_MISCONFIGURED,
    Outcome.CREDENTIAL_REJECTED: Reason.BACKENDS_MISCONFIGURED,
    Outcome.THROTTLED: Reason.BACKENDS_THROTTLED,
}
_ELSEWHERE = frozenset((Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT, Outcome.THROTTLED, Outcome.NO_CREDENTIAL))
"""After these nothing was made, so another resource may be asked to make it."""


async def serve(exchange: "Exchange") -> None:
    """A request for an operation on stored state. Raises `Refused`, `ClientGone`."""
    head = exchange.head
    assert head is not None
    operation = exchange.target.operation
    if head.method == b"HEAD":
        raise Refused(Reason.METHOD_NOT_ALLOWED, operation.name)
    if ("stream", "true") in exchange.target.query:
        raise Refused(Reason.UNJUDGED, "stream", message="A stored response is not streamed: ask for it without.")
    permissions = exchange.view.permissions[exchange.client.name]
    rule = permissions.allow(operation, exchange.principal)
    exchange.record.rule = rule.name if exchange.note is None else f"{rule.name}; {exchange.note}"
    if operation.body == "none":
        await _ignore_body(exchange)
    else:
        exchange.judge_body(head)
        await exchange.read_body(head, permissions.closely)
    exchange.forwarding = stored = Stored(exchange)
    await stored.run()


async def serve_kept(exchange: "Exchange", state: Asked) -> None:
    """A stateless operation's request whose body makes or names stored state. Raises `Refused`, `ClientGone`."""
    plain = exchange.target.operation
    assert plain.stored is not None
    operation = OPERATIONS[plain.stored]
    exchange.record.operation = operation.name
    exchange.target = msgspec.structs.replace(exchange.target, operation=operation)
    requested = exchange.requested()
    named = exchange.view.aliases.get(requested, requested)
    exchange.authorize(exchange.view.permissions[exchange.client.name], named)
    # It is metered as what it is without being kept, but it is not safe to repeat.
    forwarded = msgspec.structs.replace(plain, inference=False)
    exchange.target = msgspec.structs.replace(exchange.target, operation=forwarded)
    await exchange.admit()
    entries = await _own(exchange, state.names)
    place = _place_of(exchange, entries)
    backends = () if place is None else exchange.view.resources[place]
    if backends and all(one.backend not in backends for one in exchange.view.models[exchange.served].deployments):
        raise Refused(Reason.RESOURCE_GONE, f"{exchange.served} is not at {place}", message=_NOT_THERE)
    exchange.forwarding = kept = Kept(exchange, state, backends)
    await kept.run()


async def _ignore_body(exchange: "Exchange") -> None:
    """Official clients may send `{}` where no body is expected; anything else has a meaning that is not known."""
    head = exchange.head
    assert head is not None
    if head.length > _IGNORED_BODY or head.chunked:
        raise Refused(Reason.BODY_TOO_LARGE, "no body is expected")
    if head.length:
        await exchange.read_body(head, False)
        if exchange.body.strip() not in (b"", b"{}", b"null"):
            raise Refused(Reason.UNJUDGED, "body", message="This operation takes no body.")


async def _own(exchange: "Exchange", names: Sequence[Name]) -> list[Entry]:
    """The things that a request names. Raises `Refused`: NOT_FOUND, unless all of them are its client's."""
    exchange.charged = 0  # whether they are or not, it has been asked
    entries = await exchange.worker.stored.owned(exchange.client, exchange.view.clients, names) if names else []
    exchange.charged = None
    return entries


def _place_of(exchange: "Exchange", entries: Sequence[Entry]) -> str | None:
    """The one resource where the things of a request lie; None if it names none.

    Raises `Refused`: TWO_RESOURCES, RESOURCE_GONE.
    """
    resources = exchange.view.resources
    places = {resources.get(entry.backend, (entry.backend,))[0] for entry in entries}
    if not places:
        return None
    if len(places) > 1:
        raise Refused(Reason.TWO_RESOURCES, ", ".join(sorted(places)))
    place = entries[0].backend
    backend = exchange.view.backends.get(place)
    if backend is None:
        raise Refused(Reason.RESOURCE_GONE, f"{place} is not configured")
    regions = exchange.client.regions
    if regions and backend.region not in regions and exchange.target.operation.method == "POST":
        raise Refused(Reason.RESOURCE_GONE, f"{place} is outside the client's regions")
    return place


class Kept(Forwarding):
    """A request for a model whose answer is remembered before it is passed on, from its head where it is a stream."""

    __slots__ = ("_backends", "_state")

    def __init__(self, exchange: "Exchange", state: Asked, backends: tuple[str, ...]) -> None:
        super().__init__(exchange)
        self._state = state
        self._backends = backends

    def _wanted(self, router: Router) -> Wanted:
        wanted = super()._wanted(router)
        return msgspec.structs.replace(wanted, backends=self._backends) if self._backends else wanted

    async def _deliver(self, candidate: Candidate, begun: Answer) -> Outcome:
        if not self._state.keeps:
            return await super()._deliver(candidate, begun)
        exchange = self._exchange
        answer = await self._look_ahead(begun)
        waits = self._state.background and not exchange.record.stream and not answers.finished(answer)
        entry = answers.entry_of("response", answer, owner_of(exchange.client), candidate.backend, time.time())
        if entry is None:
            raise Refused(Reason.BACKENDS_FAILED, "an answer without its id")
        tokens = exchange.estimate if waits else 0
        kept = msgspec.structs.replace(entry, model=exchange.model, tokens=tokens, pending=waits)
        try:
            await exchange.worker.stored.keep((kept,))
        except Refused:
            begun.close()
            await Stored(exchange).undo(candidate.backend, entry)
            raise
        outcome = await super()._deliver(candidate, begun)
        if waits:  # what it uses is told by a later answer; what was reserved stays charged
            self.sent.meter = None
            exchange.charged = exchange.estimate
        return outcome

    async def _look_ahead(self, begun: Answer) -> dict[str, Any]:
        """The response that an answer is, or begins with; all that was read is still to be passed on."""
        kind = (begun.head.get(b"content-type") or b"").lower()
        try:
            if kind.startswith(b"text/event-stream"):
                payload = await begun.ahead(_has_event, _FIRST_EVENT_AT_MOST, self._until)
                return _first_response(payload)
            payload = await begun.ahead(None, _ANSWER_AT_MOST, self._until)
        except BodyBroken:
            raise Failed(Outcome.RESET_BEFORE_HEAD, status=begun.head.status) from None
        return await _decoded(payload)


def _has_event(payload: bytearray) -> bool:
    return b"\n\n" in payload or b"\r\n\r\n" in payload


def _first_response(payload: bytes) -> dict[str, Any]:
    """The response in a stream's first event, `response.created`."""
    event = payload.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
    found = answers.decoded(data)
    response = found.get("response")
    return response if isinstance(response, dict) else {}


async def _decoded(body: bytes) -> dict[str, Any]:
    if len(body) < _OFF_LOOP:
        return answers.decoded(body)
    return await trio.to_thread.run_sync(answers.decoded, body)


class Stored(Forwarding):
    """A request that names no deployment: asked of the one resource where what it names lies, or is to lie."""

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
        names = distinct([*_named_by_path(exchange), *await self._read()])
        places = self._places() if self._state.act == "create" else []
        if self._form is not None and self._form.purpose == "batch":
            places = await self._judge_lines(self._form, places)
        entries = await self._admit(names)
        place = _place_of(exchange, entries)
        match self._state.act:
            case "list":
                await self._list()
            case "content":
                assert place is not None
                await self._content(place)
            case _:
                await self._one([place] if place is not None else places, entries)

    # What it says.

    async def _read(self) -> tuple[Name, ...]:
        """The body. What it names."""
        exchange, body = self._exchange, self._exchange.body
        off_loop = len(body) >= _OFF_LOOP
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

    async def _judge_lines(self, form: upload.Upload, places: list[str]) -> list[str]:
        """Hold every line of a batch's file to what its client may ask for. The places that have its model."""
        exchange = self._exchange
        asked = upload.model_of(form.content)
        model = exchange.view.aliases.get(asked, asked)
        exchange.record.model = model[:256]
        if model not in exchange.view.models:
            raise Refused(Reason.UNKNOWN_MODEL, "models")
        found = self._places((model,))
        self._judged[found[0]] = await self._lines_for(found[0], model, form)
        return found

    async def _lines_for(self, place: str, model: str, form: upload.Upload) -> upload.Judged:
        exchange = self._exchange
        permissions = exchange.view.permissions[exchange.client.name]
        estimator, client, here = exchange.worker.estimator, exchange.client, exchange.view.resources[place]
        served = client.routes.get(model, model)
        deployment = next(one.deployment for one in exchange.view.models[served].deployments if one.backend in here)
        judge = partial(
            upload.judged,
            form.content,
            deployment,
            lambda operation, _, request: permissions.authorize(operation, model, exchange.principal, request),
            lambda _, size, limit: estimator.estimate(served, client.name, size, limit),
            closely=permissions.closely,
        )
        whole = len(form.content) < _OFF_LOOP // 8
        judged = judge() if whole else await trio.to_thread.run_sync(judge)
        return msgspec.structs.replace(judged, model=model)

    # Whose it is, and where.

    async def _admit(self, names: Sequence[Name]) -> list[Entry]:
        """Admit the request, and find what it names. What a batch will use counts when it is made."""
        exchange = self._exchange
        if self._operation.name != "batches.create":
            await exchange.admit()
            return await _own(exchange, names)
        try:
            entries = await exchange.worker.stored.owned(exchange.client, exchange.view.clients, names)
            self._judge_batch(entries)
        except Refused:
            await exchange.admit()
            exchange.charged = 0
            raise
        exchange.estimate = entries[0].tokens
        await exchange.admit()
        return entries

    def _judge_batch(self, entries: Sequence[Entry]) -> None:
        """Its file was judged when it was uploaded; what is granted may have changed since."""
        exchange, said = self._exchange, self._said
        assert said is not None
        own = owner_of(exchange.client)  # whoever else may read it: its lines were held to what its owner may ask for
        if len(entries) != 1 or entries[0].owner != own or not entries[0].operation:
            raise Refused(Reason.UNJUDGED, "input_file_id", message="'input_file_id' must be a file for a batch.")
        file = entries[0]
        operation = upload.run_by(bodies.string(said, "endpoint"))
        if operation.name != file.operation:
            raise Refused(Reason.UNJUDGED, "endpoint", message="'endpoint' is not what the lines of the file ask for.")
        exchange.record.model = file.model
        permissions = exchange.view.permissions[exchange.client.name]
        permissions.authorize(operation, file.model, exchange.principal, None)

    def _places(self, models: Sequence[str] = ()) -> list[str]:
        """The resources that may hold something new of the client's, in the order to ask them.

        Those that serve a model it may use, in its regions: by the priority of the deployments there, those that are
        set aside last. Within a priority a client always has the same one first, for what is to be used together must
        lie together. A header may name the one.
        """
        exchange, router, now = self._exchange, self._worker.router, time.monotonic()
        permissions = exchange.view.permissions[exchange.client.name]
        client = exchange.client
        found: dict[str, tuple[bool, int]] = {}
        for model in models or permissions.models(exchange.principal):
            wanted = Wanted(client.routes.get(model, model), client.regions, client.backends, client.tiers)
            for candidate, unavailable in router.order(wanted, now).verdicts(now):
                rank = (unavailable is not None, candidate.priority)
                found[candidate.backend] = min(rank, found.get(candidate.backend, rank))
        assert exchange.head is not None
        asked = next((value for name, value in exchange.head.headers if name == _PLACE), None)
        if asked is not None:
            place = asked.decode("latin-1")
            if place not in found:
                raise Refused(Reason.UNJUDGED, "place", message="x-penstock-backend names none that this may lie at.")
            return [place]
        owner = client.tenant if client.share_state == "tenant" else None
        key = f"tenant {owner}" if owner is not None else f"client {client.name}"
        resources = exchange.view.resources
        places = sorted(found, key=lambda place: (found[place], _affinity(key, resources[place][0])))
        if not places:
            raise Refused(Reason.NO_BACKEND, "no deployment in the client's regions")
        return places

    # Asking.

    async def _one(self, places: list[str], entries: list[Entry]) -> None:
        """Ask for one thing: make it, read it, change it or delete it."""
        exchange = self._exchange
        for place in places:
            body = await self._sent_to(place)
            try:
                head, answer = await self._ask_whole(place, exchange.target.forward(""), body, record=True)
                break
            except Failed as failed:
                if failed.outcome not in _ELSEWHERE or place == places[-1]:
                    raise _refusal(failed) from None
        if head.status < 300:
            await self._remember(place, entries, await _decoded(answer), answer)
        elif head.status == 404:
            await self._forget(head)
            raise Refused(Reason.NOT_FOUND, "backend")
        await self._send(place, head, answer)
        exchange.end(End.COMPLETE)

    async def _sent_to(self, place: str) -> bytes | None:
        """The body for a resource; None where there is none."""
        form = self._form
        if form is None:
            return self._said.sent if self._said is not None else None
        if form.purpose != "batch":
            return form.sent(form.content)
        if place not in self._judged:
            (before,) = self._judged.values()
            self._judged = {place: await self._lines_for(place, before.model, form)}
        return form.sent(self._judged[place].content)

    async def _ask_whole(
        self, place: str, target: str, body: bytes | None, *, record: bool, method: str | None = None
    ) -> tuple[ResponseHead, bytes]:
        """The head and the whole body of an answer. Raises `Failed` where it is none for the client."""
        begun = await self._begin_asking(place, target, body, watched=record, method=method)
        try:
            answer = await begun.small_body(_ANSWER_AT_MOST, self._until)
        except BodyBroken:
            begun.close()
            raise Failed(Outcome.BROKEN_MID_ANSWER, status=begun.head.status) from None
        except BaseException:
            begun.close()
            raise
        status = begun.head.status
        outcome = Outcome.OK if status < 400 else classify_status(status, error_code(answer))
        if record:
            self._exchange.record.attempts.append(Attempt(place, status, outcome.reason, self._so_far()))
        if outcome is Outcome.THROTTLED:
            raise Failed(outcome, status=status, wait=retry_after(begun.head.headers, time.time()))
        if outcome.ours:
            raise Failed(outcome, status=status)
        return begun.head, answer

    async def _begin_asking(
        self, place: str, target: str, body: bytes | None, *, watched: bool, method: str | None = None
    ) -> Answer:
        exchange, worker = self._exchange, self._worker
        view = exchange.view
        name = view.backends[place].credential
        credential = worker.credentials.get(name)
        if credential is None or credential.expires <= time.time():
            raise Failed(Outcome.NO_CREDENTIAL)
        pool = worker.pools.get(place)
        if pool is None:  # the configuration has changed
            raise Failed(Outcome.CONNECT_FAILED)
        method = self._operation.method if method is None else method
        request = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b: %b\r\n%b" % (
            method.encode("ascii"),
            target.encode("ascii"),
            pool.host_header,
            credential.header.encode("ascii"),
            credential.value.encode("ascii"),
            self._passed,
        )
        if body is not None or method == "POST":
            request += b"content-length: %d\r\n" % len(body or b"")
        asking = Asking(
            connection=exchange.connection if watched else Unwatched(),
            request=request + b"\r\n" + (body or b""),
            parts=None,
            chunked=False,
            bounds=view.bounds,
            first_byte=view.bounds.first_byte,
            until=self._until,
            sent=self._mark_sent,
        )
        begun = await reach(pool, asking)
        if begun.head.status == 401:
            worker.credential_rejected(name, credential, place)
        return begun

    def _so_far(self) -> float:
        return round((time.monotonic() - self._exchange.began) * 1000, 1)

    # What comes of it.

    async def _remember(self, place: str, entries: list[Entry], answer: dict[str, Any], body: bytes) -> None:
        """Have what an answer makes remembered, and count what it says was used, before it is passed on."""
        exchange, state = self._exchange, self._state
        stored, now = exchange.worker.stored, time.time()
        if state.act == "create":
            entry = answers.entry_of(state.kind, answer, owner_of(exchange.client), place, now)
            if entry is None:
                raise Refused(Reason.BACKENDS_FAILED, "an answer without its id")
            try:
                await stored.keep((self._known_of(entry, entries), *answers.files_of(entry, answer, now)))
            except Refused:
                await self.undo(place, entry)
                raise
            if state.kind == "batch":
                exchange.charged = exchange.estimate
        elif state.act == "delete":
            if state.kind:
                await stored.drop((exchange.target.ids[-1][1],))
        elif entries:
            await self._take_news(entries[0], answer, body, now)

    def _known_of(self, entry: Entry, entries: list[Entry]) -> Entry:
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

    async def _take_news(self, entry: Entry, answer: dict[str, Any], body: bytes, now: float) -> None:
        """The files that a thing has made by now, its new end, and, once, what it used."""
        exchange = self._exchange
        stored = exchange.worker.stored
        if len(exchange.target.ids) > 1 or answer.get("id") != entry.id:
            return
        news = list(answers.files_of(entry, answer, now))
        fresh = answers.entry_of(entry.kind, answer, entry.owner, entry.backend, now)
        if entry.kind == "vector_store" and fresh is not None and fresh.expires != entry.expires:
            news.append(msgspec.structs.replace(entry, expires=fresh.expires))
        await stored.keep(news)
        if entry.model:
            exchange.record.model = entry.model
        if entry.pending and answers.finished(answer) and await stored.count_once(entry):
            tokens = _used(entry, answer, body)
            if tokens is not None:
                exchange.record.tokens = tokens
                exchange.charged = max(0, tokens.total - entry.tokens)

    async def _forget(self, head: ResponseHead) -> None:
        """A deletion of what is gone already."""
        if self._state.act == "delete" and self._state.kind and head.status == 404:
            await self._exchange.worker.stored.drop((self._exchange.target.ids[-1][1],))

    async def undo(self, place: str, entry: Entry) -> None:
        """Nobody will ever be able to use what was made: have it deleted, or at least not run."""
        one = {"conversation": "conversations", "response": "responses", **_LISTED}.get(entry.kind)
        if one is None:
            return
        runs = entry.kind in ("batch", "fine_tuning_job")
        target = self._target_of(f"{one}/{entry.id}{'/cancel' if runs else ''}")
        with trio.move_on_after(5.0):
            try:
                await self._ask_whole(place, target, None, record=False, method="POST" if runs else "DELETE")
            except Failed:
                return

    # Listings.

    async def _list(self) -> None:
        """What is remembered of the client's, each asked for where it lies: nobody else's can be among it."""
        exchange = self._exchange
        page = self._page()
        data: list[bytes] = []
        told = await exchange.worker.stored.page(page)
        for _ in range(_EMPTY_PAGES):
            data = await self._fetch(told.entries)
            if data or not told.more or not told.entries:
                break
            told = await exchange.worker.stored.page(msgspec.structs.replace(page, after=told.entries[-1].id))
        ids = [answers.decoded(item)["id"] for item in data]
        listing = {
            "object": "list",
            "data": [msgspec.Raw(item) for item in data],
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": told.more,
        }
        body = _encode(listing)
        exchange.record.status = 200
        self.answered = True
        lines = [*exchange.head_lines(), (b"content-length", b"%d" % len(body))]
        await exchange.connection.send(response_head(200, lines) + body, exchange.view.bounds)
        self.sent.bytes_out += len(body)
        exchange.end(End.COMPLETE)

    def _page(self) -> Page:
        exchange, query = self._exchange, dict(self._exchange.target.query)
        limit, order = query.get("limit", "20"), query.get("order", "desc")
        if not limit.isdigit() or len(limit) > 6 or order not in ("asc", "desc"):
            raise Refused(Reason.BAD_TARGET, "page", message="'limit' must be a number, 'order' asc or desc.")
        return Page(
            owners_for(exchange.client, exchange.view.clients),
            self._state.kind,
            query.get("purpose"),
            query.get("after"),
            query.get("before"),
            ascending=order == "asc",
            limit=int(limit),
        )

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
            raise _refusal(failures[0])
        return [body for body in found if body is not None]

    async def _fetch_one(self, entry: Entry) -> bytes | None:
        target = self._target_of(f"{_LISTED[entry.kind]}/{entry.id}")
        head, body = await self._ask_whole(entry.backend, target, None, record=False)
        stored, now = self._exchange.worker.stored, time.time()
        if head.status == 404:
            if entry.created < now - _SETTLED_AFTER:
                await stored.drop((entry.id,))
            return None
        answer = answers.decoded(body)
        if head.status >= 300 or answer.get("id") != entry.id:
            raise Failed(Outcome.BACKEND_ERROR, status=head.status)
        await stored.keep(answers.files_of(entry, answer, now))
        return body

    def _target_of(self, path: str) -> str:
        """Another target on the surface that was asked."""
        target = self._exchange.target
        version = tuple((name, value) for name, value in target.query if name == "api-version")
        return msgspec.structs.replace(target, path=path, query=version, forwarded={}).forward("")

    # Answers.

    async def _content(self, place: str) -> None:
        """A file's content, passed on as it comes."""
        exchange = self._exchange
        assert exchange.head is not None
        try:
            begun = await self._begin_asking(place, exchange.target.forward(""), None, watched=True)
        except Failed as failed:
            raise _refusal(failed) from None
        head, framing = begun.head, begun.head.framing
        exchange.record.attempts.append(Attempt(place, head.status, _outcome(head.status).reason, self._so_far()))
        if head.status >= 400 or framing is None:
            begun.close()
            if head.status == 404:
                raise Refused(Reason.NOT_FOUND, "backend")
            raise _refusal(Failed(_outcome(head.status), status=head.status))
        raw = exchange.head.minor == 0
        body = OpaqueBody(framing, None, raw=raw)
        if isinstance(framing, LengthFraming):
            told = b"content-length: %d" % framing.left
        else:
            told = b"" if raw else b"transfer-encoding: chunked"
            exchange.keep_alive = exchange.keep_alive and not raw
        try:
            first = first_of(body, begun.rest)
            await self._begin(self._candidate(place), head, told, first)
            end = RelayEnd.COMPLETE if body.complete else await self._pass_on(begun, body)
        except BaseException:
            begun.close()
            raise
        if end is RelayEnd.COMPLETE:
            begun.keep(clean=not body.surplus)
        else:
            begun.close()
            exchange.keep_alive = False
        how, reason, _ = ENDED[end]
        exchange.connection.gone = exchange.connection.gone or how is End.CLIENT_GONE
        exchange.end(how, reason)

    async def _pass_on(self, begun: Answer, body: OpaqueBody) -> RelayEnd:
        exchange, worker = self._exchange, self._worker
        bounds, connection = exchange.view.bounds, exchange.connection
        relay = Relay(
            connection.link,
            begun.link,
            body,
            idle=bounds.stream_idle,
            stall=bounds.client_stall,
            until=self._until,
            last_words=b"",
            client_alive=connection.alive,
        )
        worker.streaming += 1
        try:
            return await relay.run()
        finally:
            worker.streaming -= 1
            self.sent.bytes_out += relay.sent

    async def _send(self, place: str, head: ResponseHead, body: bytes) -> None:
        candidate = self._candidate(place)
        self._head_is_known(candidate, head.status)
        self._exchange.record.deployment = None
        framing = b"" if head.status == 204 else b"content-length: %d" % len(body)
        data = self._response_head(candidate, head, framing) + body
        await self._exchange.connection.send(data, self._exchange.view.bounds)
        self.sent.bytes_out += len(data)

    def _candidate(self, place: str) -> Candidate:
        backend = self._exchange.view.backends[place]
        return Candidate(place, "", backend.region, backend.tier, 0, 1)


def _named_by_path(exchange: "Exchange") -> list[Name]:
    return [(kind, one) for kind, one in exchange.target.ids if kind not in UNNAMED]


def _affinity(key: str, place: str) -> bytes:
    """How much a client's things belong to a resource (rendezvous hashing, Thaler and Ravishankar, 1998)."""
    return hashlib.blake2b(f"{key}\0{place}".encode(), digest_size=8).digest()


def _outcome(status: int) -> Outcome:
    return Outcome.OK if status < 400 else classify_status(status, None)


def _refusal(failed: Failed) -> Refused:
    reason = _REFUSALS.get(failed.outcome, Reason.BACKENDS_FAILED)
    wait = failed.wait if reason.terms.retry else None
    return Refused(reason, failed.outcome.reason, retry_after=1.0 if wait is None and reason.terms.retry else wait)


def _used(entry: Entry, answer: dict[str, Any], body: bytes) -> Tokens | None:
    """What a thing that has run used: as it says; of a batch that does not, what was reserved for it."""
    if entry.kind == "fine_tuning_job":
        trained = answer.get("trained_tokens")
        if not isinstance(trained, int) or isinstance(trained, bool) or not 0 < trained < 1 << 40:
            return None
        return Tokens(prompt=trained, total=trained)
    found = usage_of("responses", body)
    if found is not None and found.total:
        return found
    if entry.kind == "batch" and answer.get("status") == "completed":
        return Tokens(prompt=entry.tokens, total=entry.tokens, estimated=True)
    return None
