"""A worker: one trio program a core, which decides and serves requests from memory.

It is told everything by the supervisor (snapshots, upstream credentials, shares of budgets) and tells it everything
(records, counts, breakers). Without a supervisor it closes its listener, finishes what streams, and leaves its
records in the journal. See `proxy.exchange` for what happens to a request.
"""

import contextlib
import gc
import logging
import os
import random
import secrets
import socket
import time

import trio

from proxy.channel import Channel, ChannelBroken
from proxy.config.structs import Bounds
from proxy.exchange import Exchange
from proxy.identity.key import KeyedHash
from proxy.identity.known import Known, Settled
from proxy.messages import (
    BreakerChanged,
    BreakerTold,
    CertificateSeen,
    ClientKeys,
    ClientKeysChanged,
    CredentialRejected,
    DeploymentsSeen,
    DeploymentsTold,
    Downward,
    Drain,
    KeysUsed,
    MayRecord,
    Ready,
    Records,
    SigningKeys,
    Snapshot,
    StoredDropped,
    StoredTold,
    Uncounted,
    UpstreamCredential,
    UpstreamCredentials,
    Verdicts,
    Written,
    decode_downward,
)
from proxy.metering.estimate import Estimator
from proxy.ownership import Ownership
from proxy.policy.budget import Granted, Recall
from proxy.policy.lease import Admission, Leases
from proxy.policy.slowdown import Slowdown
from proxy.pools import Pools
from proxy.questions import Questions
from proxy.record.handshakes import Handshakes
from proxy.record.journal import Journal
from proxy.record.tally import Tally
from proxy.refusal import Reason, Refused
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Change
from proxy.routing.hedge_budget import HedgeBudget
from proxy.routing.queue import BATCH
from proxy.routing.retry_budget import RetryBudget
from proxy.routing.select import Router
from proxy.routing.usage_hint import UsageHints
from proxy.trace import request_ids
from proxy.view import View
from proxy.waiting import WaitingRoom
from proxy.wire import warm
from proxy.wire.clock import sweep
from proxy.wire.http1 import RequestHead
from proxy.wire.listener import HandshakeRefused, Listener
from proxy.wire.pool import PRUNE_EVERY, Pool
from proxy.wire.pump import Pump
from proxy.wire.server import ClientConnection

_OWNER_WAIT = 3.0  # on a machine whose cores are all taken, as when hundreds shake hands at once, it needs some of it
_ASK_AGAIN = 0.05
_REJECTED_AGAIN = 1.0
_SEEN = 10_000
_SEEN_AGAIN = 3_600.0
_SLOWED = 100
_REPORT_EVERY = 0.025
_TALLY_EVERY = 1.0
_KEYS_USED_EVERY = 3.0
_LEASES_EVERY = 0.1
_ORPHAN_DRAIN = 60.0

_log = logging.getLogger("penstock.worker")


