"""A job for the load generator, as types: who asks, for what, when, and over how many processes. Times are in seconds.

A job is plain data, so that it can be sent to the processes that share it, each with its part of the arrivals.
"""

from typing import Literal

import msgspec

Check = Literal["bytes", "text"]
"""How answers are checked: every byte, or what they say, where a proxy writes them anew (`bench.load.retold`)."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One of those who ask. A certificate with its key (paths), a gateway key, a token, or several of these."""

    client: str = ""
    certificate: str | None = None
    private_key: str | None = None
    api_key: str | None = None
    token: str | None = None
    weight: float = 1.0


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """What a share of the requests is; in a closed loop, of the clients, each of which stays with one mix.

    prompt, tokens  sizes of the prompt in bytes and of the completion in tokens: (least, most), drawn evenly
    interval        between two events, as the backend keeps it: what events are late against; 0: not measured
    leaves          the share of these streams that their clients leave, after `leave_after` events
    reads           bytes a second that the client takes; 0: all at once; `never`: it asks and does not read
    identities      names of the clients whose requests these are; empty: everyone's
    """

    kind: Literal["stream", "plain", "embeddings", "handshake"] = "stream"
    share: float = 1.0
    model: str = "gpt-4o"
    prompt: tuple[int, int] = (200, 200)
    tokens: tuple[int, int] = (64, 64)
    interval: float = 0.0
    leaves: float = 0.0
    leave_after: int = 10
    reads: float | Literal["never"] = 0.0
    identities: tuple[str, ...] = ()


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """When requests fall due.

    closed    `clients` ask, each again as soon as it has its answer; they start over `ramp` seconds
    constant  `rate` a second, evenly
    poisson   `rate` a second, at random
    ramp      from `rate` to `to`, evenly growing over the job
    step      `rate`, and from the middle of the job on `to`
    replay    as a recorded log says: its times, who asked, and sizes; `speed` times as fast, and none in the warm-up
    """

    kind: Literal["closed", "constant", "poisson", "ramp", "step", "replay"] = "closed"
    clients: int = 16
    ramp: float = 1.0
    rate: float = 0.0
    to: float = 0.0
    log: str | None = None  # an access log (common or combined format) or the gateway's audit log
    speed: float = 1.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Where the load goes, and all of what it is. What comes in the warm-up is not measured.

    url          https://HOST:PORT, which `root` vouches for, or http://
    headers      that all requests carry
    path         that they are asked at, where it is not Azure's own
    connections  at most so many at a time, all processes together, where arrivals are not closed
    grain        seconds of the moments by which requests are counted
    apart        clients whose requests are counted apart from all others'
    processes    that share the load; 1: none is started
    """

    url: str
    root: str | None
    identities: tuple[Identity, ...]
    mixes: tuple[Mix, ...]
    arrivals: Arrivals
    duration: float
    warm_up: float = 1.0
    connections: int = 10_000
    processes: int = 1
    seed: int = 0
    grain: float = 1.0
    apart: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    path: str | None = None
    check: Check = "bytes"
