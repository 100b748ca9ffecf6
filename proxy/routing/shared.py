"""What a worker says of deployments, and what it is told of them: plain data, on its way into messages. Pure."""

import msgspec


class DeploymentSeen(msgspec.Struct, frozen=True, array_like=True):
    """One deployment at one worker. What is counted is since the last report; the rest is as it is.

    `tokens` are counted as estimated when a request goes out, and put right when it ends: they can be less than none.
    `remaining_*` are as the backend last reported, `utilisation` (0 to 1) if it did since the last report; None: it has
    not, or too long ago. `ttfb` are counts by the buckets of the metric of that name, the infinite one last.
    """

    backend: str
    deployment: str
    in_flight: int
    requests: int
    tokens: int
    failed: int
    throttled: int
    ttfb: tuple[int, ...]
    ewma: float  # s, of the time to first byte
    remaining_tokens: int | None = None
    remaining_requests: int | None = None
    utilisation: float | None = None
    last_error: str | None = None


class DeploymentTold(msgspec.Struct, frozen=True, array_like=True):
    """What holds of a deployment over all workers. `tokens` and `in_flight` are those of the other workers, of the last
    minute.

    `drained`: nothing new is sent there. `weight`, a fraction while it is on its way to another, replaces the
    configuration's; None: that stands; 0: as drained.
    """

    backend: str
    deployment: str
    in_flight: int = 0
    tokens: int = 0
    drained: bool = False
    weight: float | None = None
    utilisation: float | None = None
