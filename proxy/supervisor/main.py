"""The supervisor: one process that holds what is slow or secret, and keeps the workers going.

It loads and reloads the configuration, owns the listening sockets, the budgets, the upstream credentials and the audit
log, and shows how things are. No request passes through it. SIGTERM and SIGINT drain; SIGHUP, and any change of the
configuration file or of a file it names, reload.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import trio

from proxy import logs
from proxy.admin import server as admin
from proxy.admin.exposition import Metrics
from proxy.admin.token import checked, load_or_make
from proxy.config.load import ConfigError, content, judged
from proxy.config.secrets import resolve
from proxy.config.structs import Config
from proxy.form import version
from proxy.identity.known import AskCertificate, AskKeys, Settled
from proxy.messages import (
    AskStored,
    BreakerChanged,
    CertificateSeen,
    CredentialRejected,
    DeploymentsSeen,
    Downward,
    KeysUsed,
    SigningKeys,
    Snapshot,
    Tallies,
    UpstreamCredential,
    UpstreamCredentials,
    Upward,
)
from proxy.policy.budget import Ask, Budgets, Outgoing, Return
from proxy.supervisor.backends import health
from proxy.supervisor.backends.breakers import SharedBreakers
from proxy.supervisor.backends.credentials import Refresher
from proxy.supervisor.backends.health import HealthProbes
from proxy.supervisor.backends.live import LiveDeployments, keys_of
from proxy.supervisor.certificates import inventory, key_vault
from proxy.supervisor.certificates.expiry import Expiry
from proxy.supervisor.configuration import snapshot as snapshots
from proxy.supervisor.configuration.history import History
from proxy.supervisor.configuration.reloading import Reloading
from proxy.supervisor.events.events import Event, Events
from proxy.supervisor.events.webhook import Webhook
from proxy.supervisor.identity.client_keys import ClientKeyring
from proxy.supervisor.identity.issuers import Issuers
from proxy.supervisor.ownership import Ownership
from proxy.supervisor.records.acts import Acts
from proxy.supervisor.records.audit import chain_key, open_log
from proxy.supervisor.records.export import Exporter
from proxy.supervisor.records.keeper import RecordKeeper
from proxy.supervisor.records.room import Room
from proxy.supervisor.revocation.verdicts import Revocation
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.sockets import AddressUnusable, listen
from proxy.supervisor.status import Overview
from proxy.supervisor.store.database import StoreError
from proxy.supervisor.workers import WorkerProcess
from proxy.wire.tls import backend_contexts, server_context
from proxy.worker_process import raise_descriptor_limit

_FIRST_CREDENTIALS = 3.0
_FIRST_CERTIFICATES = 30.0
_RECENT_RECORDS = 16 << 20

_log = logging.getLogger("penstock.supervisor")


def serve(path: Path) -> int:
    """`penstock serve`: run the gateway until it is told to stop; the exit code."""
    logs.configure()
    raise_descriptor_limit()
    try:
        text = content(path)
        config = judged(text, path)
        held = trio.run(key_vault.first, config, _FIRST_CERTIFICATES)
        supervisor = Supervisor(path, text, config, held)
    except (ConfigError, AddressUnusable, SecretUnusable, StoreError, key_vault.VaultFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return trio.run(supervisor.run)


class Supervisor:
    """The gateway as a whole. Raises `ConfigError`, `AddressUnusable` or `OSError` when it cannot start."""

    def __init__(self, path: Path, text: bytes, config: Config, held: key_vault.Held) -> None:
        self.started = time.time()
        count = config.listen.workers or os.cpu_count() or 1
        key = chain_key(config, make=True)
        self._users_key = key.derived("users")
        self.metrics = Metrics()
        self.events = Events()
        self.reloading = Reloading(
            path,
            text,
            config,
            held,
            History(Path(config.state.path).parent / "config"),
            build=partial(self._build, count),
            obtain=lambda config: self._vaults.obtained(config),
            put_in_force=self._put_in_force,
            announce=self.events.announce,
            count=lambda ok: self.metrics.reloaded(ok=ok),
        )
        self._sockets = [listen(address) for address in _addresses(config)]
        self.health_socket = listen(config.listen.health.address)
        self.admin_socket = listen(config.admin.address)
        state = Path(config.state.path).parent
        self._journals = state / "journals"
        self._journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._token = _admin_token(config)
        room = Room(count, config.listen.bounds.requests) if config.audit.required else None
        self._audit = open_log(config, key, room)
        self.webhook = Webhook(config.audit)
        self.events.heard_by(self.webhook.hear)
        self.exporter = Exporter(config.audit)
        for doubt in self._audit.doubts:
            self.events.announce(Event("audit_log", "error", f"the audit log was tampered with or damaged: {doubt}"))
        self.keys = ClientKeyring(
            config.state,
            clients=lambda: self.config.clients,
            publish=self._tell_all,
            announce=self.events.announce,
        )
        self.stored = Ownership(config.state, post=self._post, announce=self.events.announce)
        self.keeper = RecordKeeper(
            self._audit,
            counted=self.metrics.count_usage,
            lost=self.metrics.count_lost,
            announce=self.events.announce,
            wrote=self.exporter.take,
            room=room,
        )
        self.budgets = Budgets({client.name: client.limits for client in config.clients}, count)
        self.acts = Acts(self.keeper)
        self.live = LiveDeployments(config, count, self._post)
        self.breakers = SharedBreakers(count, self._post, self.events.announce)
        self.health = HealthProbes(
            config,
            health.asking(lambda: self.reloading.snapshot, lambda: self.credentials),
            lambda told: self.breakers.tell(told, time.monotonic()),
            self.events.announce,
        )
        self.workers = [
            WorkerProcess(
                index,
                self._sockets,
                self._journals,
                self.keeper,
                greeting=partial(self._greeting, index),
                hear=self._hear,
                gone=self._gone,
                announce=self.events.announce,
            )
            for index in range(count)
        ]
        self._vaults = key_vault.KeyVaults(config, held, self._rotate, self.events.announce)
        self._refresher = Refresher(config.credentials, self._publish, self._announce)
        self.issuers = Issuers(config.issuers, self._tell_all, self._answer, self.events.announce)
        self.revocation = Revocation(config.listen.client_certificates, self._post, self.events)
        self.expiry = Expiry(
            config, held, self.events.announce, lists=lambda: inventory.listed(self.revocation.lists.held)
        )
        self._ticks = trio.Event()
        self._draining = trio.Event()

    # Life.

    async def run(self) -> int:
        """Serve until drained; the exit code."""
        self._recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            nursery.start_soon(self._refresher.run)
            nursery.start_soon(self.issuers.run)
            nursery.start_soon(self.revocation.run)
            nursery.start_soon(self.keys.run)
            nursery.start_soon(self.live.run)
            nursery.start_soon(self.health.run)
            nursery.start_soon(self.stored.run)
            nursery.start_soon(self.webhook.run)
            nursery.start_soon(self.exporter.run)
            nursery.start_soon(self._tick)
            nursery.start_soon(self.reloading.watch)
            nursery.start_soon(self._vaults.run)
            nursery.start_soon(self.expiry.run)
            nursery.start_soon(admin.serve_health, self.health_socket, Overview(self))
            nursery.start_soon(admin.serve_admin, self.admin_socket, self.config.admin, self._token, Overview(self))
            nursery.start_soon(self._signals)
            with trio.move_on_after(_FIRST_CREDENTIALS):
                await self._refresher.first.wait()
                await self.issuers.first.wait()
                await self.revocation.lists.first.wait()
            async with trio.open_nursery() as workers:
                for worker in self.workers:
                    workers.start_soon(worker.keep)
                addresses = ", ".join(_addresses(self.config))
                _log.info("penstock %s, serving on %s with %d workers", version(), addresses, len(self.workers))
                await self._draining.wait()
                for worker in self.workers:
                    worker.drain(float(self.config.listen.bounds.drain))
            await self.keys.write_uses()
            await self.keeper.drained()
            nursery.cancel_scope.cancel()
        _log.info("drained")
        return 0

    def _recover(self) -> None:
        """Record what workers of an earlier life, ended without a supervisor, left behind."""
        left = sorted(self._journals.glob("*.journal"))
        known = self._audit.recent_ids(_RECENT_RECORDS) if left else set()
        found = sum(self.keeper.recover(path, source=None, known=known) for path in left)
        if found:
            _log.warning("%d records were left by an earlier run", found)

    async def _signals(self) -> None:
        ask, asked = trio.open_memory_channel[None](1)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reload_when, asked)  # it may take its time, and a drain waits for nothing
                async for number in received:
                    if number == signal.SIGHUP:
                        with contextlib.suppress(trio.WouldBlock):
                            ask.send_nowait(None)
                    else:
                        _log.info("draining")
                        for sock in self._sockets:
                            sock.close()
                        self._draining.set()

    async def _reload_when(self, asked: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in asked:
            await self.reloading.reload()

    # The configuration.

    @property
    def config(self) -> Config:
        return self.reloading.config

    def _build(self, workers: int, config: Config, version: int, held: key_vault.Held) -> Snapshot:
        built = snapshots.build(config, version, workers, held, self._users_key)
        server_context(built.tls)  # these raise here, before any worker meets it
        backend_contexts(built)
        return built

    async def _put_in_force(self, config: Config, built: Snapshot, held: key_vault.Held) -> None:
        self._audit.reopen()
        self._tell(self.budgets.reconfigure({c.name: c.limits for c in config.clients}, time.monotonic()))
        self.breakers.reconfigure(keys_of(config))
        self._refresher.reconfigure(config.credentials)
        self.issuers.reconfigure(config.issuers)  # what is trusted no longer goes first
        self.live.reconfigure(config)
        self.health.reconfigure(config)
        self._tell_all(built)
        self._vaults.reconfigure(config, held)
        self.expiry.reconfigure(config, held)
        self.webhook.reconfigure(config.audit)
        self.exporter.reconfigure(config.audit)
        await self.revocation.configure(config.listen.client_certificates)

    async def _rotate(self) -> None:
        """The certificates that are held by now take the place of older ones."""
        await self.reloading.rotate(self._vaults.held, self._tell_all)
        self.expiry.reconfigure(self.config, self._vaults.held)

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    @property
    def credentials(self) -> dict[str, UpstreamCredential]:
        return self._refresher.current

    @property
    def failing(self) -> dict[str, str]:
        return self._refresher.failing

    # Workers.

    def _greeting(self, worker: int) -> list[Downward]:
        return [
            UpstreamCredentials(self.credentials),
            SigningKeys(self.issuers.current),
            self.keys.known(),
            self.revocation.current,
            *self.breakers.greeting(time.monotonic()),
            *self.live.greeting(worker),  # before it serves: a drained deployment gets nothing of a new worker either
            self.reloading.snapshot,
        ]

    def _hear(self, worker: int, message: Upward) -> None:
        now = time.monotonic()
        match message:
            case Ask():
                self._tell(self.budgets.ask(worker, message, now))
            case Return():
                self._tell(self.budgets.give_back(worker, message, now))
            case Tallies():
                self.metrics.merge(worker, message)
            case AskCertificate():
                self.revocation.ask(worker, message)
            case BreakerChanged():
                self.breakers.changed(worker, message, now)
            case DeploymentsSeen():
                self.live.hear(worker, message)
                self.health.saw(message)
            case CredentialRejected():
                self._refresher.rejected(message.name, message.fingerprint, message.backend)
            case CertificateSeen():
                self.expiry.saw(message)
            case AskKeys():
                self.issuers.ask(worker, message)
            case KeysUsed():
                self.keys.used(message)
            case AskStored():
                self.stored.ask(worker, message)
            case _:
                raise AssertionError("heard by the worker's process")

    def _gone(self, worker: int) -> None:
        self._tell(self.budgets.worker_gone(worker, time.monotonic()))
        self.metrics.worker_gone(worker)
        self.live.worker_gone(worker)

    def _post(self, worker: int | None, message: Downward) -> None:
        """Tell one worker, or all."""
        for process in self.workers if worker is None else [self.workers[worker]]:
            process.post(message)

    def _tell(self, outgoing: Outgoing) -> None:
        for worker, message in outgoing:
            self.workers[worker].post(message)
        self._ticks.set()

    def _tell_all(self, message: Downward) -> None:
        for worker in self.workers:
            worker.post(message)

    def _answer(self, worker: int, settled: Settled) -> None:
        self.workers[worker].post(settled)

    async def _tick(self) -> None:
        """Answer asks whose time is up."""
        while True:
            due = self.budgets.next_deadline(time.monotonic())
            self._ticks = trio.Event()
            if due is None:
                await self._ticks.wait()
            else:
                await trio.sleep(max(0.0, due - time.monotonic()))
                self._tell(self.budgets.tick(time.monotonic()))

    # Credentials.

    def _publish(self, credentials: dict[str, UpstreamCredential]) -> None:
        self._tell_all(UpstreamCredentials(credentials))

    def _announce(self, text: str) -> None:
        self.events.announce(Event("credential", "warning", text))


def _admin_token(config: Config) -> str:
    ref = config.admin.token
    if ref.file is not None:
        return load_or_make(Path(ref.file))
    return checked(resolve(ref).reveal(), "admin.token")


def _addresses(config: Config) -> tuple[str, ...]:
    address = config.listen.address
    return (address,) if isinstance(address, str) else address
