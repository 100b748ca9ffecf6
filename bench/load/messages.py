"""What the processes of a job tell one another, over pipes: four bytes of length, then msgpack. No I/O."""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from bench.failure import BenchError
from bench.load.job import Job
from bench.load.outcome import Told
from bench.load.results import Packed

_AT_MOST = 256 << 20


class Begin(msgspec.Struct, frozen=True, tag=True):
    """To a new process: its part of the job. `tells`: of every request."""

    job: Job
    part: int
    parts: int
    tells: bool


class Start(msgspec.Struct, frozen=True, tag=True):
    """The load begins (monotonic)."""

    begins: float


class Fresh(msgspec.Struct, frozen=True, tag=True):
    """Count anew from a moment that is soon."""

    since: float


class Take(msgspec.Struct, frozen=True, tag=True):
    """Say what was counted since the last time."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The measured time is over: say what was counted, wait so long for the last answers, and say it again."""

    seconds: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The process has what it needs."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It cannot go on, in words for people."""

    why: str


class Counted(msgspec.Struct, frozen=True, tag=True):
    """What was counted since the last time and up to `at`, of what began at `since` (both monotonic).

    second  the one that is over; None: it was asked for
    cpu     seconds that the process took for it
    clients that have a connection
    over    requests that had no end, once no more is to come; None: more is
    told    every request that is over, where that was asked for
    """

    since: float
    at: float
    second: int | None
    results: Packed
    cpu: float
    clients: int
    over: int | None
    told: list[Told]


Order: TypeAlias = Begin | Start | Fresh | Take | Finish
Report: TypeAlias = Ready | Failed | Counted

_orders = msgspec.msgpack.Decoder(Order)
_reports = msgspec.msgpack.Decoder(Report)


def framed(message: Order | Report) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data


class Stream:
    """Messages out of bytes as they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def orders(self, data: bytes) -> Iterator[Order]:
        return map(_orders.decode, self._frames(data))

    def reports(self, data: bytes) -> Iterator[Report]:
        return map(_reports.decode, self._frames(data))

    def _frames(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        while len(self._held) >= 4:
            length = int.from_bytes(self._held[:4], "big")
            if length > _AT_MOST:
                raise BenchError("a process of the load speaks another language; start the bench anew")
            if len(self._held) < 4 + length:
                return
            frame = bytes(self._held[4 : 4 + length])
            del self._held[: 4 + length]
            yield frame