class Worker:
    """What the requests of one process share."""

    def __init__(
        self, index: int, channel: Channel, sockets: list[socket.socket], journal: Journal, pump: Pump
    ) -> None:
        self.index = index
        self.pump = pump
        self.journal = journal
        self.view: View
        self.leases: Leases
        self.router: Router
        self.retries: RetryBudget
        self.room: WaitingRoom
        self.pools: dict[str, Pool] = {}
        self._pools = Pools(pump)
        self.credentials: dict[str, UpstreamCredential] = {}
        self.known = Known()
        self.estimator = Estimator()
        self.hints = UsageHints()
        self.hedges = HedgeBudget()
        self.stored = Ownership(channel.post)
        self.tally = Tally()
        self._handshakes = Handshakes()
        self.next_id = request_ids(secrets.token_hex(6))
        self.in_flight = 0
        self.streaming = 0
        self.buffered = 0
        self.draining = False
        self._channel = channel
        self._sockets = sockets
        self._listener: Listener | None = None
        self._told_first = DeploymentsTold(())  # before there was a router to tell
        self._told_of_breakers: list[BreakerTold] = []  # likewise
        self._slots: list[int] = []
        self._lines: list[bytes] = []
        self._granted: dict[str, trio.Event] = {}
        self.questions = Questions(channel.post)
        self._slowdown = Slowdown()
        self._slowed = 0
        self._recorded = 0  # records that the supervisor has been sent
        self._may_record = 0
        self._rejected: dict[str, float] = {}  # backend → when its refusal is told of again, monotonic
        self._seen: dict[str, float] = {}  # thumbprint → when it is told of again, monotonic
        self._serving = trio.CancelScope()
        self._connections: trio.Nursery

    # Life.

    async def run(self) -> None:
        """Serve until told to leave, or until the supervisor is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._report)
            nursery.start_soon(self._tell_tallies)
            nursery.start_soon(self._tell_keys_used)
            nursery.start_soon(self._return_leases)
            nursery.start_soon(self._prune)
            nursery.start_soon(warm.keep, lambda: self.pools.values(), self._shunned)
            nursery.start_soon(sweep, self.pump, 0.1)
            self._connections = await nursery.start(self._serve)
            await self._listen_to_supervisor()
            await self._leave(_ORPHAN_DRAIN)
            nursery.cancel_scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with self._serving:
            async with trio.open_nursery() as connections:
                task_status.started(connections)
                await trio.sleep_forever()

    async def _listen_to_supervisor(self) -> None:
        """Take what the supervisor says, until it is gone or says to leave."""
        while True:
            try:
                frames = await self._channel.receive()
            except ChannelBroken:
                frames = []
            if not frames:
                _log.warning("worker %d has lost its supervisor", self.index)
                return
            for frame in frames:
                message = decode_downward(frame)
                if isinstance(message, Drain):
                    await self._leave(message.seconds)
                    return
                if isinstance(message, Recall):
                    await self._let_spend()
                self._take(message)

    async def _let_spend(self) -> None:
        """Let those who waited for a grant that came in the same read have it, before it is recalled for others.

        Else two workers could take one unit from each other for ever. The first pass may run before they do.
        """
        for _ in range(2):
            await trio.lowlevel.checkpoint()

    def _take(self, message: Downward) -> None:
        now = time.monotonic()
        match message:
            case Snapshot():
                self._adopt(message)
            case UpstreamCredentials():
                self._take_credentials(message.by_name, now)
            case SigningKeys():
                self.known.signing_keys = message.by_issuer
            case ClientKeys():
                self.known.key_hash = KeyedHash(message.pepper)
                self.known.client_keys = message.by_digest
            case ClientKeysChanged():
                self.known.client_keys.update(message.by_digest)
            case Verdicts():
                self.known.learn(message.certificates)
                self._withdraw(message)
            case Settled():
                self.questions.settled(message)
            case Written():
                for slot in message.slots:
                    self.journal.free(slot)
            case MayRecord():
                self._may_record = message.records
            case Granted():
                self.leases.granted(message, now)
                event = self._granted.pop(message.client, None)
                if event is not None:
                    event.set()
            case Recall():
                self._channel.post(self.leases.recalled(message, now))
            case DeploymentsTold():
                if self._listener is None:
                    self._told_first = message
                else:
                    self.router.told(message.deployments, now)
            case StoredTold():
                self.stored.told(message)
            case StoredDropped():
                self.stored.dropped(message.ids)
            case BreakerTold():
                if self._listener is None:
                    self._told_of_breakers.append(message)
                else:
                    self._keep_to(message, now)
            case Drain():
                raise AssertionError("handled by the caller")

    def _keep_to(self, told: BreakerTold, now: float) -> None:
        key = told.backend, told.deployment
        self.announce(self.router.breakers.told(key, told.state, told.reason, now + told.seconds, now))
        if self.room:
            self.room.changed()

    def _take_credentials(self, credentials: dict[str, UpstreamCredential], now: float) -> None:
        """Use them from the next request on; what was set aside for one that is renewed is asked at once."""
        before, self.credentials = self.credentials, credentials
        if self._listener is not None:
            renewed = {name for name, held in credentials.items() if held != before.get(name)}
            backends = {backend.name for backend in self.view.backends.values() if backend.credential in renewed}
            for change in self.router.breakers.forgive(backends, now):
                self.announce(change)

    def _adopt(self, snapshot: Snapshot) -> None:
        """Serve under a new version from the next request on."""
        view = View(snapshot)
        self.tally.know(frozenset(view.models))
        limits = {client.name: client.limits for client in snapshot.clients}
        now = time.monotonic()
        if self._listener is None:
            self.view = view
            self.leases = Leases(limits)
            self.router = Router(snapshot.models, snapshot.backends, snapshot.routing, random.random)
            self.retries = RetryBudget(snapshot.routing.retries)
            self.room = WaitingRoom(snapshot.routing.queue, self.router.breakers, self._queued, time.monotonic)
            self._connections.start_soon(self.room.run)
            self.router.told(self._told_first.deployments, now)
            for told in self._told_of_breakers:
                self._keep_to(told, now)
            self._open_pools(snapshot)
            self._listener = Listener(
                self.pump, self._sockets, view.context, view.bounds, self.serve, self._handshake_refused
            )
            self._listener.start(self._connections)
            gc.collect()
            gc.freeze()  # what is here now stays; no collection need look at it again
            gc.set_threshold(20_000, 20, 50)
        else:
            self.leases.reconfigure(limits, now)
            self.router.reconfigure(snapshot.models, snapshot.backends, snapshot.routing)
            self.retries.settings = snapshot.routing.retries
            self.room.reconfigure(snapshot.routing.queue)
            self._open_pools(snapshot)
            self._listener.context = view.context
            self._listener.bounds = view.bounds
            self.view = view
        self._channel.post(Ready(os.getpid(), snapshot.version))

    def _open_pools(self, snapshot: Snapshot) -> None:
        self._pools.reconfigure(snapshot)
        self.pools = self._pools.by_name

    def _shunned(self, backend: str) -> bool:
        """Whether we are misconfigured at a backend: it is left in peace."""
        return self.router.breakers.words(backend, time.monotonic()) == {Unavailable.MISCONFIGURED.value}

    async def _leave(self, seconds: float) -> None:
        """Drain: accept nothing, finish what is under way within `seconds`, deliver the records."""
        if self.draining:
            return
        self.draining = True
        self._pools.cool_down()
        if self._listener is not None:
            self._listener.stop()
            for sock in self._sockets:
                sock.close()
            for connection in list(self._listener.connections):
                connection.hang_up_if_idle()
        with trio.move_on_after(seconds):
            while self.in_flight:
                await trio.sleep(0.02)
        self._serving.cancel()
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(1.0):
            while self.in_flight:
                await trio.sleep(0.005)
            self.report()
            self._channel.post(self.tally.drain())
            self._report_keys_used()
            await self._channel.flushed()

    # Requests.

    async def serve(self, connection: ClientConnection) -> None:
        """All requests of one connection, one after another, for as long as what it rests on counts."""
        self._tell_seen(connection)
        with connection.scope:
            await self._serve_all(connection)

    async def _serve_all(self, connection: ClientConnection) -> None:
        keep = True
        while keep and not self.draining:
            try:
                head = await connection.next_head(self.view.bounds, self._read_head)
            except Refused as refused:
                await Exchange(self, connection, None).refuse(refused)
                return
            if head is None:
                break
            connection.served += 1
            keep = await Exchange(self, connection, head).run()
            connection.serving = None
        if not connection.gone:
            connection.link.say_goodbye()

    def _read_head(self, raw: bytes, _: Bounds) -> RequestHead:
        """By the view of now, and its bounds: the one that was there when the wait began may be gone."""
        view = self.view
        return view.heads.read(raw, view.bounds)

    async def admit(self, client: str, tokens: int) -> Admission:
        """A share of the client's budgets. Waits for their owner if this worker's is spent. Raises `Refused`.

        The owner decides within `budget.HOLD`. One that does not answer is busy, as this worker may be, and that is no
        reason to tell a client that its budget is spent: the request waits on, and gets a 503 in the end.
        """
        leases = self.leases
        admission = leases.admit(client, tokens, time.monotonic())
        if isinstance(admission, Admission):
            if leases.ahead:
                self._ask_ahead()
            return admission
        deadline = trio.current_time() + _OWNER_WAIT
        while True:
            denied = admission.denied
            if denied is not None:
                reason = Reason.REQUEST_LARGER_THAN_LIMIT if denied.never else Reason(denied.budget)
                raise Refused(reason, denied.budget, retry_after=None if denied.never else denied.retry_after)
            if admission.ask is not None:
                self._channel.post(admission.ask)
            if trio.current_time() >= deadline:
                raise Refused(Reason.LIMITS_UNAVAILABLE, admission.budget, retry_after=1.0)
            with trio.move_on_after(_ASK_AGAIN):
                await self._granted.setdefault(client, trio.Event()).wait()
            admission = leases.admit(client, tokens, time.monotonic())
            if isinstance(admission, Admission):
                self._ask_ahead()
                return admission

    def _ask_ahead(self) -> None:
        for ask in self.leases.ahead:
            self._channel.post(ask)
        self.leases.ahead.clear()

    async def slow_down(self, source: str) -> None:
        """Let the answer to who failed to prove who it is wait, if it has failed often. Few wait, the rest do not."""
        delay = self._slowdown.failed(source, time.monotonic(), self.view.bounds.failure_delay)
        if not delay or self._slowed >= _SLOWED or self.draining:
            return
        self.tally.slowed_down()
        self._slowed += 1
        try:
            await trio.sleep(delay)
        finally:
            self._slowed -= 1

    def _withdraw(self, verdicts: Verdicts) -> None:
        """End what runs under a certificate that counts no more, where its client is configured so."""
        bad = {verdict.thumbprint for verdict in verdicts.certificates if verdict.status == "revoked"}
        if not bad or self._listener is None:
            return
        for connection in list(self._listener.connections):
            certificate, serving = connection.certificate, connection.serving
            if certificate is None or serving is None or certificate.thumbprint not in bad:
                continue
            client = self.view.clients.get(serving)
            if client is None or client.on_revocation == "end":
                connection.withdraw(Reason.CERTIFICATE_REVOKED)

    # What the supervisor is told.

    def _tell_seen(self, connection: ClientConnection) -> None:
        """Say that a client has shown its certificate: once an hour, since those in use are told from others by it."""
        facts = connection.certificate
        now = time.monotonic()
        if facts is None or self._seen.get(facts.thumbprint, 0.0) > now:
            return
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[facts.thumbprint] = now + _SEEN_AGAIN
        client = self.view.directory.client_of(facts)
        der = connection.link.sock.getpeercert(binary_form=True)
        if client is not None and der is not None:
            self._channel.post(CertificateSeen(client, der))

    def record(self, slot: int, line: bytes) -> None:
        """A finished record, to be reported with the next ones."""
        self._slots.append(slot)
        self._lines.append(line)

    def _handshake_refused(self, refused: HandshakeRefused) -> None:
        self._handshakes.add(refused.reason, refused.rule, refused.source, refused.fingerprint, time.monotonic())
        self._record_handshakes()

    def _record_handshakes(self) -> None:
        for line in self._handshakes.due(time.monotonic(), time.time(), self.next_id):
            self.record(-1, line)

    def uncounted(self, message: Uncounted) -> None:
        self._recorded += self._channel.post(message)

    def can_record(self) -> bool:
        """Whether there is room on disk for the records of all that is in flight. Asked where `audit.required` is."""
        return self.in_flight + self._recorded + len(self._lines) <= self._may_record

    def _queued(self, outcome: str, priority: int) -> None:
        self.tally.queued(outcome, "batch" if priority == BATCH else "interactive")

    def announce(self, change: Change | None) -> None:
        if change is not None:
            if self.room:
                self.room.changed()
            self._channel.post(
                BreakerChanged(
                    change.backend,
                    change.deployment,
                    change.state,
                    change.reason,
                    change.until - time.monotonic(),
                    change.asked,
                )
            )

    def credential_rejected(self, name: str, sent: UpstreamCredential, backend: str) -> bool:
        """A backend did not take what it was sent: the supervisor hears of it, though not of each time.

        True if another is in force by now, so that there is nothing to tell.
        """
        if self.credentials.get(name) != sent:
            return True
        now = time.monotonic()
        if self._rejected.get(backend, 0.0) <= now:
            self._rejected[backend] = now + _REJECTED_AGAIN
            self._channel.post(CredentialRejected(name, sent.fingerprint, backend))
        return False

    def report(self) -> None:
        if self._slots:
            slots, self._slots = self._slots, []
            lines, self._lines = self._lines, []
            if self._channel.post(Records(slots, lines)):
                self._recorded += len(lines)
            else:
                _log.error("the supervisor is behind; %d records stay in the journal", len(slots))

    async def _report(self) -> None:
        while True:
            await trio.sleep(_REPORT_EVERY)
            self.report()

    async def _tell_tallies(self) -> None:
        while True:
            await trio.sleep(_TALLY_EVERY)
            self._gauge()
            self._record_handshakes()
            self._channel.post(self.tally.drain())
            self._report_deployments()

    def _report_deployments(self) -> None:
        seen = self.router.seen(time.monotonic()) if self._listener is not None else ()
        if seen:
            self._channel.post(DeploymentsSeen(seen))

    async def _tell_keys_used(self) -> None:
        while True:
            await trio.sleep(_KEYS_USED_EVERY)
            self._report_keys_used()

    def _report_keys_used(self) -> None:
        if self.known.keys_used:
            used, self.known.keys_used = self.known.keys_used, {}
            self._channel.post(KeysUsed(used))

    def _gauge(self) -> None:
        listener = self._listener
        if listener is not None:
            self.tally.gauge(
                connections=listener.open, requests=self.in_flight, streams=self.streaming, waiting=len(self.room)
            )
            for result, count in listener.handshakes.items():
                self.tally.handshakes(result, count)
            listener.handshakes.clear()

    async def _return_leases(self) -> None:
        while True:
            await trio.sleep(_LEASES_EVERY)
            if self._listener is not None:
                for unspent in self.leases.due(time.monotonic()):
                    self._channel.post(unspent)

    async def _prune(self) -> None:
        while True:
            await trio.sleep(PRUNE_EVERY)
            self._pools.prune()

    async def _write(self) -> None:
        with contextlib.suppress(ChannelBroken):
            await self._channel.run()
