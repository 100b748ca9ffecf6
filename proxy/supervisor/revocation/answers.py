"""OCSP, asked and remembered: one question at a time about a certificate, whoever waits for it.

An answer is kept to its `nextUpdate`, and asked for anew before that. A responder that cannot be reached is left alone
for a moment, so that a storm of certificates does not wait for it one by one; one that answers what cannot be relied on
has failed this certificate, and no other.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import httpx
import trio

from proxy.identity.crl import Member
from proxy.identity.ocsp import ANSWER_AT_MOST, Answer, OcspUnusable, judge, request
from proxy.supervisor.revocation.fetch import Announce, FetchFailed, Network, Place, fetch, guarded

ANSWER_WITHIN = 1.5
"""Seconds: less than a worker waits for a verdict, so that it hears why there is none."""

_AT_ONCE = 32
_KEPT = 50_000
_LEFT_ALONE = 3.0
_RESPONDERS_AT_MOST = 2  # of one certificate
_RESPONDERS_REMEMBERED = 1_000


class Settings(NamedTuple):
    """`responder`: off, aia, or an address. `allowed`: networks a certificate's own address may lead to."""

    responder: str = "off"
    allowed: tuple[Network, ...] = ()
    refresh: float = 300.0


class _Kept(NamedTuple):
    answer: Answer
    asked: float


class Answers:
    """`announce` hears of responders that fail and recover, once each. Times are Unix times of `wall`."""

    def __init__(self, http: httpx.AsyncClient, announce: Announce, wall: Callable[[], float] = time.time) -> None:
        self.settings = Settings()
        self._http = http
        self._announce = announce
        self._wall = wall
        self._kept: dict[bytes, _Kept] = {}
        self._asking: dict[bytes, trio.Event] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._unusable: dict[bytes, str] = {}
        self._limit = trio.CapacityLimiter(_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Answers {len(self._kept)} kept, {len(self._failed)} responders failing>"

    def configure(self, settings: Settings) -> None:
        """Go by these settings. What another responder said is forgotten."""
        if settings.responder != self.settings.responder:
            self._kept.clear()
            self._failed.clear()
            self._unusable.clear()
        self.settings = settings

    @property
    def failing(self) -> frozenset[str]:
        """The responders that could not be reached when they were last asked."""
        return frozenset(self._failed)

    def responders(self, member: Member) -> Sequence[str]:
        """Where a certificate's status is asked for."""
        if self.settings.responder == "aia":
            return member.responders[:_RESPONDERS_AT_MOST]
        return () if self.settings.responder == "off" else (self.settings.responder,)

    def kept(self, member: Member, now: float) -> Answer | None:
        """What was answered and still holds."""
        found = self._kept.get(member.key)
        return found.answer if found is not None and found.answer.until > now else None

    async def ask(self, member: Member, issuer: Member) -> None:
        """Have what is known of a certificate fresh, if its responder answers; `failure` says if not."""
        if not self.responders(member):
            return
        kept = self._kept.get(member.key)
        now = self._wall()
        if kept is not None and kept.answer.until > now and now - kept.asked < self.settings.refresh / 2:
            return
        asking = self._asking.get(member.key)
        if asking is not None:
            await asking.wait()
            return
        self._asking[member.key] = done = trio.Event()
        try:
            with trio.move_on_after(ANSWER_WITHIN):
                async with self._limit:
                    await self._ask(member, issuer)
        finally:
            del self._asking[member.key]
            done.set()

    def failure(self, member: Member) -> str:
        """Why there is no answer about a certificate."""
        for responder in self.responders(member):
            if responder in self._failed:
                return self._failed[responder][1]
        return self._unusable.get(member.key, "no answer yet")

    async def _ask(self, member: Member, issuer: Member) -> None:
        for responder in self.responders(member):
            failed = self._failed.get(responder)
            if failed is not None and self._wall() - failed[0] < _LEFT_ALONE:
                continue
            try:
                answer = await self._exchange(responder, member, issuer)
            except FetchFailed as error:
                self._note_failure(responder, str(error))
            except OcspUnusable as error:
                self._note_success(responder)
                self._note_unusable(responder, member.key, str(error))
            else:
                self._note_success(responder)
                self._keep(member.key, answer)
                return

    async def _exchange(self, responder: str, member: Member, issuer: Member) -> Answer:
        place = Place(responder)
        if self.settings.responder == "aia":
            place = await guarded(responder, self.settings.allowed)
        nonce = secrets.token_bytes(32)  # RFC 9654
        question = request(member, issuer, nonce)
        within = ANSWER_WITHIN - 0.1
        data = await fetch(
            self._http, place, at_most=ANSWER_AT_MOST, within=within, post=question, kind="application/ocsp-request"
        )
        return judge(data, member, issuer, nonce, self._wall())

    def _note_unusable(self, responder: str, key: bytes, fact: str) -> None:
        if key not in self._unusable:
            self._announce("warning", f"OCSP responder {_printable(responder)}: {fact}")
            if len(self._unusable) >= _RESPONDERS_REMEMBERED:
                del self._unusable[next(iter(self._unusable))]
        self._unusable[key] = fact

    def _keep(self, key: bytes, answer: Answer) -> None:
        self._unusable.pop(key, None)
        self._kept.pop(key, None)
        self._kept[key] = _Kept(answer, self._wall())
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    def _note_failure(self, responder: str, fact: str) -> None:
        if responder not in self._failed:
            self._announce("warning", f"OCSP responder {_printable(responder)}: {fact}")
            if len(self._failed) >= _RESPONDERS_REMEMBERED:
                del self._failed[next(iter(self._failed))]
        self._failed[responder] = self._wall(), fact

    def _note_success(self, responder: str) -> None:
        if self._failed.pop(responder, None) is not None:
            self._announce("info", f"OCSP responder {_printable(responder)} answers again")


def _printable(text: str) -> str:
    """An address out of a certificate, for the log."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
