"""One Azure OpenAI resource: who may ask, what for, how fast, what goes wrong, and the answer.

Every request is remembered, whatever became of it. Answers are rendered once for a request body and kept: the cost of a
repeated request is a look-up.
"""

import json
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.mock import answers
from bench.mock.config import Deployment, Instance
from bench.mock.engine import Connection, Engine, Request
from bench.mock.faults import Fault, Faults, Kind

_CACHED = 512
_STREAMS: dict[str, Callable[[answers.Body, str], list[bytes]]] = {
    "chat/completions": answers.chat_stream,
    "completions": answers.completions_stream,
    "responses": answers.responses_stream,
}
_ANSWERS: dict[str, Callable[[answers.Body, str], bytes]] = {
    "chat/completions": answers.chat_answer,
    "completions": answers.completions_answer,
    "embeddings": answers.embeddings_answer,
    "responses": answers.responses_answer,
    "images/generations": lambda body, _: answers.images_answer(body),
}
_MULTIPART = frozenset(("audio/transcriptions", "audio/translations", "images/edits"))


class Received:
    """One request. `gone_after`: seconds after which the client left, if that was before its answer ended."""

    __slots__ = ("at", "body", "deployment", "gone_after", "headers", "instance", "method", "target")

    def __init__(self, instance: str, request: Request) -> None:
        self.at = time.time()
        self.instance = instance
        self.deployment = ""
        self.method = request.method
        self.target = request.target
        self.headers = request.raw_headers
        self.body = request.body
        self.gone_after: float | None = None

    def shown(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in self.__slots__}
        shown["body"] = self.body[: 1 << 20].decode("utf-8", "replace")
        return shown


