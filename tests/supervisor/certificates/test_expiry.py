"""What runs out is announced at each threshold once, whatever the order in which things become known."""

from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from proxy.config.structs import Client, Config, KeyVaultRef, Listen
from proxy.config.structs import Expiry as Warnings
from proxy.messages import CertificateSeen
from proxy.supervisor.certificates.expiry import Expiry, Thresholds
from proxy.supervisor.certificates.inventory import Tracked
from proxy.supervisor.events.events import Event
from tests.supervisor.certificates.test_inventory import DAY, NOW, made

START = NOW.timestamp()


def ending(days: float, name: str = "listen.certificate", client: str | None = None) -> Tracked:
    return Tracked(name, "client" if client else "server", f"CN={name}", f"sha256:{name}", START + days * DAY, client)


def told(thresholds: Thresholds, tracked: list[Tracked], day: float) -> list[tuple[str, str, float]]:
    events = thresholds.crossed(tracked, START + day * DAY)
    return [(event.kind, event.severity, float(event.facts["days_left"])) for event in events]


def lapsing(hours: float, of: float) -> Tracked:
    """A CRL that lapses so many hours after the start, and holds for `of` hours."""
    ends = START + hours * 3_600
    return Tracked("CRL http://pki.example/ca.crl", "CRL", "CN=CA", "sha256:crl", ends, begins=ends - of * 3_600)


def test_a_crl_is_told_of_when_the_next_one_is_late() -> None:
    thresholds = Thresholds((30, 14, 7, 1))
    crl = lapsing(24, of=24)
    assert thresholds.crossed([crl], START + 17 * 3_600) == []
    [event] = thresholds.crossed([crl], START + 18.5 * 3_600)
    assert (event.kind, event.severity) == ("crl_lapsing", "warning")
    assert event.message == (
        "CRL http://pki.example/ca.crl of CN=CA lapses in 6 hours, on 2026-11-02 at 00:00 UTC, "
        "and nothing newer has come"
    )
    assert thresholds.crossed([crl], START + 20 * 3_600) == []
    [event] = thresholds.crossed([crl], START + 25 * 3_600)
    assert (event.kind, event.severity) == ("crl_lapsed", "error")
    assert event.message == "CRL http://pki.example/ca.crl of CN=CA lapsed on 2026-11-02 at 00:00 UTC"
    assert thresholds.crossed([crl], START + 26 * 3_600) == []
    [event] = Thresholds(()).crossed([lapsing(0.2, of=1)], START)
    assert "lapses in 12 minutes" in event.message


def test_each_threshold_once() -> None:
    thresholds = Thresholds((30, 14, 7, 1))
    tracked = [ending(40)]
    seen = [(day, *found) for day in range(45) for found in told(thresholds, tracked, day)]
    assert seen == [
        (10, "certificate_expiring", "warning", 30.0),
        (26, "certificate_expiring", "warning", 14.0),
        (33, "certificate_expiring", "warning", 7.0),
        (39, "certificate_expiring", "error", 1.0),
        (40, "certificate_expired", "error", 0.0),
    ]


@pytest.mark.parametrize(("days", "count"), [(31, 0), (30, 1), (6.5, 1), (0.5, 1), (-3, 1)])
def test_what_is_found_late_is_told_once(days: float, count: int) -> None:
    thresholds = Thresholds((7, 30, 1, 14))
    assert len(told(thresholds, [ending(days)], 0)) == count
    assert told(thresholds, [ending(days)], 0.01) == []


def test_a_certificate_that_was_replaced_is_told_of_no_more_and_its_successor_anew() -> None:
    thresholds = Thresholds((30,))
    assert told(thresholds, [ending(20, "old")], 0)
    assert told(thresholds, [ending(60, "new")], 1) == []
    assert told(thresholds, [ending(60, "new")], 40) == [("certificate_expiring", "warning", 20.0)]


@pytest.mark.parametrize(
    ("tracked", "words"),
    [
        (ending(14), "listen.certificate (CN=listen.certificate) expires in 14 days, on 2026-11-15 at 00:00 UTC"),
        (ending(1), "listen.certificate (CN=listen.certificate) expires in 24 hours, on 2026-11-02 at 00:00 UTC"),
        (ending(1 / 24), "listen.certificate (CN=listen.certificate) expires in 1 hour, on 2026-11-01 at 01:00 UTC"),
        (ending(-2), "listen.certificate (CN=listen.certificate) expired on 2026-10-30 at 00:00 UTC"),
        (
            ending(7, "client first", "first"),
            "the certificate of client first (CN=client first) expires in 7 days, on 2026-11-08 at 00:00 UTC",
        ),
    ],
)
def test_it_is_said_in_words(tracked: Tracked, words: str) -> None:
    [event] = Thresholds((30,)).crossed([tracked], START)
    assert event.message == words
    assert event.facts["fingerprint"] == tracked.fingerprint
    assert event.facts["not_after"] == datetime.fromtimestamp(tracked.ends, UTC).isoformat()
    assert event.facts.get("client") == tracked.client


async def test_a_certificate_is_announced_when_it_is_seen_and_as_time_goes_by(autojump_clock: MockClock) -> None:
    config = Config(
        listen=Listen(certificate=KeyVaultRef(key_vault="https://vault.example", name="none")),
        clients=(Client(name="first"),),
    )
    events: list[Event] = []
    expiry = Expiry(config, {}, events.append, wall=lambda: START + trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expiry.run)
        expiry.saw(CertificateSeen("first", made("CN=device", 31)))
        expiry.saw(CertificateSeen("first", b"no certificate"))
        await trio.sleep(1)
        assert [each.subject for each in expiry.tracked()] == ["CN=device"]
        assert events == []
        await trio.sleep(1 * DAY)
        assert [event.facts["client"] for event in events] == ["first"]
        expiry.saw(CertificateSeen("first", made("CN=late", 3)))
        await trio.sleep(1)
        assert [event.facts["subject"] for event in events[1:]] == ["CN=late"]
        await trio.sleep(DAY)
        expiry.reconfigure(Config(listen=config.listen, expiry=Warnings(warn_days=(100,))), {})
        await trio.sleep(1)
        assert expiry.tracked() == []
        assert len(events) == 3, "the client is gone; meanwhile the late one came within a day"
        nursery.cancel_scope.cancel()
