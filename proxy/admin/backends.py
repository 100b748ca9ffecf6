"""Backends over the admin address: how their deployments do, and what can be set at run time.

GET  /api/backends                                        all deployments
POST /api/backends/{backend}/drain      {deployment?}     send nothing new there
POST /api/backends/{backend}/undrain    {deployment?}     send requests there again
POST /api/backends/{backend}/breaker    {state, for?, deployment?}     open or close breakers by hand
POST /api/backends/{backend}/weight     {deployment, weight, over?}    another weight, at once or step by step

Without `deployment` all of the backend's are meant. What is set lasts through reloads, and until the gateway ends.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.body import Cannot, read_body
from proxy.refusal import error_body

BreakerState = Literal["closed", "half_open", "open"]


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what is shown."""


class BreakerAtWorker(_Shown, frozen=True):
    """How one worker sees a deployment. `until`: when it is asked again, in Unix seconds."""

    worker: int
    state: str
    reason: str
    until: float | None = None


class FirstByte(_Shown, frozen=True):
    """Time to first byte, in seconds, as exact as the buckets of the metric."""

    p50: float
    p90: float
    p99: float


class DeploymentError(_Shown, frozen=True):
    """What went wrong, how often in a row, and when last, in Unix seconds."""

    text: str
    count: int
    time: float


class DeploymentStatus(_Shown, frozen=True):
    """A deployment of one backend, over all workers. `models`: the clients' names for it.

    `state` is the worst that any worker sees, `until` when its breaker lets a probe through, and `breakers` tell of
    each worker that does not see it closed. `held`: it was opened by hand. `drained`: nothing new is sent there; while
    requests are under way it is still draining, since `drained_since`.

    `weight` is what counts now, `weights` what the configuration says, by model; `weight_set`: it was set by hand, and
    `weight_goal` is what it is on its way to.
    `requests_per_second` is of the last ten seconds; tokens and shares of the last minute; `first_byte` of the last
    five. `remaining_*` and `utilisation` (0 to 1) are as the backend last reported. `errors`: the newest first.
    """

    models: tuple[str, ...]
    backend: str
    region: str
    tier: str
    deployment: str
    state: BreakerState
    reason: str | None = None
    until: float | None = None
    held: bool = False
    breakers: tuple[BreakerAtWorker, ...] = ()
    drained: Literal["draining", "drained"] | None = None
    drained_since: float | None = None
    weight: float = 1
    weights: dict[str, int] = {}
    weight_set: bool = False
    weight_goal: float | None = None
    in_flight: int | None = None
    requests_per_second: float = 0.0
    tokens_per_minute: int = 0
    error_share: float | None = None
    throttled_share: float | None = None
    remaining_tokens: int | None = None
    remaining_requests: int | None = None
    utilisation: float | None = None
    first_byte: FirstByte | None = None
    errors: tuple[DeploymentError, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether new requests may go there."""
        return self.state != "open" and self.drained is None and self.weight > 0


class BackendsStatus(_Shown, frozen=True):
    """All of them, or those that something was done to, at the moment `time`."""

    time: float
    deployments: tuple[DeploymentStatus, ...]


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None: all deployments of the backend."""

    deployment: str | None = None


class SetBreaker(Which, frozen=True, kw_only=True):
    """`for` is a duration such as `"5m"`, which is the default; it is of no use to a breaker that is closed."""

    state: Literal["open", "closed"]
    lasting: str | None = msgspec.field(default=None, name="for")


class SetWeight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`weight` None: the configuration's again. `over` is a duration: the weight gets there in a straight line."""

    deployment: str
    weight: float | None
    over: str | None = None


class Backends(Protocol):
    """Who answers. What changes something raises `Cannot`."""

    def listing(self) -> BackendsStatus: ...

    def drain(self, backend: str, wanted: Which) -> BackendsStatus: ...

    def undrain(self, backend: str, wanted: Which) -> BackendsStatus: ...

    def set_breaker(self, backend: str, wanted: SetBreaker) -> BackendsStatus: ...

    def set_weight(self, backend: str, wanted: SetWeight) -> BackendsStatus: ...


T = TypeVar("T")


def backend_routes(backends: Backends) -> list[Route]:
    async def listing(_request: Request) -> Response:
        return _json(backends.listing())

    async def drain(request: Request) -> Response:
        return _answer(request, backends.drain, await read_body(request, Which, empty=Which()))

    async def undrain(request: Request) -> Response:
        return _answer(request, backends.undrain, await read_body(request, Which, empty=Which()))

    async def breaker(request: Request) -> Response:
        return _answer(request, backends.set_breaker, await read_body(request, SetBreaker))

    async def weight(request: Request) -> Response:
        return _answer(request, backends.set_weight, await read_body(request, SetWeight))

    return [
        Route("/api/backends", listing, methods=["GET"]),
        Route("/api/backends/{backend}/drain", drain, methods=["POST"]),
        Route("/api/backends/{backend}/undrain", undrain, methods=["POST"]),
        Route("/api/backends/{backend}/breaker", breaker, methods=["POST"]),
        Route("/api/backends/{backend}/weight", weight, methods=["POST"]),
    ]


def _answer(request: Request, do: Callable[[str, T], BackendsStatus], wanted: T | Cannot) -> Response:
    try:
        if isinstance(wanted, Cannot):
            raise wanted
        return _json(do(request.path_params["backend"], wanted))
    except Cannot as cannot:
        return Response(error_body(cannot.code, str(cannot)), cannot.status, media_type="application/json")


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