class Resource:
    """An instance at work. `valid_token` judges a bearer token."""

    def __init__(
        self,
        engine: Engine,
        config: Instance,
        faults: Faults,
        received: deque[Received],
        valid_token: Callable[[str], bool],
    ) -> None:
        self.config = config
        self.events = 0
        self._engine = engine
        self._faults = faults
        self._received = received
        self._valid_token = valid_token
        self._deployments = {deployment.name: deployment for deployment in config.deployments}
        self._cache: dict[tuple[str, str, bytes], tuple[list[bytes], bytes]] = {}
        self._busy: dict[str, int] = {}
        self._spent: dict[str, deque[tuple[float, int]]] = {}
        self._random = random.Random(config.name)
        self._request_number = 0

    def handle(self, connection: Connection, request: Request) -> None:
        received = Received(self.config.name, request)
        self._received.append(received)
        connection.piece = 0
        connection.close_after = request.headers.get("connection", "").lower() == "close"
        began = time.monotonic()

        def gone() -> None:
            received.gone_after = time.monotonic() - began

        connection.on_gone = gone
        refusal = self._refuse(request)
        if refusal is not None:
            self._error(connection, request, *refusal)
            return
        url = urlsplit(request.target)
        path = unquote(url.path)
        if path.startswith("/openai/deployments/"):
            if "api-version" not in parse_qs(url.query):
                self._error(connection, request, 404, "404", "Resource not found")
                return
            name, _, operation = path.removeprefix("/openai/deployments/").partition("/")
        elif path in ("/openai/v1/models", "/openai/models"):
            models = [{"id": name, "object": "model"} for name in self._deployments]
            self._plain(connection, request, 200, answers.dump({"data": models, "object": "list"}))
            return
        else:
            name, operation = "", path.removeprefix("/openai/v1/").removeprefix("/openai/")
        self._operate(connection, request, received, name, operation)

    def _refuse(self, request: Request) -> tuple[int, str, str] | None:
        key = request.headers.get("api-key")
        if key is not None and key == self.config.api_key:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._valid_token(token):
            return None
        return 401, "401", "Access denied due to invalid subscription key or wrong API endpoint."

    def _operate(self, connection: Connection, request: Request, received: Received, name: str, operation: str) -> None:
        body: answers.Body = {}
        if operation not in _MULTIPART:
            try:
                body = json.loads(request.body)
            except ValueError:
                self._error(connection, request, 400, "BadRequest", "The body is not JSON.")
                return
            name = name or str(body.get("model", ""))
        elif not name:
            name = _form_model(request.body)
        received.deployment = name
        deployment = self._deployments.get(name)
        if deployment is None:
            self._error(
                connection, request, 404, "DeploymentNotFound", "The API deployment for this resource does not exist."
            )
            return
        fault = self._faults.pick(self.config.name, name)
        if fault is not None and self._fail(connection, request, fault, body):
            return
        over = self._over(deployment, body)
        if over is not None:
            self._throttled(connection, request, over)
            return
        self._answer(connection, request, deployment, operation, body, fault)

    # What goes wrong.

    def _fail(self, connection: Connection, request: Request, fault: Fault, body: answers.Body) -> bool:
        """Play a fault that comes before any answer; false for those that come in the middle of one."""
        match fault.kind:
            case Kind.THROTTLE:
                self._throttled(connection, request, None, fault)
            case Kind.ERROR:
                self._error(connection, request, fault.status, fault.code, "A fault was asked for.")
            case Kind.RESET:
                connection.reset()
            case Kind.HANG:
                pass
            case Kind.NO_STREAM_OPTIONS if "stream_options" in body:
                self._error(
                    connection, request, 400, "BadRequest", "Unrecognized request argument supplied: stream_options"
                )
            case _:
                return False
        return True

    def _over(self, deployment: Deployment, body: answers.Body) -> float | None:
        """Seconds until there is room, where there is none now."""
        if deployment.capacity and self._busy.get(deployment.name, 0) >= deployment.capacity:
            return 0.05
        if not deployment.tokens_per_minute:
            return None
        now = time.monotonic()
        spent = self._spent.setdefault(deployment.name, deque())
        while spent and spent[0][0] <= now - 60:
            spent.popleft()
        wanted = answers.prompt_tokens(body) + answers.completion_tokens(body)
        if sum(tokens for _, tokens in spent) + wanted > deployment.tokens_per_minute:
            return spent[0][0] + 60 - now if spent else 60.0
        spent.append((now, wanted))
        return None

    def _throttled(
        self, connection: Connection, request: Request, wait: float | None, fault: Fault | None = None
    ) -> None:
        headers = []
        if fault is not None:
            if fault.retry_after is not None:
                headers.append(f"retry-after: {fault.retry_after:g}")
            if fault.retry_after_ms is not None:
                headers.append(f"retry-after-ms: {fault.retry_after_ms}")
        elif wait is not None:
            headers += [f"retry-after-ms: {wait * 1000:.0f}", f"retry-after: {max(1, round(wait))}"]
        message = "Requests to this deployment have exceeded the token rate limit. Please retry later."
        self._plain(connection, request, 429, answers.error("429", message), headers)

    def _error(self, connection: Connection, request: Request, status: int, code: str, message: str) -> None:
        self._plain(connection, request, status, answers.error(code, message))

    # Answers.

    def _answer(
        self,
        connection: Connection,
        request: Request,
        deployment: Deployment,
        operation: str,
        body: answers.Body,
        fault: Fault | None,
    ) -> None:
        if fault is not None and fault.kind is Kind.SLOW:
            connection.piece = fault.piece
        delay = deployment.first_token + self._random.random() * deployment.jitter
        if operation in _MULTIPART:
            send = partial(self._plain, connection, request, 200, answers.transcription_answer(len(request.body)))
        elif operation == "audio/speech":
            send = partial(self._plain, connection, request, 200, answers.speech_answer(body), (), "audio/mpeg")
        elif body.get("stream") is True and operation in _STREAMS:
            self._stream(connection, request, deployment, operation, body, fault)
            return
        elif operation in _ANSWERS:
            answer = self._rendered(request.body, deployment, operation, body)[1]
            send = partial(self._plain, connection, request, 200, answer, (), "application/json", deployment.framing)
        else:
            send = partial(self._error, connection, request, 404, "404", "Resource not found")
        if delay:
            self._engine.at(time.monotonic() + delay, send)
        else:
            send()

    def _rendered(
        self, raw: bytes, deployment: Deployment, operation: str, body: answers.Body
    ) -> tuple[list[bytes], bytes]:
        key = deployment.name, operation, raw
        found = self._cache.get(key)
        if found is None:
            if body.get("stream") is True:
                events = _STREAMS[operation](body, deployment.name)
                found = [b"%x\r\n%b\r\n" % (len(event), event) for event in events], b""
            else:
                found = [], _ANSWERS[operation](body, deployment.name)
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[key] = found
        return found

    def _head(self, request: Request, status: int, lines: list[str]) -> bytes:
        self._request_number += 1
        common = [
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}",
            f"apim-request-id: {self.config.name}-{self._request_number}",
            f"x-request-id: {self.config.name}-{self._request_number}",
            f"x-ms-region: {self.config.region}",
            "x-ratelimit-remaining-requests: 999",
            "x-ratelimit-remaining-tokens: 99999",
            "set-cookie: instance=1",
        ]
        echo = request.headers.get("x-ms-client-request-id")
        if echo is not None:
            common.append(f"x-ms-client-request-id: {echo}")
        if self.config.tier == "provisioned":
            common.append("azure-openai-deployment-utilization: 42.5%")
        return ("\r\n".join([*common, *lines]) + "\r\n\r\n").encode("latin-1")

    def _plain(
        self,
        connection: Connection,
        request: Request,
        status: int,
        body: bytes,
        headers: list[str] | tuple[()] = (),
        kind: str = "application/json",
        framing: str = "usual",
    ) -> None:
        lines = [f"content-type: {kind}", *headers]
        if framing == "chunked":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            lines.append("transfer-encoding: chunked")
        elif framing == "close":
            connection.close_after = True
            lines.append("connection: close")
        else:
            lines.append(f"content-length: {len(body)}")
        connection.send(self._head(request, status, lines) + body)
        connection.finish()

    def _stream(
        self,
        connection: Connection,
        request: Request,
        deployment: Deployment,
        operation: str,
        body: answers.Body,
        fault: Fault | None,
    ) -> None:
        chunks = self._rendered(request.body, deployment, operation, body)[0]
        lines = ["content-type: text/event-stream; charset=utf-8", f"x-ms-deployment-name: {deployment.name}"]
        if deployment.framing == "close":
            chunks = [chunk.split(b"\r\n", 1)[1][:-2] for chunk in chunks]
            connection.close_after = True
            lines.append("connection: close")
        else:
            lines.append("transfer-encoding: chunked")
        _Stream(self, self._engine, connection, self._head(request, 200, lines), chunks, deployment, fault).begin()

    def busy(self, deployment: str, change: int) -> None:
        self._busy[deployment] = self._busy.get(deployment, 0) + change

    def jitter(self, deployment: Deployment) -> float:
        return self._random.random() * deployment.jitter if deployment.jitter else 0.0


