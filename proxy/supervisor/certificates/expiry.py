"""Announcing that certificates run out, before it hurts.

Each certificate is announced once at each of the configured numbers of days before its end, and once when it has
ended. What is found for the first time within several of them is announced for the tightest alone. After a restart,
what stands is said again. A CRL is announced when a quarter of its time is left and nothing newer has come, whether it
holds for an hour or for a month, and when it has lapsed.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import trio

from proxy.config.structs import Config, KeyVaultRef
from proxy.messages import CertificateSeen, ServerCertificate
from proxy.supervisor.certificates.inventory import ShownCertificates, Tracked, configured
from proxy.supervisor.events.events import Event

_LOOK_EVERY = 60.0
_DAY = 86_400.0
_HOUR = 3_600.0
_MINUTE = 60.0
_LATE = 0.25

_log = logging.getLogger("penstock.expiry")


class Thresholds:
    """Which numbers of days before the end have been announced, by certificate. Pure; 0 stands for the end itself."""

    def __init__(self, days: Iterable[int]) -> None:
        self._days = sorted({0, *days})
        self._announced: dict[str, int] = {}

    def crossed(self, tracked: Iterable[Tracked], now: float) -> list[Event]:
        """What is to be announced at `now`; it counts as announced. What is not `tracked` any more is forgotten."""
        events = []
        announced: dict[str, int] = {}
        for certificate in tracked:
            left = certificate.ends - now
            threshold = self._threshold(certificate, left)
            if threshold is None:
                continue
            last = self._announced.get(certificate.fingerprint)
            if last is None or threshold < last:
                events.append(_event(certificate, left))
                last = threshold
            announced[certificate.fingerprint] = last
        self._announced = announced
        return events

    def _threshold(self, tracked: Tracked, left: float) -> int | None:
        if tracked.use != "CRL":
            return next((days for days in self._days if left <= days * _DAY), None)
        if left <= 0:
            return 0
        return 1 if left <= _LATE * (tracked.ends - tracked.begins) else None


def _event(certificate: Tracked, left: float) -> Event:
    end = datetime.fromtimestamp(certificate.ends, UTC)
    what = certificate.name if certificate.client is None else f"the certificate of {certificate.name}"
    facts: dict[str, str | int | float] = {
        "certificate": certificate.name,
        "use": certificate.use,
        "subject": certificate.subject,
        "fingerprint": certificate.fingerprint,
        "not_after": end.isoformat(),
        "days_left": round(left / _DAY, 2),
    }
    if certificate.client is not None:
        facts["client"] = certificate.client
    when = f"on {end:%Y-%m-%d at %H:%M} UTC"
    if certificate.use == "CRL":
        if left <= 0:
            return Event("crl_lapsed", "error", f"{what} of {certificate.subject} lapsed {when}", facts)
        text = f"{what} of {certificate.subject} lapses in {_span(left)}, {when}, and nothing newer has come"
        return Event("crl_lapsing", "warning", text, facts)
    if left <= 0:
        return Event("certificate_expired", "error", f"{what} ({certificate.subject}) expired {when}", facts)
    text = f"{what} ({certificate.subject}) expires in {_span(left)}, {when}"
    return Event("certificate_expiring", "error" if left <= _DAY else "warning", text, facts)


def _span(seconds: float) -> str:
    size, unit = (_MINUTE, "minute") if seconds < _HOUR else (_HOUR, "hour") if seconds < 2 * _DAY else (_DAY, "day")
    count = round(seconds / size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


class Expiry:
    """Follows every certificate's end, and that of the CRLs which `lists` gives.

    `announce` hears of what was crossed; `wall` gives Unix time.
    """

    def __init__(
        self,
        config: Config,
        held: Mapping[KeyVaultRef, ServerCertificate],
        announce: Callable[[Event], None],
        *,
        lists: Callable[[], list[Tracked]] = list,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._configured = configured(config, held)
        self._shown = ShownCertificates()
        self._days = config.expiry.warn_days
        self._thresholds = Thresholds(self._days)
        self._announce = announce
        self.lists = lists
        self._wall = wall
        self._changed = trio.Event()

    async def run(self) -> None:
        """Look for ever: every minute, and when there is something new."""
        while True:
            self._changed = trio.Event()
            for event in self._thresholds.crossed([*self.tracked(), *self.lists()], self._wall()):
                self._announce(event)
            with trio.move_on_after(_LOOK_EVERY):
                await self._changed.wait()

    def reconfigure(self, config: Config, held: Mapping[KeyVaultRef, ServerCertificate]) -> None:
        """The configuration, or what it names, has changed. New thresholds are judged afresh."""
        self._configured = configured(config, held)
        self._shown.keep(client.name for client in config.clients)
        if config.expiry.warn_days != self._days:
            self._days = config.expiry.warn_days
            self._thresholds = Thresholds(self._days)
        self._changed.set()

    def saw(self, message: CertificateSeen) -> None:
        """A client has shown a certificate."""
        try:
            self._shown.note(message.client, message.der, self._wall())
        except ValueError:
            _log.warning("a certificate of client '%s' cannot be read; its end is not followed", message.client)
            return
        self._changed.set()

    def tracked(self) -> list[Tracked]:
        """Every certificate that is followed, the one that ends first at the front."""
        return sorted([*self._configured, *self._shown.tracked(self._wall())], key=lambda each: each.ends)
