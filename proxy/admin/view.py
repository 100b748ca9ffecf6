"""What the admin address shows: the state of the gateway as plain data, and the five things it may ask for.

Times are in Unix seconds, durations in seconds. The structs are the JSON of `/api/status`, field by field, and what
`penstock` commands decode. No secret has a field here: a credential is shown by its name.
"""

from typing import Literal, Protocol

import msgspec

from proxy.admin.backends import Backends, DeploymentStatus
from proxy.admin.config import Configuration, Problem
from proxy.admin.explain import Question
from proxy.admin.keys import Keys, KeyStatus
from proxy.policy.explain import Explanation


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the status."""


class ReloadResult(Shown, frozen=True):
    """`version` is the one in force afterwards; `error` says why it did not change, `problems` each thing by itself."""

    ok: bool
    time: float
    version: int
    error: str | None = None
    problems: tuple[Problem, ...] = ()


class ConfigStatus(Shown, frozen=True):
    """`last_reload` is None until the first one."""

    file: str
    version: int
    last_reload: ReloadResult | None = None


class WorkerStatus(Shown, frozen=True):
    """`since` is when the state began; `version` is the snapshot it serves by."""

    index: int
    pid: int | None
    state: Literal["starting", "serving", "draining", "backing_off", "stopped"]
    since: float
    restarts: int
    connections: int
    requests: int
    streams: int
    version: int


class LimitStatus(Shown, frozen=True):
    """One budget of a client and what is used of it at present; None: not known."""

    name: str
    limit: int
    used: int | None = None


class ClientStatus(Shown, frozen=True):
    """`credentials`: the kinds it may show. `grants`: one line for each."""

    name: str
    tenant: str | None
    credentials: tuple[str, ...]
    grants: tuple[str, ...]
    limits: tuple[LimitStatus, ...]


class CertificateStatus(Shown, frozen=True):
    """`name`: where the configuration names it, or whose it is. `days_left` is negative once it has expired."""

    name: str
    subject: str
    not_after: float
    days_left: float
    use: str = "server"
    fingerprint: str = ""
    client: str | None = None


class CredentialStatus(Shown, frozen=True):
    """How the gateway proves itself to backends. `expires_in`: None if it does not expire, or there is none yet."""

    name: str
    kind: str
    state: Literal["valid", "expiring", "missing", "failed"]
    expires_in: float | None = None


class IssuerStatus(Shown, frozen=True):
    """An issuer of tokens. `keys`: those its tokens are verified with; `reason`: why it cannot be asked for more."""

    name: str
    issuer: str
    state: Literal["valid", "missing", "failed"]
    keys: int = 0
    reason: str | None = None


class Status(Shown, frozen=True):
    """Everything at the moment `time`."""

    version: str
    time: float
    started: float
    config: ConfigStatus
    workers: tuple[WorkerStatus, ...] = ()
    deployments: tuple[DeploymentStatus, ...] = ()
    clients: tuple[ClientStatus, ...] = ()
    certificates: tuple[CertificateStatus, ...] = ()
    credentials: tuple[CredentialStatus, ...] = ()
    issuers: tuple[IssuerStatus, ...] = ()
    keys: tuple[KeyStatus, ...] = ()  # that are neither revoked nor expired


class View(Protocol):
    """What the supervisor answers. All but `reload` return at once."""

    def status(self) -> Status: ...

    def ready(self) -> tuple[bool, list[str]]:
        """Whether the gateway can serve, and what is missing if not. Shown to anyone: it names no secret."""
        ...

    def explain(self, question: Question) -> Explanation | None:
        """What becomes of a request; None for a client that is not configured."""
        ...

    def metrics(self) -> bytes:
        """Prometheus' text format."""
        ...

    @property
    def keys(self) -> Keys: ...

    @property
    def backends(self) -> Backends: ...

    @property
    def configuration(self) -> Configuration: ...

    async def reload(self) -> ReloadResult: ...
