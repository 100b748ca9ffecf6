"""Records of refused handshakes: one each, up to a rate; past it they are counted, and the count is recorded.

A client whose certificate fails never gets as far as a request, and costs next to nothing to send again: a storm of
them must not flood the audit log. What is recorded one by one is bounded by worker, in bursts and in the long run.
"""

from collections.abc import Callable

import msgspec

from proxy.record.record import CredentialUsed, Record, timestamp
from proxy.refusal import Reason

BURST = 100
RATE = 10.0  # a second
COUNTED_EVERY = 10.0  # seconds between records of a mere count

_encode = msgspec.json.Encoder().encode


class Handshakes:
    """Times `now` are monotonic, `wall` is Unix time, both in seconds."""

    def __init__(self) -> None:
        self._credit = float(BURST)
        self._at = 0.0
        self._counted_at = -COUNTED_EVERY
        self._waiting: list[Record] = []
        self._uncounted = 0

    def add(self, reason: Reason, rule: str, source: str, fingerprint: str | None, now: float) -> None:
        """A handshake that was refused."""
        self._credit = min(float(BURST), self._credit + (now - self._at) * RATE)
        self._at = now
        if self._credit < 1.0:
            self._uncounted += 1
            return
        self._credit -= 1.0
        used = CredentialUsed("certificate" if reason is not Reason.CERTIFICATE_MISSING else "none", fingerprint)
        self._waiting.append(Record(credential=used, source=source, reason=reason.value, rule=rule))

    def due(self, now: float, wall: float, next_id: Callable[[], str]) -> list[bytes]:
        """The lines that are to be recorded now."""
        records, self._waiting = self._waiting, []
        if self._uncounted and now - self._counted_at >= COUNTED_EVERY:
            rule = f"{self._uncounted} more refused handshakes, which are not recorded one by one"
            records.append(Record(reason="handshakes_refused", rule=rule))
            self._uncounted, self._counted_at = 0, now
        for record in records:
            record.time = timestamp(wall)
            record.request_id = next_id()
        return [_encode(record) for record in records]
