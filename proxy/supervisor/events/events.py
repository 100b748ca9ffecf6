"""What the people who run the gateway should hear of: one place to say it, whoever hears it.

An event is rare and about the gateway, never about one request (that is the audit log's). It goes to the log, and to
everyone else who hears.
"""

import logging
from collections.abc import Callable
from typing import Literal

import msgspec

_log = logging.getLogger("penstock.events")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Event(msgspec.Struct, frozen=True):
    """`kind` is a stable word such as `certificate_expiring`; `facts` are safe to show and hold no secret."""

    kind: str
    severity: Literal["info", "warning", "error"]
    message: str
    facts: dict[str, str | int | float] = {}


class Events:
    """Where events go."""

    def __init__(self) -> None:
        self._hearers: list[Callable[[Event], None]] = []

    def heard_by(self, hearer: Callable[[Event], None]) -> None:
        """Have `hearer` told of each event from now on; it may not block or raise."""
        self._hearers.append(hearer)

    def announce(self, event: Event) -> None:
        _log.log(_LEVELS[event.severity], "%s: %s", event.kind, event.message)
        for hear in self._hearers:
            hear(event)
