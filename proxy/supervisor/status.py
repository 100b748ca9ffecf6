"""The supervisor as the admin address shows it: its state, gathered when asked, as `proxy.admin.view` has it."""

import time
from typing import TYPE_CHECKING, Literal

from proxy import __version__
from proxy.admin.backends import Backends
from proxy.admin.config import Configuration
from proxy.admin.keys import Keys
from proxy.admin.view import (
    CertificateStatus,
    ClientStatus,
    ConfigStatus,
    CredentialStatus,
    IssuerStatus,
    LimitStatus,
    ReloadResult,
    Status,
    WorkerStatus,
)
from proxy.config.structs import Client, Issuer
from proxy.policy.rule import described
from proxy.record.metrics import (
    AUDIT_EXPORT_DROPPED,
    AUDIT_FAILURES,
    AUDIT_RECORDS,
    BUILD_INFO,
    CERTIFICATE_EXPIRY,
    CONFIG_VERSION,
    CONNECTIONS_ACTIVE,
    CRL_EXPIRY,
    EVENTS_DROPPED,
    REQUESTS_ACTIVE,
    STREAMS_ACTIVE,
    WORKER_RESTARTS,
    WORKERS,
)
from proxy.supervisor.backends.control import BackendControl
from proxy.supervisor.backends.status import deployments, gauges
from proxy.supervisor.configuration.control import ConfigControl
from proxy.supervisor.explain_now import ExplainNow
from proxy.supervisor.records.acts import RecordedKeys
from proxy.supervisor.workers import WorkerState

if TYPE_CHECKING:
    from proxy.supervisor.main import Supervisor

_EXPIRING = 300.0


