"""One Azure OpenAI resource: who may ask, what for, how fast, what goes wrong, and what it answers.

Every request is remembered, whatever became of it. A request that cannot be answered is refused in this order: a fault
that was asked for, the address, the credential, the body, the deployment, `stream_options` under an API version older
than 2024-09-01-preview, the deployment's allowance (azure.md, "Addresses" and "Streams").
"""

import json
import random
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from bench.mock import answers
from bench.mock.config import Deployment, Instance
from bench.mock.connection import Connection
from bench.mock.engine import Engine
from bench.mock.exchange import Exchange, Origin
from bench.mock.faults import AT_ONCE, Fault, Faults, Kind
from bench.mock.limits import Allowance
from bench.mock.received import Log
from bench.mock.rendering import ANSWERS, FORMS, Rendering, Renderings
from bench.mock.request import Request
from bench.mock.stored import NotThere, Stored, asked, is_stored, keeps
from bench.mock.stream import Stream

_TARGETS_KEPT = 1024
_DEPLOYMENTS = "/openai/deployments/"
_V1_ONLY = frozenset(("responses",))
_USAGE_SINCE = "2024-09-01"
_NO_FORM = Rendering("", {})


class _Route(NamedTuple):
    """A target, understood. `operation` empty: there is no such address; "stored": `path` is of what is stored."""

    operation: str
    deployment: str = ""
    refuses_stream_options: bool = False
    path: str = ""
    query: str = ""


class Resource:
    """An instance at work. `valid_token` judges a bearer token."""

    def __init__(
        self, engine: Engine, config: Instance, faults: Faults, log: Log, valid_token: Callable[[str], bool]
    ) -> None:
        self.config = config
        self._engine = engine
        self._faults = faults
        self._log = log
        self._valid_token = valid_token
        self._deployments = {one.name: one for one in config.deployments}
        self._allowances = {one.name: Allowance(one.tokens_per_minute, one.capacity) for one in config.deployments}
        self._renderings = Renderings()
        self._stored = Stored(config.name, time.time)
        self._routes: dict[bytes, _Route] = {}
        self._key = None if config.api_key is None else config.api_key.encode()
        self._random = random.Random(config.name)
        self.posted = 0
        """Requests that were asked with POST."""
        self._number = 0
        self._ended_events = 0
        self._streams: set[Stream] = set()
        self._origin = Origin(
            lines=f"x-ms-region: {config.region}\r\nazureml-model-session: mock\r\nset-cookie: instance=1\r\n".encode(),
            ids=b"%08x-0000-4000-8000-" % zlib.crc32(config.name.encode()),
            provisioned=config.tier == "provisioned",
        )

    @property
    def events(self) -> int:
        """Events handed to clients so far."""
        return self._ended_events + sum(stream.sent for stream in self._streams)

    def handle(self, connection: Connection, request: Request) -> None:
        self._number += 1
        self.posted += request.method == b"POST"
        received = self._log.add(self.config.name, request)
        exchange = Exchange(connection, request, received, self._origin, self._number)
        route = self._routes.get(request.target) or self._route(request.target)
        rendering: Rendering | None = _NO_FORM
        if route.operation in ANSWERS:
            try:
                rendering = self._renderings.of(route.operation, request.body)
            except msgspec.MsgspecError:
                rendering = None
        name = route.deployment or (rendering.model if rendering else "") or _form_model(route, request.body)
        exchange.deployment = received.deployment = name
        exchange.fault = fault = self._faults.pick(self.config.name, name)
        if fault is not None and fault.delay and fault.kind is not Kind.SLOW:
            when = self._engine.now + fault.delay
            self._engine.at(when, partial(self._decide, exchange, route, rendering))
        else:
            self._decide(exchange, route, rendering)

    def _decide(self, exchange: Exchange, route: _Route, rendering: Rendering | None) -> None:
        """Refuse, or answer."""
        if exchange.received.ended is not None:
            return
        fault, request = exchange.fault, exchange.request
        deployment = self._deployments.get(exchange.deployment)
        if fault is not None and fault.kind in AT_ONCE:
            self._fail(exchange, fault)
        elif not route.operation or (request.method != b"POST" and route.operation not in ("models", "stored")):
            exchange.error(404, "Resource not found", code="404")
        elif not self._known(request):
            exchange.error(401, "Access denied due to invalid subscription key or wrong API endpoint.")
        elif route.operation == "stored":
            kind = request.headers.get(b"content-type", b"")
            reply = self._stored.answer(asked(request.method, route.path, route.query, request.body, kind))
            exchange.plain(reply.status, reply.body, kind=reply.kind)
        elif route.operation == "models":
            exchange.plain(200, answers.models_answer(tuple(self._deployments)))
        elif rendering is None:
            exchange.error(400, "The request body is not a JSON object.")
        elif deployment is None:
            exchange.error(404, "The API deployment for this resource does not exist.")
        elif rendering.asks_usage and (
            route.refuses_stream_options or (fault is not None and fault.kind is Kind.NO_STREAM_OPTIONS)
        ):
            exchange.error(400, "Unrecognized request argument supplied: stream_options")
        else:
            self._admit(exchange, route, rendering, deployment)

    def _admit(self, exchange: Exchange, route: _Route, rendering: Rendering, deployment: Deployment) -> None:
        allowance = self._allowances[deployment.name]
        wait = allowance.admit(self._engine.now, rendering.tokens)
        if wait is not None:
            self._throttle(exchange, max(1, round(wait)), round(wait * 1000))
            return
        exchange.allowance = allowance
        exchange.framing = deployment.framing
        fault = exchange.fault
        if fault is not None and fault.kind is Kind.SLOW:
            exchange.connection.piece = fault.piece
            exchange.connection.pause = fault.delay
        if route.operation == "responses" and keeps(rendering.body):
            try:
                rendering = self._stored_response(rendering, deployment)
            except NotThere:
                exchange.error(404, "Resource not found.", code="404")
                return
        if rendering.streams:
            self._stream(exchange, rendering, deployment)
            return
        delay = deployment.first_token + (self._random.random() * deployment.jitter if deployment.jitter else 0.0)
        if delay:
            self._engine.at(self._engine.now + delay, partial(self._answer, exchange, route, rendering, deployment))
        else:
            self._answer(exchange, route, rendering, deployment)

    def _stored_response(self, rendering: Rendering, deployment: Deployment) -> Rendering:
        """The same, of a response that is stored, under an id of its own. Raises `NotThere`."""
        tokens = deployment.default_tokens
        whole = json.loads(rendering.plain(deployment.name, tokens))
        found = self._stored.response(rendering.body, whole)
        own = Rendering(rendering.operation, rendering.body)
        own.answered_by(deployment.name, answers.dump(found), (whole["id"].encode(), found["id"].encode()), tokens)
        return own

    def _answer(self, exchange: Exchange, route: _Route, rendering: Rendering, deployment: Deployment) -> None:
        form = FORMS.get(route.operation)
        if form is not None:
            exchange.plain(200, form(exchange.request.body))
            return
        kind = b"audio/mpeg" if route.operation == "audio/speech" else b"application/json"
        exchange.plain(200, rendering.plain(deployment.name, deployment.default_tokens), kind=kind)

    def _stream(self, exchange: Exchange, rendering: Rendering, deployment: Deployment) -> None:
        chunked = exchange.framing != "close"

        def over() -> None:
            self._streams.discard(stream)
            self._ended_events += stream.sent

        exchange.stream = stream = Stream(
            self._engine,
            exchange.connection,
            exchange.stream_head(),
            rendering.events(deployment.name, deployment.default_tokens, chunked=chunked),
            deployment,
            exchange.fault,
            self._random,
            exchange.finish,
            over,
        )
        self._streams.add(stream)
        stream.begin(self._engine.now)

    # What goes wrong.

    def _fail(self, exchange: Exchange, fault: Fault) -> None:
        """Play a fault that takes the answer's place."""
        match fault.kind:
            case Kind.THROTTLE:
                self._throttle(exchange, fault.retry_after, fault.retry_after_ms)
            case Kind.ERROR:
                headers = _retry_headers(fault.retry_after, fault.retry_after_ms)
                exchange.error(fault.status, "A fault was asked for.", code=fault.code, headers=headers)
            case Kind.RESET:
                exchange.connection.reset()
            case Kind.CLOSE:
                exchange.connection.close()
            case _:  # HANG: nothing, until the client leaves
                pass

    def _throttle(self, exchange: Exchange, seconds: float | None, milliseconds: int | None) -> None:
        wait = f"Please retry after {seconds:g} seconds." if seconds is not None else "Please retry later."
        exchange.error(
            429,
            f"Requests to this deployment have exceeded the call rate limit of its pricing tier. {wait}",
            headers=_retry_headers(seconds, milliseconds),
        )

    # Who asks, and what for.

    def _known(self, request: Request) -> bool:
        key = request.headers.get(b"api-key")
        if key is not None and key == self._key:
            return True
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and self._valid_token(token.decode("latin-1"))

    def _route(self, target: bytes) -> _Route:
        route = _understand(target)
        if len(self._routes) >= _TARGETS_KEPT:
            self._routes.clear()
        self._routes[target] = route
        return route


