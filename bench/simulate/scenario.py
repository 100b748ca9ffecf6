"""What one run is about, as plain data, and how such are drawn from a seed. Times are seconds from the run's start."""

import random
from enum import Enum

import msgspec

from proxy.config.structs import Breaker, Queueing, RetryBudget, Routing, Seconds

_REGIONS = ("swedencentral", "francecentral", "northeurope")


class Kind(Enum):
    """What can be wrong with a backend for a while. Each happens to `share` of its requests."""

    DOWN = "down"  # no connection
    RESET = "reset"  # before the head
    ERROR = "error"  # 5xx
    HANG = "hang"  # no first byte, ever
    BREAK = "break"  # in the middle of the answer
    SLOW = "slow"  # ten times as long
    THROTTLE = "throttle"  # 429, with `wait` as its retry-after
    REJECT = "reject"  # 401


class Trouble(msgspec.Struct, frozen=True):
    kind: Kind
    since: float
    until: float
    share: float = 1.0
    wait: float = 1.0


class Backend(msgspec.Struct, frozen=True):
    """A deployment. `first`: the median time to its first byte; half of all are within `spread` times of it."""

    name: str
    region: str
    tier: str = "standard"
    priority: int = 0
    weight: int = 1
    first: float = 0.3
    spread: float = 1.3
    between: float = 0.02  # from token to token
    capacity: int = 0  # requests at a time, 0: any
    tokens_per_minute: int = 0  # 0: any
    troubles: tuple[Trouble, ...] = ()


class Client(msgspec.Struct, frozen=True):
    """Asks at odd moments, `rate` times a second on average, whatever comes back. `leaves`: the share of its requests
    that it gives up before they are answered.
    """

    name: str
    rate: float
    regions: tuple[str, ...] = ()
    streams: float = 0.7
    tokens: int = 50
    leaves: float = 0.0
    priority: str = "interactive"
    timeout: float = 600.0  # s, in which an answer must have begun


class Death(msgspec.Struct, frozen=True):
    """A worker is lost with all it has under way; another takes its place at once."""

    at: float
    worker: int


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`delay`: how long a message between a worker and the supervisor takes at most. `calm`: so long, at the end,
    nothing happens any more, and everything is to be as if nothing had.
    """

    seed: int
    workers: int
    delay: float
    duration: float
    calm: float
    first_byte: float
    routing: Routing
    backends: tuple[Backend, ...]
    clients: tuple[Client, ...]
    deaths: tuple[Death, ...] = ()


def settling(routing: Routing, first_byte: float, longest: float) -> float:
    """Seconds after the last trouble within which all that was set aside has been tried again. `longest`: how long the
    longest trouble was.
    """
    breaker = routing.breaker
    hanging = first_byte + 10.0  # a probe that hangs, and those that wait for word of it
    misconfigured = 2 * longest + 2 * breaker.misconfigured_for
    return max(breaker.open_at_most, breaker.retry_after_at_most, misconfigured) + hanging + 5.0


def drawn(seed: int) -> Scenario:
    """A scenario for a seed: always the same one."""
    uniform = random.Random(seed)
    routing = Routing(
        attempts=uniform.randint(2, 4),
        retry_first_byte_timeout=uniform.random() < 0.7,
        breaker=Breaker(
            failures=uniform.randint(2, 6),
            open_for=Seconds(uniform.choice((1.0, 2.0, 5.0))),
            open_at_most=Seconds(uniform.choice((5.0, 10.0, 20.0))),
            retry_after_at_most=Seconds(uniform.choice((5.0, 15.0))),
            misconfigured_for=Seconds(uniform.choice((1.0, 3.0))),
        ),
        retries=RetryBudget(ratio=uniform.choice((0.05, 0.2)), at_least=uniform.choice((2, 100))),
        queue=Queueing(wait=Seconds(uniform.choice((0.0, 0.5, 2.0))), size=uniform.choice((3, 1000))),
    )
    backends = tuple(_backend(uniform, number) for number in range(uniform.randint(2, 5)))
    first_byte = uniform.choice((4.0, 8.0))
    longest = max((t.until - t.since for backend in backends for t in backend.troubles), default=0.0)
    calm = 30.0
    workers = uniform.randint(1, 4)
    deaths = tuple(
        Death(uniform.uniform(5, 30), uniform.randrange(workers)) for _ in range(uniform.choice((0, 0, 1, 2)))
    )
    return Scenario(
        seed=seed,
        workers=workers,
        delay=uniform.choice((0.0, 0.005, 0.2)),
        duration=30.0 + settling(routing, first_byte, longest) + calm,
        calm=calm,
        first_byte=first_byte,
        routing=routing,
        backends=backends,
        clients=_clients(uniform, backends),
        deaths=deaths,
    )


def _backend(uniform: random.Random, number: int) -> Backend:
    return Backend(
        name=f"b{number}",
        region=_REGIONS[number % len(_REGIONS)],
        tier=uniform.choice(("standard", "provisioned")),
        priority=uniform.choice((0, 0, 0, 1)) if number else 0,
        weight=uniform.choice((1, 1, 3)),
        first=uniform.choice((0.1, 0.3, 0.5)),
        troubles=tuple(_trouble(uniform) for _ in range(uniform.choice((0, 0, 1, 1, 2)))),
    )


def _trouble(uniform: random.Random) -> Trouble:
    since = uniform.uniform(2, 20)
    return Trouble(
        kind=uniform.choice(list(Kind)),
        since=since,
        until=since + uniform.uniform(0.2, 10),
        share=uniform.choice((1.0, 1.0, 0.5, 0.2)),
        wait=uniform.choice((0.05, 1.0, 4.0, 86_400.0)),
    )


def _clients(uniform: random.Random, backends: tuple[Backend, ...]) -> tuple[Client, ...]:
    regions = sorted({backend.region for backend in backends})
    return tuple(
        Client(
            name=f"c{number}",
            rate=uniform.choice((2.0, 5.0)),
            regions=() if not number or uniform.random() < 0.5 else (uniform.choice(regions),),
            streams=uniform.choice((0.0, 0.5, 1.0)) if number else 1.0,
            leaves=uniform.choice((0.0, 0.0, 0.1)),
            priority=uniform.choice(("interactive", "interactive", "batch")),
            timeout=uniform.choice((600.0, 600.0, 1.5)),
        )
        for number in range(uniform.randint(1, 3))
    )
