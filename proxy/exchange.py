"""One request's way through the stages, in their order:

    parse → authenticate → authorize → admit → route → relay + meter → settle → record

Each stage decides by a pure module; what is awaited here is the client, the owner of a budget (rarely), and, in
`proxy.forwarding`, a backend. The task that runs this owns everything the request has. However it ends, what it holds
is released and one record is written: that is `_close`.
"""

import logging
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy import answer
from proxy.config.structs import Client
from proxy.forwarding import Forwarding, Sent
from proxy.identity.authenticate import Presented, split_bearer
from proxy.identity.certificate import CertificateFacts
from proxy.identity.fronting import Fronting
from proxy.identity.known import Undecided
from proxy.identity.principal import Principal
from proxy.messages import Uncounted
from proxy.policy.grants import Permissions
from proxy.policy.lease import Admission
from proxy.policy.multipart import Form
from proxy.policy.operations import Target
from proxy.policy.request import Request, forwarded, limit_completion, read_json, requested_model
from proxy.record.record import CredentialUsed, End, Record, Tokens, timestamp
from proxy.refusal import OF_STORED_STATE, Reason, Refused
from proxy.stored_exchange.serve import serve_kept, serve_stored
from proxy.wire.http1 import RequestHead, response_head
from proxy.wire.server import ClientConnection, ClientGone, RequestBody

if TYPE_CHECKING:
    from proxy.worker import Worker

_OFF_LOOP = 1 << 20
"""JSON from this size on is decoded in a thread: it would hold up everyone else."""
_PROMPT_KEPT = 64 << 10

_log = logging.getLogger("penstock.exchange")
_encode = msgspec.json.Encoder().encode
_ENDS = {Reason.OVERLOADED: End.SHED, Reason.DRAINING: End.DRAINED, Reason.BACKEND_TIMEOUT: End.TIMEOUT}
_ENDS[Reason.DEADLINE] = End.TIMEOUT
_ENDS |= dict.fromkeys((Reason.BACKENDS_FAILED, Reason.BACKENDS_MISCONFIGURED), End.BACKEND_FAILED)


