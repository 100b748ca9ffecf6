"""What the mock was asked, and how each answer ended: for tests that ask what was forwarded. Bounded.

Nothing is left out of it: credentials are shown as they came, for the mock only ever sees those it made up.
"""

import hashlib
import time
from collections import deque
from typing import TypedDict

from bench.mock.faults import is_instance
from bench.mock.request import Request

_BODY_KEPT = 1 << 20
_BODIES_KEPT = 64 << 20


class Shown(TypedDict):
    """One request as the control address shows it.

    `at` is Unix time, `body` UTF-8 with what is none replaced, at most 1 MiB of it, `body_bytes` and `body_sha256` of
    all of it. `events` counts those handed to the kernel. `ended`: `None` while the answer is due, then `complete`,
    `client_gone` or `fault`. `gone_after`: seconds from the request to the client's leaving, if that was before the
    answer's end.
    """

    at: float
    instance: str
    deployment: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: str
    body_bytes: int
    body_sha256: str
    status: int | None
    events: int
    ended: str | None
    gone_after: float | None


class Received:
    """One request; the rest is filled in as its answer goes on."""

    __slots__ = (
        "at", "body", "body_bytes", "deployment", "digest", "ended", "events", "fields", "gone_after", "instance",
        "method", "status", "target",
    )  # fmt: skip

    def __init__(self, instance: str, request: Request) -> None:
        self.at = time.time()
        self.instance = instance
        self.deployment = ""
        self.method = request.method
        self.target = request.target
        self.fields = request.fields
        self.body = request.body
        self.body_bytes = len(request.body)
        self.digest = ""
        if self.body_bytes > _BODY_KEPT:
            self.digest = hashlib.sha256(request.body).hexdigest()
            self.body = request.body[:_BODY_KEPT]
        self.status: int | None = None
        self.events = 0
        self.ended: str | None = None
        self.gone_after: float | None = None

    def end(self, how: str) -> None:
        """The answer is over; the first to say so is right."""
        if self.ended is None:
            self.ended = how
            if how == "client_gone":
                self.gone_after = time.time() - self.at

    def shown(self) -> Shown:
        return {
            "at": self.at,
            "instance": self.instance,
            "deployment": self.deployment,
            "method": self.method.decode("latin-1"),
            "target": self.target.decode("latin-1"),
            "headers": [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self.fields],
            "body": self.body.decode("utf-8", "replace"),
            "body_bytes": self.body_bytes,
            "body_sha256": self.digest or hashlib.sha256(self.body).hexdigest(),
            "status": self.status,
            "events": self.events,
            "ended": self.ended,
            "gone_after": self.gone_after,
        }


class Log:
    """The last `keep` requests, and no more than 64 MiB of their bodies."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._entries: deque[Received] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, instance: str, request: Request) -> Received:
        received = Received(instance, request)
        self._entries.append(received)
        self._bytes += len(received.body)
        while len(self._entries) > self._keep or self._bytes > _BODIES_KEPT:
            self._bytes -= len(self._entries.popleft().body)
        return received

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def shown(self, since: float, instance: str | None, deployment: str | None, last: int) -> list[Shown]:
        """The `last` of them that match, the oldest first. Those to no instance only if asked for by name."""
        found = [
            entry
            for entry in self._entries
            if entry.at >= since
            and (entry.instance == instance if instance else is_instance(entry.instance))
            and deployment in (None, entry.deployment)
        ]
        return [entry.shown() for entry in found[-last:]]