class Overview:
    """Answers the admin address from the supervisor's own state."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self.explain = ExplainNow(supervisor)
        self.keys: Keys = RecordedKeys(supervisor.keys, supervisor.acts)
        self.backends: Backends = BackendControl(supervisor)
        self.configuration: Configuration = ConfigControl(supervisor)

    def status(self) -> Status:
        supervisor = self._supervisor
        return Status(
            version=__version__,
            time=time.time(),
            started=supervisor.started,
            config=ConfigStatus(
                file=str(supervisor.reloading.path),
                version=supervisor.reloading.version,
                last_reload=supervisor.reloading.last,
            ),
            workers=tuple(self._workers()),
            deployments=deployments(supervisor),
            clients=tuple(self._client(client) for client in supervisor.config.clients),
            certificates=tuple(self._certificates()),
            credentials=tuple(self._credentials()),
            issuers=tuple(map(self._issuer, supervisor.config.issuers)),
            keys=tuple(key for key in supervisor.keys.listing() if key.state in ("live", "suspended")),
        )

    def ready(self) -> tuple[bool, list[str]]:
        supervisor = self._supervisor
        missing = []
        if supervisor.draining:
            missing.append("draining")
        if not any(worker.state is WorkerState.SERVING for worker in supervisor.workers):
            missing.append("no worker serves")
        now = time.time()
        valid = {name for name, credential in supervisor.credentials.items() if credential.expires > now}
        usable = [backend for backend in supervisor.config.backends if backend.credential in valid]
        if not usable:
            missing.append("no backend has a valid credential")
        elif not any(deployment.usable for deployment in deployments(supervisor)):
            missing.append("every deployment's breaker is open, or it is drained by hand")
        return not missing, missing

    def metrics(self) -> bytes:
        supervisor = self._supervisor
        metrics = supervisor.metrics
        for name, values in gauges(deployments(supervisor)).items():
            metrics.replace(name, values)
        now = time.time()
        ends: dict[tuple[str, ...], float] = {}
        for each in supervisor.expiry.tracked():
            ends.setdefault((each.name,), each.ends - now)  # of a client with several, the one that ends first
        metrics.replace(CERTIFICATE_EXPIRY, ends)
        lapses: dict[tuple[str, ...], float] = {}
        for each in sorted(supervisor.expiry.lists(), key=lambda crl: crl.ends):
            lapses.setdefault((each.name.removeprefix("CRL "),), each.ends - now)
        metrics.replace(CRL_EXPIRY, lapses)
        metrics.set(WORKERS, sum(worker.state is WorkerState.SERVING for worker in supervisor.workers))
        metrics.set(WORKER_RESTARTS, sum(worker.restarts for worker in supervisor.workers))
        metrics.set(CONFIG_VERSION, supervisor.reloading.version)
        metrics.set(AUDIT_RECORDS, supervisor.keeper.written)
        metrics.set(AUDIT_FAILURES, supervisor.keeper.failures)
        metrics.set(AUDIT_EXPORT_DROPPED, supervisor.exporter.dropped)
        metrics.set(EVENTS_DROPPED, supervisor.webhook.dropped)
        metrics.set(BUILD_INFO, 1, (__version__,))
        return metrics.render()

    async def reload(self) -> ReloadResult:
        with self._supervisor.acts.recorded("admin.reload") as act:
            result = await self._supervisor.reloading.reload()
            act.reloaded(result)
            return result

    def _workers(self) -> list[WorkerStatus]:
        found = []
        for worker in self._supervisor.workers:
            gauges = self._supervisor.metrics.of_worker(worker.index)
            found.append(
                WorkerStatus(
                    index=worker.index,
                    pid=worker.pid,
                    state=worker.state.value,
                    since=worker.since,
                    restarts=worker.restarts,
                    connections=int(gauges.get(CONNECTIONS_ACTIVE, 0)),
                    requests=int(gauges.get(REQUESTS_ACTIVE, 0)),
                    streams=int(gauges.get(STREAMS_ACTIVE, 0)),
                    version=worker.version,
                )
            )
        return found

    def _client(self, client: Client) -> ClientStatus:
        usage = self._supervisor.budgets.usage(client.name, time.monotonic())
        limits = [
            ("requests_per_minute", usage.requests_per_minute, usage.requests),
            ("tokens_per_minute", usage.tokens_per_minute, usage.tokens),
            ("concurrent_requests", usage.concurrent_requests, usage.concurrent),
        ]
        kinds = (
            ("certificate", client.certificate is not None),
            ("token", client.token is not None),
            ("key", client.keys or bool(client.key_hashes)),
        )
        return ClientStatus(
            name=client.name,
            tenant=client.tenant,
            credentials=tuple(kind for kind, has in kinds if has),
            grants=tuple(described(grant) for grant in client.grants),
            limits=tuple(LimitStatus(name=name, limit=limit, used=used) for name, limit, used in limits if limit),
        )

    def _certificates(self) -> list[CertificateStatus]:
        now = time.time()
        return [
            CertificateStatus(
                name=each.name,
                use=each.use,
                subject=each.subject,
                fingerprint=each.fingerprint,
                client=each.client,
                not_after=each.ends,
                days_left=round((each.ends - now) / 86_400, 2),
            )
            for each in self._supervisor.expiry.tracked()
        ]

    def _credentials(self) -> list[CredentialStatus]:
        supervisor = self._supervisor
        now = time.time()
        found = []
        for name, definition in supervisor.config.credentials.items():
            current = supervisor.credentials.get(name)
            left = None if current is None or current.expires == float("inf") else current.expires - now
            state: Literal["valid", "expiring", "missing", "failed"] = "valid"
            if current is None or (left is not None and left <= 0):
                state = "failed" if name in supervisor.failing else "missing"
            elif left is not None and left < _EXPIRING:
                state = "expiring"
            found.append(CredentialStatus(name=name, kind=definition.kind, state=state, expires_in=left))
        return found

    def _issuer(self, issuer: Issuer) -> IssuerStatus:
        kept = self._supervisor.issuers
        held, reason = kept.current.get(issuer.name), kept.failing.get(issuer.name)
        return IssuerStatus(
            name=issuer.name,
            issuer=issuer.issuer,
            state="failed" if reason is not None else "missing" if held is None else "valid",
            keys=len(held.keys) if held is not None else 0,
            reason=reason,
        )