class Exchange:
    """One request and its answer. `head` is None where not even that could be read."""

    __slots__ = (
        "_admission", "_buffered", "_form", "_slot", "_streamed", "began", "body", "charged", "client", "connection",
        "estimate", "forwarding", "head", "keep_alive", "model", "note", "principal", "record", "request", "served",
        "stream_body", "target", "view", "worker",
    )  # fmt: skip

    def __init__(self, worker: "Worker", connection: ClientConnection, head: RequestHead | None) -> None:
        self.worker = worker
        self.view = worker.view
        self.connection = connection
        self.head = head
        self.record = Record(time=timestamp(time.time()), request_id=worker.next_id(), source=connection.source)
        self.keep_alive = head is not None and head.keep_alive
        self.body = b""
        self.stream_body = False
        self.estimate = 0
        self.charged: int | None = None  # tokens to settle with, where the record does not tell
        self.model = ""  # by which it is granted, limited and recorded
        self.served = ""  # whose deployments answer
        self.note: str | None = None
        self.client: Client
        self.principal: Principal
        self.target: Target
        self.request: Request | None = None
        self._form: Form | None = None
        self._streamed: RequestBody | None = None
        self.began = time.monotonic()
        self._buffered = 0
        self._admission: Admission | None = None
        self._slot = -1
        self.forwarding: Forwarding | None = None
        worker.in_flight += 1

    async def run(self) -> bool:
        """Serve the request; true if its connection can carry another."""
        try:
            try:
                await self._stages()
            except Refused as refused:
                await self._answer_refusal(refused)
        except ClientGone:
            self.end(End.CLIENT_GONE, "client_gone")
        except Exception:
            _log.exception("request %s failed", self.record.request_id)
            self.end(End.BACKEND_FAILED, Reason.INTERNAL.value)
            await self._last_resort()
        except BaseException:  # `Cancelled`, which is in a group where several tasks were at work
            withdrawn = self.connection.withdrawn
            if withdrawn is None:
                self.end(End.DRAINED, "drained")
            else:
                self.end(End.REFUSED, withdrawn.value)
            raise
        finally:
            self._close()
        return self.keep_alive

    async def refuse(self, refused: Refused) -> None:
        """Answer a request of which no head could be read, and record it."""
        try:
            await self._answer_refusal(refused)
        except ClientGone:
            pass
        finally:
            self._close()

    async def _stages(self) -> None:
        worker, head, view = self.worker, self.head, self.view
        assert head is not None
        if worker.in_flight > view.bounds.requests:
            raise Refused(Reason.OVERLOADED, "bounds.requests", retry_after=1.0)
        if view.audit_required and not worker.can_record():
            raise Refused(Reason.AUDIT_UNAVAILABLE, "audit.required", retry_after=1.0)
        self.target = target = self._parse(head)
        try:
            self.principal = principal = self._authenticate(head)
        except Undecided as undecided:
            self.principal = principal = await self._authenticate_later(head, undecided)
        self.client = view.clients[principal.client]
        self.connection.serving = principal.client
        if target.operation.state is not None:
            await serve_stored(self)
            return
        if target.operation.body == "none":
            await self.admit()
            await self._list_models()
            return
        self.judge_body(head)
        permissions = view.permissions[principal.client]
        if target.model is not None:
            named = view.aliases.get(target.model, target.model)
            self.record.model = named[:256]
            permissions.admit(target.operation, named, principal)
        await self.read_body(head, permissions.closely or view.closely)
        if self.request is not None and self.request.state is not None:
            await serve_kept(self, self.request.state)
            return
        requested = self.requested()
        self.authorize(permissions, view.aliases.get(requested, requested))
        await self.admit()
        self.forwarding = forwarding = Forwarding(self)
        await forwarding.run()

    # Parse.

    def _parse(self, head: RequestHead) -> Target:
        method = b"GET" if head.method == b"HEAD" else head.method
        target = self.worker.view.targets.parse(method, head.target)
        self.record.operation = target.operation.name
        return target

    # Authenticate.

    def _authenticate(self, head: RequestHead) -> Principal:
        presented = Presented(certificate=self.connection.certificate)
        if self.view.fronting is not None and presented.certificate is not None:
            presented.certificate = self._fronted(self.view.fronting, head, presented.certificate)
        once = head.once
        keys = [once[name].rstrip(b" \t") for name in (b"api-key", b"ocp-apim-subscription-key") if name in once]
        bearer = once.get(b"authorization")
        if bearer is not None:
            key, token = split_bearer(bearer)
            if key is not None:
                keys.append(key)
            if token is not None:
                presented.tokens = (token,)
        presented.keys = tuple(keys)
        used = self.record.credential
        used.kind = (
            "token" if presented.tokens else "key" if keys else "certificate" if presented.certificate else "none"
        )
        try:
            if presented.certificate is not None:
                self._vet(presented.certificate)
            principal = self.view.directory.authenticate(presented, self.worker.known, time.time())
        except (Refused, Undecided):
            used.fingerprint = used.fingerprint or presented.fingerprint
            raise
        record = self.record
        record.client = principal.client
        record.tenant = principal.tenant
        record.user = self.view.shown_user(principal.user)
        record.credential = CredentialUsed(principal.kind, principal.fingerprint)
        return principal

    async def _authenticate_later(self, head: RequestHead, undecided: Undecided) -> Principal:
        """Once more, when the supervisor has settled what the decision rests on; each question is asked once."""
        settled: set[str] = set()
        while undecided.question.about not in settled:
            await self.worker.questions.settle(undecided.question)
            settled.add(undecided.question.about)
            try:
                return self._authenticate(head)
            except Undecided as still:
                undecided = still
        raise Refused(undecided.otherwise, undecided.rule)

    def _fronted(self, fronting: Fronting, head: RequestHead, own: CertificateFacts) -> CertificateFacts:
        """The certificate that a trusted proxy hands on; `own`, where it hands on none or is not trusted."""
        if not fronting.trusts(self.connection.source):
            return own
        self._vet(own)
        self.record.credential.kind = "certificate"
        return fronting.certificate(head.headers, time.time()) or own

    def _vet(self, facts: CertificateFacts) -> None:
        """A certificate that counts no more is refused, whatever else is presented. Raises as `Trust.vet` does."""
        try:
            self.record.rule = self.note = self.view.trust.vet(facts, self.worker.known.certificates, time.time())
        except (Refused, Undecided):
            used = self.record.credential
            used.kind, used.fingerprint = "certificate", facts.thumbprint
            raise

    # Authorize.

    def requested(self) -> str:
        if self._form is not None and self.target.model is None:
            if not self._form.model:
                raise Refused(Reason.MODEL_MISSING, "model")
            return self._form.model
        return requested_model(self.target, self.request)

    def authorize(self, permissions: Permissions, model: str) -> None:
        self.record.model = model[:256]
        rule = permissions.authorize(self.target.operation, model, self.principal, self.request)
        self.record.rule = rule.name if self.note is None else f"{rule.name}; {self.note}"
        self.model = model
        self.served = self.client.routes.get(model, model)
        if rule.max_tokens is not None and self.request is not None:
            limit_completion(self.request, self.target, rule.max_tokens)

    # The body.

    def judge_body(self, head: RequestHead) -> None:
        """What the head says of the body, before any of it is read (RFC 9110 section 10.1.1)."""
        bounds = self.view.bounds
        kind = self.target.operation.body
        if head.once.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(Reason.ENCODED_BODY, "content-encoding")
        if not head.chunked and b"content-length" not in head.once:
            raise Refused(Reason.LENGTH_REQUIRED, "no framing")
        wanted = b"application/json" if kind == "json" else b"multipart/form-data"
        if head.media_type != wanted:
            raise Refused(
                Reason.UNSUPPORTED_MEDIA_TYPE, "content-type", message=f"The content type must be {wanted.decode()}."
            )
        whole = kind == "json" or self.target.model is None
        if head.length > (bounds.json_body if whole else bounds.body):
            raise Refused(Reason.BODY_TOO_LARGE, "content-length")
        self.stream_body = not whole and (head.length > bounds.json_body or head.chunked)
        if not self.stream_body:
            self._buffer(head.length)

    def _buffer(self, size: int) -> None:
        """Take `size` bytes of what all bodies of this worker may hold together."""
        if self.worker.buffered + size > self.view.bounds.buffered_bodies:
            raise Refused(Reason.OVERLOADED, "bounds.buffered_bodies", retry_after=1.0)
        self.worker.buffered += size
        self._buffered += size

    async def read_body(self, head: RequestHead, closely: bool) -> None:
        connection, bounds = self.connection, self.view.bounds
        if head.expects_continue:
            await connection.continue_(bounds)
        if self.stream_body:
            return
        body = None if head.chunked else connection.take_body(head.length)
        if body is None:
            body = await self._collect(head)
        self.body = body
        self.record.bytes_in = len(body)
        operation = self.target.operation
        if operation.state is not None:
            return
        if operation.body == "multipart":
            if self.target.model is None:
                self._form = Form(body, head.once[b"content-type"])
            return
        if len(body) < _OFF_LOOP:
            self.request = read_json(operation, body, closely)
        else:
            self.request = await trio.to_thread.run_sync(read_json, operation, body, closely)
        self.record.stream = self.request.stream

    async def _collect(self, head: RequestHead) -> bytes:
        parts = []
        size = 0
        coming = RequestBody(head)
        while part := await self.connection.next_part(coming, self.view.bounds):
            size += len(part)
            if head.chunked:
                if size > self.view.bounds.json_body:
                    raise Refused(Reason.BODY_TOO_LARGE, "chunked body")
                self._buffer(len(part))
            parts.append(part)
        return b"".join(parts)

    async def next_part(self) -> bytes:
        """The next part of a body that streams, counted; empty at its end. Raises `Refused`, `ClientGone`."""
        if self._streamed is None:
            assert self.head is not None
            self._streamed = RequestBody(self.head)
        part = await self.connection.next_part(self._streamed, self.view.bounds)
        self.record.bytes_in += len(part)
        return part

    def let_go(self) -> None:
        """The answer has begun: what only an attempt needs is not kept for as long as the stream lasts."""
        assert self.head is not None
        self.head.headers, self.head.once = [], {}
        self.request = self._form = None

    def body_for(self, deployment: str, *, ask_usage: bool) -> bytes:
        """The body as a backend's `deployment` gets it."""
        if self.request is not None:
            return forwarded(self.request, deployment, ask_usage=ask_usage)
        return self._form.forwarded(deployment) if self._form is not None else self.body

    # Admit.

    async def admit(self) -> None:
        worker = self.worker
        limit = self.request.completion_limit if self.request else None
        if self.served:
            self.estimate = worker.estimator.estimate(self.served, self.client.name, len(self.body), limit)
        self._admission = await worker.admit(self.client.name, self.estimate)
        record = self.record
        record.decision = "allowed"
        record.end = End.WORKER_LOST
        if self.estimate:
            record.tokens = Tokens(prompt=self.estimate, total=self.estimate, estimated=True)
        self._slot = worker.journal.admit(_encode(record))
        record.tokens = None

    # Answers of the gateway's own.

    async def _list_models(self) -> None:
        assert self.head is not None
        body = answer.listing(self.target, self.view.permissions[self.client.name].models(self.principal))
        head = response_head(200, [*self.head_lines(), (b"content-length", b"%d" % len(body))])
        await self.connection.send(head if self.head.method == b"HEAD" else head + body, self.view.bounds)
        self.record.status = 200
        self.end(End.COMPLETE)

    def head_lines(self) -> list[tuple[bytes, bytes]]:
        lines = [(b"content-type", b"application/json"), (b"x-request-id", self.record.request_id.encode("ascii"))]
        if not self.keep_alive or self.worker.draining:
            self.keep_alive = False
            lines.append((b"connection", b"close"))
        return lines

    async def _answer_refusal(self, refused: Refused) -> None:
        record = self.record
        record.reason = refused.reason.value
        record.rule = refused.rule or record.rule
        record.status = refused.reason.terms.status
        ours = self._slot < 0 or refused.reason in OF_STORED_STATE
        if ours:
            record.decision = "refused"
        self.end(_ENDS.get(refused.reason, End.REFUSED if ours else End.BACKEND_FAILED), record.reason)
        if record.status == 401:
            await self.worker.slow_down(self.connection.source)
        if self.connection.gone:
            raise ClientGone
        self.keep_alive = self.keep_alive and not self.worker.draining and self._body_is_behind()
        head, body = answer.refusal(refused, record.request_id, close=not self.keep_alive)
        await self.connection.send(
            head if self.head is not None and self.head.method == b"HEAD" else head + body, self.view.bounds
        )
        record.bytes_out = len(head) + len(body)
        if not self.keep_alive:
            await self.connection.linger()

    def _body_is_behind(self) -> bool:
        """Whether the next bytes on the connection are the next request's."""
        head = self.head
        if head is None or self._streamed is not None:  # it was begun, and `discard_body` looks for the whole
            return False
        if self.body or (not head.length and not head.chunked):
            return True
        return not head.expects_continue and self.connection.discard_body(head)

    async def _last_resort(self) -> None:
        """The gateway failed. Say so if nothing was said yet; the connection ends in either case."""
        self.keep_alive = False
        if self.forwarding is not None and self.forwarding.answered:
            return
        self.record.status = 500
        head, body = answer.refusal(Refused(Reason.INTERNAL), self.record.request_id, close=True)
        try:
            await self.connection.send(head + body, self.view.bounds)
        except ClientGone:
            return

    # Settle and record.

    def end(self, end: End, reason: str | None = None) -> None:
        self.record.end = end
        self.record.reason = reason

    def _close(self) -> None:
        """Release what the request holds, settle what it used, and write its record."""
        worker, record = self.worker, self.record
        worker.in_flight -= 1
        worker.buffered -= self._buffered
        record.duration_ms = round((time.monotonic() - self.began) * 1000, 3)
        sent = self.forwarding.sent if self.forwarding is not None else None
        if sent is not None:
            record.bytes_out = sent.bytes_out
        uncounted = self._settle(sent)
        line = _encode(record)
        while len(line) > worker.journal.room and record.candidates:
            record.candidates = record.candidates[: len(record.candidates) // 2]
            line = _encode(record)
        if self._slot >= 0:
            worker.journal.finish(self._slot, line)
        if uncounted is None:
            worker.tally.count(record)
            worker.record(self._slot, line)
        else:
            worker.tally.count_request(record)
            worker.uncounted(msgspec.structs.replace(uncounted, line=line))
        self.forwarding = None  # it refers back here, and no cycle should wait for the collector

    def _settle(self, sent: Sent | None) -> Uncounted | None:
        """Replace the reservation by what was used; the message for the tokenizer where only it can tell."""
        record, worker = self.record, self.worker
        uncounted = None
        if sent is not None and sent.accepted and sent.meter is not None:
            if sent.meter.usage is not None:
                record.tokens = sent.meter.usage
                worker.estimator.learn(self.served, self.client.name, len(self.body), record.tokens)
            else:
                prompt = worker.estimator.estimate(self.served, self.client.name, len(self.body), 0)
                completion = sent.meter.seen // 4
                record.tokens = Tokens(prompt=prompt, completion=completion, total=prompt + completion, estimated=True)
                uncounted = self._for_tokenizer(sent)
        if self._admission is not None:
            now = time.monotonic()
            used = record.tokens.total if record.tokens else 0
            if self.charged is not None:
                worker.leases.settle(self._admission, self.charged, now)
            elif record.tokens is None and (sent is None or not sent.reached_backend):
                worker.leases.cancel(self._admission, now)
            else:
                worker.leases.settle(self._admission, used, now)
        return uncounted

    def _for_tokenizer(self, sent: Sent) -> Uncounted:
        assert sent.meter is not None
        return Uncounted(
            slot=self._slot,
            line=b"",
            operation=self.target.operation.name,
            tokenizer=self.view.models[self.served].tokenizer or "o200k_base",
            prompt=self.body if len(self.body) <= _PROMPT_KEPT else b"",
            completion=bytes(sent.meter.text),
            kept=len(sent.meter.text),
            seen=sent.meter.seen,
        )
