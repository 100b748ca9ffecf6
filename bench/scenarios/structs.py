"""A scenario's file, as types: one struct a table, a field's comment is its documentation. Times count from the end of
the warm-up.
"""

from typing import Literal

import msgspec

from bench.mock.faults import Fault
from proxy.config.structs import Seconds, Table

CHAT, EMBEDDINGS = "gpt-4o", "text-embedding-3-small"
"""The models that are asked: every backend has the first, and the second where a scenario wants it."""
ALONE = "turbines"
"""The client whose load names none, where there is no pool of them."""
LONG = 120.0
"""A scenario that takes longer than so many seconds is counted by the second, others by the tenth."""

Extras = dict[str, str | int | float]
Credential = Literal["certificates", "keys", "tokens"]
Metric = Literal[
    "failed", "broken", "refused", "answered", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "share", "attempts",
    "attempts_per_request", "told_s", "untold", "wrong_bytes", "asked_per_second", "answered_per_second",
    "events_per_second", "handshakes_per_second", "open_least", "late_p50_ms", "late_p99_ms", "handshake_p50_ms",
    "handshake_p99_ms", "cpu_us_per_request", "cpu_us_per_event", "memory_mb", "memory_growth_mb", "descriptors",
    "descriptor_growth",
]  # fmt: skip
"""What a bar is about; `bench.scenarios.measure` says how each is measured."""

OF_BACKENDS = frozenset(("share", "attempts"))
OF_CLIENTS = frozenset(
    ("failed", "broken", "refused", "answered", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "told_s", "untold")
)
OF_THE_WHOLE = frozenset(("wrong_bytes", "late_p50_ms", "late_p99_ms", "handshake_p50_ms", "handshake_p99_ms"))
"""Measured over the whole scenario, and no part of it."""


class Backend(Table, frozen=True, kw_only=True):
    """A backend: an instance of the mock, and how the gateway is told of it."""

    name: str
    region: str
    tier: Literal["provisioned", "standard"] = "standard"
    first_token: Seconds = Seconds(0.04)
    between_tokens: Seconds = Seconds(0.01)
    jitter: Seconds = Seconds(0.01)
    capacity: int = 0  # requests at a time, 0: any
    tokens_per_minute: int = 0  # 0: any
    priority: int = 0
    weight: int = 1
    deployment: Extras = msgspec.field(default_factory=dict)  # further keys of it in the gateway
    url: str | None = None  # absent: that of the mock's instance


class Identities(Table, frozen=True, kw_only=True):
    """A pool of clients, each with a credential of its own kind."""

    certificates: int = 0
    keys: int = 0
    tokens: int = 0


class Arrivals(Table, frozen=True, kw_only=True):
    """When requests fall due. Absent: at a constant rate, the sum of those of all loads.

    closed    so many clients ask, each again as soon as it has its answer; they start over `ramp`
    constant  `rate` a second, evenly
    poisson   `rate` a second, at random
    ramp      from `rate` to `to`, evenly growing
    step      `rate`, and from the middle on `to`
    replay    as a recorded log says, `speed` times as fast
    """

    kind: Literal["closed", "constant", "poisson", "ramp", "step", "replay"]
    clients: int = 16
    ramp: Seconds = Seconds(1.0)
    rate: float = 0.0
    to: float = 0.0
    log: str | None = None  # a file; relative to the scenario's
    speed: float = 1.0
    connections: int = 10_000  # at most so many at a time


class Load(Table, frozen=True, kw_only=True):
    """A share of the requests: what is asked, and who asks it."""

    client: str | None = None  # one with a key of its own; absent: the pool, or "turbines" where there is none
    by: Credential | None = None  # those of the pool; absent: all of it
    rate: float | None = None  # requests a second, where there are no arrivals
    share: float | None = None  # of all requests, where there are; those of all loads need not make 1
    kind: Literal["chat", "embeddings", "handshake"] = "chat"
    streams: float = 0.5  # the share of a chat's answers that are streams
    prompt: int | tuple[int, int] = 200  # bytes; two: drawn evenly between them
    tokens: int | tuple[int, int] = 16  # of the answer
    leaves: float = 0.0  # the share of streams that are left,
    leave_after: int = 10  # after so many events
    reads: float | Literal["never"] = 0.0  # bytes a second that the client takes; 0: all at once
    priority: Literal["interactive", "batch"] = "interactive"
    regions: tuple[str, ...] = ()


