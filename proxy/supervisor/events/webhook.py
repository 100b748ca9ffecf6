"""Events posted to a webhook as JSON, in their order, a few at a time at most behind what happens.

`{"kind": …, "severity": …, "message": …, "facts": {…}, "time": …, "gateway": …}`; a webhook that is slow or away delays
nothing here, and of more events than are kept for it the oldest are dropped and counted.
"""

import socket
import time
from collections import deque
from collections.abc import Callable

import msgspec
import trio

from proxy.config.structs import Audit
from proxy.record.record import timestamp
from proxy.supervisor.events.delivery import Delivery, Target
from proxy.supervisor.events.events import Event

_QUEUED = 256


class _Posted(msgspec.Struct):
    kind: str
    severity: str
    message: str
    facts: dict[str, str | int | float]
    time: str
    gateway: str


class Webhook:
    """Hears events, and posts them while one is configured. `dropped` counts those that were not delivered."""

    def __init__(self, audit: Audit, *, wall: Callable[[], float] = time.time) -> None:
        self.dropped = 0
        self._wall = wall
        self._delivery = Delivery("webhook")
        self._queue: deque[bytes] = deque()
        self._wake = trio.Event()
        self._gateway = socket.gethostname()
        self._target: Target | None
        self.reconfigure(audit)

    def __repr__(self) -> str:
        return f"<Webhook {len(self._queue)} queued, {self.dropped} dropped>"

    def reconfigure(self, audit: Audit) -> None:
        self._target = Target(audit.webhook, audit.webhook_token) if audit.webhook is not None else None

    def hear(self, event: Event) -> None:
        """Queue an event."""
        if self._target is None:
            return
        if len(self._queue) >= _QUEUED:
            self._queue.popleft()
            self.dropped += 1
        posted = _Posted(event.kind, event.severity, event.message, event.facts, timestamp(self._wall()), self._gateway)
        self._queue.append(msgspec.json.encode(posted))
        self._wake.set()

    async def run(self) -> None:
        """Post for ever."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                target, body = self._target, self._queue.popleft()
                if target is None or not await self._delivery.deliver(target, body):
                    self.dropped += 1
