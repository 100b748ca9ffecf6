"""Refused handshakes: recorded one by one up to a rate, and counted past it."""

from itertools import count

import msgspec

from proxy.record.handshakes import BURST, COUNTED_EVERY, RATE, Handshakes
from proxy.record.record import Record
from proxy.refusal import Reason


def lines(handshakes: Handshakes, now: float) -> list[Record]:
    ids = count()
    found = handshakes.due(now, now, lambda: f"id-{next(ids)}")
    return [msgspec.json.decode(line, type=Record) for line in found]


def refuse(handshakes: Handshakes, times: int, now: float) -> None:
    for _ in range(times):
        handshakes.add(Reason.CERTIFICATE_EXPIRED, "expired", "192.0.2.1", "sha256:ab", now)


def test_one_each() -> None:
    handshakes = Handshakes()
    refuse(handshakes, 2, 1_000.0)
    first, second = lines(handshakes, 1_000.0)
    assert (first.reason, first.credential.kind, first.credential.fingerprint) == (
        "certificate_expired", "certificate", "sha256:ab",
    )  # fmt: skip
    assert (first.operation, first.decision, first.source) == (None, "refused", "192.0.2.1")
    assert first.request_id != second.request_id
    assert lines(handshakes, 1_000.0) == []


def test_a_storm_is_counted() -> None:
    handshakes = Handshakes()
    refuse(handshakes, BURST + 500, 1_000.0)
    found = lines(handshakes, 1_000.0)
    assert len(found) == BURST + 1
    assert (found[-1].reason, found[-1].rule) == (
        "handshakes_refused", "500 more refused handshakes, which are not recorded one by one",
    )  # fmt: skip
    refuse(handshakes, 1_000, 1_001.0)
    assert len(lines(handshakes, 1_001.0)) == int(RATE)
    [counted] = lines(handshakes, 1_000.0 + COUNTED_EVERY)
    assert counted.rule is not None
    assert counted.rule.startswith("990 more")


def test_one_without_any_certificate() -> None:
    handshakes = Handshakes()
    handshakes.add(Reason.CERTIFICATE_MISSING, "mode required", "192.0.2.1", None, 1_000.0)
    assert lines(handshakes, 1_000.0)[0].credential.kind == "none"