class _Stream:
    """One answer, an event at a time, by its own schedule; a client that does not read delays only itself."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_deployment",
        "_due",
        "_engine",
        "_fault",
        "_gone",
        "_head",
        "_next",
        "_owner",
    )

    def __init__(
        self,
        owner: Resource,
        engine: Engine,
        connection: Connection,
        head: bytes,
        chunks: list[bytes],
        deployment: Deployment,
        fault: Fault | None,
    ) -> None:
        self._owner = owner
        self._engine = engine
        self._connection = connection
        self._head = head
        self._chunks = chunks
        self._deployment = deployment
        self._fault = fault
        self._next = 0
        self._due = time.monotonic()
        self._gone = connection.on_gone

    def begin(self) -> None:
        self._owner.busy(self._deployment.name, 1)
        self._connection.on_gone = self._left
        self._due += self._deployment.first_token + self._owner.jitter(self._deployment)
        self._engine.at(self._due, self._fire)

    def _left(self) -> None:
        self._owner.busy(self._deployment.name, -1)
        if self._gone is not None:
            self._gone()

    def _fire(self) -> None:
        connection = self._connection
        if connection.fd < 0:
            return
        if connection.blocked and not connection.piece:
            connection.on_room = self._resume
            return
        data = self._chunks[self._next]
        if self._next == 0:
            data = self._head + data
        if self._fault is not None and self._next == self._fault.after and self._broken(data):
            return
        self._next += 1
        self._owner.events += 1
        if self._next < len(self._chunks):
            connection.send(data)
            self._due += self._deployment.between_tokens + self._owner.jitter(self._deployment)
            self._engine.at(self._due, self._fire)
            return
        connection.send(data if self._deployment.framing == "close" else data + b"0\r\n\r\n")
        if connection.fd >= 0:
            self._owner.busy(self._deployment.name, -1)
            connection.finish()

    def _resume(self) -> None:
        self._connection.on_room = None
        self._due = max(self._due, time.monotonic())
        self._fire()

    def _broken(self, data: bytes) -> bool:
        """Play a fault in the middle of the stream; true if it ends here."""
        assert self._fault is not None
        match self._fault.kind:
            case Kind.RESET_STREAM:
                self._connection.reset()
            case Kind.CLOSE_STREAM:
                self._connection.close()
            case Kind.END_STREAM:
                self._connection.goodbye()
            case Kind.HANG_STREAM:
                pass
            case Kind.MALFORMED:
                self._connection.send(b"zz\r\nneither a chunk nor an event\0\r\n")
            case _:
                return False
        return True


def _form_model(body: bytes) -> str:
    """The `model` field of a form."""
    _, found, rest = body.partition(b'name="model"\r\n\r\n')
    return rest.partition(b"\r\n")[0].decode("utf-8", "replace") if found else ""
