"""Audit records on their way to an OTLP collector, once they are in the file: in batches, bounded, never in the way.

Written with httpx and not with OpenTelemetry's exporter, which brings threads of its own, blocks in requests and
queues what it cannot count. What the collector does not take is dropped and counted; the file has it all.
"""

import socket
import time
from collections import deque
from collections.abc import Callable

import trio

from proxy import __version__
from proxy.config.structs import Audit
from proxy.record import otlp
from proxy.supervisor.events.delivery import Delivery, Target

_QUEUED = 20_000
_BATCH = 500
_LINGER = 0.5


class Exporter:
    """Takes records, and exports them while a collector is configured. `dropped` counts those it did not take."""

    def __init__(self, audit: Audit, *, linger: float = _LINGER, wall: Callable[[], float] = time.time) -> None:
        self.dropped = 0
        self._linger = linger
        self._wall = wall
        self._delivery = Delivery("OTLP collector")
        self._queue: deque[bytes] = deque()
        self._wake = trio.Event()
        self._resource = {
            "service.name": "penstock",
            "service.version": __version__,
            "host.name": socket.gethostname(),
        }
        self._target: Target | None
        self.reconfigure(audit)

    def __repr__(self) -> str:
        return f"<Exporter {len(self._queue)} queued, {self.dropped} dropped>"

    def reconfigure(self, audit: Audit) -> None:
        self._target = Target(audit.otlp, audit.otlp_token) if audit.otlp is not None else None

    def take(self, lines: list[bytes]) -> None:
        """Queue records as they were written. Past the bound the oldest are dropped."""
        if self._target is None:
            return
        self._queue.extend(lines)
        while len(self._queue) > _QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._wake.set()

    async def run(self) -> None:
        """Export for ever."""
        while True:
            await self._wake.wait()
            await trio.sleep(self._linger)
            self._wake = trio.Event()
            while self._queue:
                await self._export([self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))])

    async def _export(self, batch: list[bytes]) -> None:
        target = self._target
        if target is not None:
            body = await trio.to_thread.run_sync(otlp.request, batch, self._resource, self._wall())
            if await self._delivery.deliver(target, body):
                return
        self.dropped += len(batch)