def _understand(target: bytes) -> _Route:
    """Which operation a target names: in a deployment (`api-version` demanded), resource-wide and dated, or v1."""
    try:
        url = urlsplit(target.decode("latin-1"))
    except ValueError:
        return _Route("")
    version = parse_qs(url.query).get("api-version", [""])[-1]
    old = version[:1].isdigit() and version[: len(_USAGE_SINCE)] < _USAGE_SINCE
    path = unquote(url.path)
    known = ANSWERS.keys() | FORMS.keys()
    if path.startswith(_DEPLOYMENTS):
        name, _, operation = path.removeprefix(_DEPLOYMENTS).partition("/")
        found = version and name and operation in known - _V1_ONLY
        return _Route(operation, name, bool(old)) if found else _Route("")
    if path.startswith("/openai/v1/"):
        operation = path.removeprefix("/openai/v1/")
        if is_stored(operation):
            return _Route("stored", path=operation, query=url.query)
        return _Route(operation) if operation in known | {"models"} else _Route("")
    operation = path.removeprefix("/openai/") if path.startswith("/openai/") and version else ""
    if is_stored(operation):
        return _Route("stored", path=operation, query=url.query)
    return _Route(operation) if operation in ("models", "responses") else _Route("")


def _retry_headers(seconds: float | None, milliseconds: int | None) -> list[str]:
    headers = [] if seconds is None else [f"retry-after: {seconds:g}"]
    return headers if milliseconds is None else [*headers, f"retry-after-ms: {milliseconds}"]


def _form_model(route: _Route, body: bytes) -> str:
    """The `model` field of a form (RFC 7578), where the address names no deployment."""
    if route.operation not in FORMS:
        return ""
    _, found, rest = body.partition(b'name="model"\r\n\r\n')
    return rest.partition(b"\r\n")[0].decode("utf-8", "replace") if found else ""
