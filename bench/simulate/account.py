"""Every attempt and every end of a request of a run, as it was: what laws are judged by, and plans are made from."""

import msgspec

from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome


class Attempt(msgspec.Struct):
    """Times count from the run's start. `over` and `outcome`: None while it is under way, and for good where its worker
    died. `left`: the retry-after that it was refused with.
    """

    request: int
    worker: int
    life: int  # which of the workers that had this place
    key: Key
    region: str
    began: float
    further: bool  # not the request's first
    probe: bool
    over: float | None = None
    outcome: Outcome | None = None
    left: float | None = None


class Ended(msgspec.Struct, frozen=True):
    """A request's end. `how`: answered, broken, failed, refused, left or lost. `first`: seconds to its first byte."""

    request: int
    client: str
    worker: int
    life: int
    began: float
    over: float
    how: str
    reason: str
    attempts: int
    first: float | None = None
    told: float | None = None  # the retry-after of a refusal
    untried: tuple[Key, ...] = ()  # of a refusal: those that were in the plan and not asked


class Wait(msgspec.Struct):
    """A request's wait for a deployment. `over` None: its worker died. `released`: what it got, None: nothing. `turn`
    tells the order of those that were over at once.
    """

    request: int
    client: str
    worker: int
    life: int
    priority: int
    keys: tuple[Key, ...]
    since: float
    over: float | None = None
    released: Key | None = None
    turn: int = 0


class Stuck(msgspec.Struct, frozen=True):
    """A breaker as it is at the end of a run, where it is not closed."""

    worker: int
    key: Key
    state: str
    reason: str
    until: float


class Account(msgspec.Struct):
    """`in_flight`: what routers still count at the end, when nothing is under way."""

    attempts: list[Attempt]
    ended: list[Ended]
    waits: list[Wait]
    stuck: list[Stuck]
    in_flight: dict[tuple[int, Key], int]
    asked: int = 0
