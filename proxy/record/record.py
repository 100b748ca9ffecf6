"""The audit record: one for each request, whatever became of it. Field names and order are a contract.

A worker builds the record as the request goes its way; the supervisor gives it `seq` and writes it. Prompts,
completions and credentials have no field here.
"""

import time
from enum import Enum
from functools import lru_cache

import msgspec

from proxy.routing.candidate import Considered


class End(Enum):
    """How a request ended."""

    COMPLETE = "complete"
    REFUSED = "refused"
    CLIENT_GONE = "client_gone"
    BACKEND_FAILED = "backend_failed"
    TIMEOUT = "timeout"
    DRAINED = "drained"
    SHED = "shed"
    WORKER_LOST = "worker_lost"

    __hash__ = object.__hash__  # members are one of a kind; `Enum`'s own is a call more


class CredentialUsed(msgspec.Struct):
    kind: str = "none"  # certificate, token, key, none
    fingerprint: str | None = None


class Attempt(msgspec.Struct):
    backend: str
    status: int | None
    reason: str
    ms: float


class Tokens(msgspec.Struct):
    prompt: int = 0
    completion: int = 0
    total: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


class Record(msgspec.Struct):
    """`time` is RFC 3339 in UTC; `seq` is 0 until the supervisor numbers the record."""

    seq: int = 0
    time: str = ""
    request_id: str = ""
    trace_id: str | None = None
    client: str | None = None
    tenant: str | None = None
    user: str | None = None
    credential: CredentialUsed = msgspec.field(default_factory=CredentialUsed)
    source: str | None = None
    operation: str | None = None
    model: str | None = None
    stream: bool = False
    decision: str = "refused"
    reason: str | None = None
    rule: str | None = None
    status: int | None = None
    backend: str | None = None
    region: str | None = None
    deployment: str | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    candidates: tuple[Considered, ...] = ()
    tokens: Tokens | None = None
    ttfb_ms: float | None = None
    duration_ms: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    end: End = End.REFUSED
    queued_ms: float | None = None


def timestamp(wall: float) -> str:
    """A Unix time in RFC 3339, in UTC, to the millisecond."""
    second = int(wall)
    return f"{_second(second)}.{int((wall - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