class Event(Table, frozen=True, kw_only=True):
    """What happens: a fault of the mock, or something that is done to the gateway."""

    at: Seconds
    until: Seconds | None = None  # a fault is over then; absent: it stays
    on: Seconds | None = None  # the fault comes and goes: so long it is there,
    off: Seconds | None = None  # and so long not
    fault: str | None = None  # a kind of `bench.mock.faults`
    backend: str | None = None  # whose; absent: all
    status: int | None = None
    code: str | None = None
    probability: float | None = None
    after: int | None = None
    delay: Seconds | None = None
    retry_after: float | None = None
    retry_after_ms: int | None = None
    gateway: Literal["reload", "kill_worker"] | None = None
    configuration: str | None = None  # for a reload: what replaces the scenario's own

    @property
    def what(self) -> str:
        """In a few words."""
        return f"{self.backend or 'all'}: {self.fault}" if self.fault else str(self.gateway)

    def asked(self) -> Fault:
        """What the mock is told. Raises `msgspec.ValidationError`."""
        names = ("status", "code", "probability", "after", "delay", "retry_after", "retry_after_ms")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.delay is not None:
            given["delay"] = float(self.delay)
        return msgspec.convert({"kind": self.fault, "instance": self.backend, **given}, Fault)


class Bar(Table, frozen=True, kw_only=True):
    """What must hold from `since` to `until`: by when a request was due. One of the three limits."""

    says: str
    metric: Metric
    backend: str | None = None
    client: str | None = None  # absent: all
    since: Seconds = Seconds(0.0)
    until: Seconds | None = None  # absent: the end
    at_most: float | None = None
    at_least: float | None = None
    times_before: float | None = None  # at most so many times what it was before the first event,
    slack: float = 0.0  # or so much more, whichever is more: what this machine's own noise is


class Scenario(Table, frozen=True, kw_only=True):
    title: str
    story: str
    duration: Seconds
    warm_up: Seconds = Seconds(2.0)  # at least; at constant rates, until a second goes by in which all are answered
    workers: int = 2
    processes: int = 1  # that share the load
    bounds: dict[str, str | int] = msgspec.field(default_factory=dict)  # `listen.bounds` of the gateway
    model: Extras = msgspec.field(default_factory=dict)  # further keys of it in the gateway
    configuration: str = ""  # further tables of it, as TOML
    identities: Identities = Identities()
    arrivals: Arrivals | None = None
    backends: tuple[Backend, ...]
    load: tuple[Load, ...]
    events: tuple[Event, ...] = ()
    bars: tuple[Bar, ...] = ()

    @property
    def calm_until(self) -> float:
        """When the first event is."""
        return min((float(event.at) for event in self.events), default=float(self.duration))

    @property
    def grain(self) -> float:
        """Seconds that are counted as one."""
        return 1.0 if self.duration > LONG else 0.1

    @property
    def needs(self) -> frozenset[Credential]:
        """What a proxy must be able to tell clients by."""
        kinds: set[Credential] = {kind for kind, names in pool(self).items() if names}
        return frozenset(kinds | {"keys"} if named(self) else kinds)


def pool(scenario: Scenario) -> dict[Credential, tuple[str, ...]]:
    """The names of the clients in the pool, by what they show."""

    def those(one: str, count: int) -> tuple[str, ...]:
        return tuple(f"{one}-{number}" for number in range(1, count + 1))

    return {
        "certificates": those("device", scenario.identities.certificates),
        "keys": those("service", scenario.identities.keys),
        "tokens": those("application", scenario.identities.tokens),
    }


def named(scenario: Scenario) -> tuple[str, ...]:
    """The clients that loads name, each once."""
    alone = None if any(pool(scenario).values()) else ALONE
    return tuple(dict.fromkeys(name for load in scenario.load if (name := load.client or alone) is not None))


def clients_of(scenario: Scenario, load: Load) -> frozenset[str]:
    """Who asks what a load is of."""
    there = pool(scenario)
    if load.client is not None or not any(there.values()):
        return frozenset((load.client or ALONE,))
    return frozenset(name for kind in there if load.by in (None, kind) for name in there[kind])


def models(scenario: Scenario) -> tuple[str, ...]:
    """What is asked for."""
    return (CHAT, EMBEDDINGS) if any(load.kind == "embeddings" for load in scenario.load) else (CHAT,)


def even_interval(scenario: Scenario) -> float:
    """Seconds between two events as every backend keeps them; 0 where they are not the same, or none are kept."""
    kept = {float(backend.between_tokens) for backend in scenario.backends if not backend.jitter}
    return kept.pop() if len(kept) == 1 and not any(backend.jitter for backend in scenario.backends) else 0.0
