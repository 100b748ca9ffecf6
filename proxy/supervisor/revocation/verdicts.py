"""One verdict for each path seen, kept current: asked for once, renewed before it lapses, told again when it changes.

The whole path is judged, each certificate but the root (which is trusted by configuration alone). Revoked, if any
source says so of any; good, if for each at least one says so; otherwise the status cannot be told, and what that means
is the configuration's: `hard` waits for a source that is out (503) and refuses what none knows (401), `soft` accepts.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from itertools import pairwise
from typing import Literal, NamedTuple

import httpx
import trio

from proxy.config.structs import ClientCertificates
from proxy.identity.crl import Member
from proxy.identity.known import AskCertificate, CertificateVerdict, Settled
from proxy.messages import Downward, Verdicts
from proxy.supervisor.events.events import Event, Events
from proxy.supervisor.revocation.answers import ANSWER_WITHIN, Answers, Settings
from proxy.supervisor.revocation.fetch import client
from proxy.supervisor.revocation.lists import Lists

_SEEN = 20_000
_PENDING = 2_000
_UNUSED_AFTER = 3600.0  # then a path is renewed no more, and asked for again if it comes back
_RENEW_EVERY = 0.5
_RENEWED_AT_ONCE = 16
_TRY_AGAIN = 5.0
_FIRST_LISTS = 3.0
_REVOKED_FOR = 86_400.0
_A_SLICE = 200
_TOLD_AT_ONCE = 500

Post = Callable[[int | None, Downward], None]
"""To one worker, or to all (None)."""


class Finding(NamedTuple):
    """What the sources say of one certificate, or of a path. `until` is Unix time."""

    status: Literal["good", "revoked", "out", "none"]
    until: float
    reason: str


class _Seen:
    """A path, what was last said of it, and when it was last asked for."""

    __slots__ = ("asked", "path", "renew", "verdict")

    def __init__(self, path: Sequence[Member], asked: float) -> None:
        self.path = path
        self.asked = asked
        self.renew = math.inf
        self.verdict: CertificateVerdict | None = None


class Revocation:
    """Answers the workers' questions about certificates, and tells what changes. Times are Unix times of `wall`."""

    def __init__(
        self, settings: ClientCertificates, post: Post, events: Events, wall: Callable[[], float] = time.time
    ) -> None:
        self._post = post
        self._events = events
        self._wall = wall
        self._http: httpx.AsyncClient = client()
        self.lists = Lists(self._http, self._lists_changed, self._announce, wall)
        self.answers = Answers(self._http, self._announce, wall)
        self._settings = settings
        self._seen: dict[str, _Seen] = {}
        self._judging: dict[str, list[int]] = {}
        self._pending: list[tuple[str, tuple[bytes, ...]]] = []
        self._wake = trio.Event()
        self._stale = False
        self._limit = trio.CapacityLimiter(_RENEWED_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Revocation {len(self._seen)} seen, {self.lists!r}, {self.answers!r}>"

    @property
    def current(self) -> Verdicts:
        """All verdicts, for a worker that knows none."""
        return Verdicts(tuple(seen.verdict for seen in self._seen.values() if seen.verdict is not None))

    async def run(self) -> None:
        """Keep lists and verdicts current, for ever."""
        async with self._http, trio.open_nursery() as nursery:
            nursery.start_soon(self.lists.run)
            await self.configure(self._settings)
            nursery.start_soon(self._renew)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                pending, self._pending = self._pending, []
                for thumbprint, chain in pending:
                    nursery.start_soon(self._answer, thumbprint, chain)
                if self._stale:
                    self._stale = False
                    await self._judge_all()

    async def configure(self, settings: ClientCertificates) -> None:
        """Go by these settings from now on; everything seen is judged again."""
        self._settings = settings
        refresh = float(settings.revocation_refresh)
        allowed = tuple(ip_network(network) for network in settings.ocsp_allow)
        off = settings.mode_of_revocation == "off"
        self.answers.configure(Settings("off" if off else settings.ocsp, allowed, refresh))
        await self.lists.configure(() if off else settings.crls, refresh)
        with trio.move_on_after(_FIRST_LISTS):
            await self.lists.first.wait()
        self._lists_changed()

    def ask(self, worker: int, question: AskCertificate) -> None:
        """A worker's question; its answer is posted: what is known by now at once, else what is found out."""
        now = self._wall()
        seen = self._seen.get(question.thumbprint)
        if seen is not None:
            seen.asked = now
            if seen.verdict is not None and seen.verdict.until > now:
                self._tell(worker, question.thumbprint, seen.verdict)
                return
        waiting = self._judging.get(question.thumbprint)
        if waiting is not None:
            waiting.append(worker)
        elif len(self._judging) >= _PENDING:
            self._post(worker, Settled(question.about, False))
        else:
            self._judging[question.thumbprint] = [worker]
            self._pending.append((question.thumbprint, question.chain))
            self._wake.set()

    async def _answer(self, thumbprint: str, chain: tuple[bytes, ...]) -> None:
        """Find a verdict, and tell all who wait for it; the other workers will want it, too."""
        try:
            seen = self._seen.get(thumbprint) or self._remember(thumbprint, chain)
            with trio.move_on_after(ANSWER_WITHIN):
                await self.lists.first.wait()
            await self._refresh(seen.path)
            verdict = self._judge(thumbprint, seen)
            seen.renew = self._renewal(verdict)
        except ValueError:
            verdict = CertificateVerdict(thumbprint, "refused", math.inf, "its path cannot be read")
        workers = self._judging.pop(thumbprint)
        self._post(None, Verdicts((verdict,)))
        for worker in workers:
            self._post(worker, Settled(AskCertificate(thumbprint, ()).about, True))

    def _remember(self, thumbprint: str, chain: tuple[bytes, ...]) -> _Seen:
        """Raises `ValueError` for a path that cannot be read."""
        seen = self._seen[thumbprint] = _Seen([Member(der) for der in chain], self._wall())
        if len(self._seen) > _SEEN:
            # What is no longer kept current must not be relied on.
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._post(None, Verdicts((CertificateVerdict(oldest, "unknown", 0.0, "not kept"),)))
        return seen

    def _tell(self, worker: int, thumbprint: str, verdict: CertificateVerdict) -> None:
        self._post(worker, Verdicts((verdict,)))
        self._post(worker, Settled(AskCertificate(thumbprint, ()).about, True))

    # Judging.

    async def _refresh(self, path: Sequence[Member]) -> None:
        """Have responders asked about every certificate of a path, at once."""
        async with trio.open_nursery() as nursery:
            for member, issuer in pairwise(path):
                nursery.start_soon(self.answers.ask, member, issuer)

    def _judge(self, thumbprint: str, seen: _Seen) -> CertificateVerdict:
        """The verdict on a path, by what is known now."""
        now = self._wall()
        found = self.finding(seen.path, now)
        match found.status:
            case "good":
                verdict = CertificateVerdict(thumbprint, "good", found.until)
            case "revoked":
                verdict = CertificateVerdict(thumbprint, "revoked", now + _REVOKED_FOR, found.reason)
            case "none" if self._settings.mode_of_revocation == "hard":
                verdict = CertificateVerdict(thumbprint, "refused", now + _TRY_AGAIN, found.reason)
            case _:
                verdict = CertificateVerdict(thumbprint, "unknown", now + _TRY_AGAIN, found.reason)
        seen.verdict = verdict
        return verdict

    def _renewal(self, verdict: CertificateVerdict) -> float:
        """When to ask again. Lists renew themselves; responders are asked."""
        now = self._wall()
        left = verdict.until - now
        if self.answers.settings.responder != "off":
            left = min(left, self._settings.revocation_refresh)
        return now + max(_RENEW_EVERY, left)

    def finding(self, path: Sequence[Member], now: float) -> Finding:
        """What all sources together say of a path at `now`."""
        findings = [self._of_one(depth, *pair, now) for depth, pair in enumerate(pairwise(path))]
        for status in ("revoked", "none", "out"):
            for found in findings:
                if found.status == status:
                    return found
        return Finding("good", min((found.until for found in findings), default=math.inf), "")

    def _of_one(self, depth: int, member: Member, issuer: Member, now: float) -> Finding:
        whose = "the certificate" if depth == 0 else f"the authority {depth} above it"
        listed = self.lists.look_up(member, issuer, now)
        answer = self.answers.kept(member, now)
        if listed.status == "revoked":
            return Finding("revoked", listed.until, f"{whose} is revoked by CRL")
        if answer is not None and answer.status == "revoked":
            return Finding("revoked", answer.until, f"{whose} is revoked by OCSP")
        ends = [listed.until] if listed.status == "good" else []
        if answer is not None and answer.status == "good":
            ends.append(answer.until)
        if ends:
            return Finding("good", max(ends), "")
        if answer is not None:
            return Finding("none", answer.until, f"the responder does not know {whose}")
        if self.answers.responders(member):
            return Finding("out", now, f"OCSP for {whose}: {self.answers.failure(member)}")
        if listed.status == "lapsed":
            return Finding("out", now, f"the CRL for {whose} has lapsed")
        if self.lists.failing or not self.lists.first.is_set():
            return Finding("out", now, f"no CRL for {whose}, and a source of them is out")
        return Finding("none", now, f"no source tells whether {whose} is revoked")

    # Keeping current.

    def _lists_changed(self) -> None:
        self._stale = True
        self._wake.set()

    async def _judge_all(self) -> None:
        """Judge everything seen by what is known now, and tell what has changed."""
        changed: list[CertificateVerdict] = []
        for number, (thumbprint, seen) in enumerate(list(self._seen.items())):
            if number % _A_SLICE == _A_SLICE - 1:
                await trio.lowlevel.checkpoint()
            before = seen.verdict
            if before is None or self._seen.get(thumbprint) is not seen:
                continue
            verdict = self._judge(thumbprint, seen)
            seen.renew = min(seen.renew, self._renewal(verdict))  # never later, however often lists change
            if verdict != before:
                changed.append(verdict)
        changed.sort(key=lambda verdict: verdict.status != "revoked")
        self._publish(changed)

    def _publish(self, verdicts: Sequence[CertificateVerdict]) -> None:
        for start in range(0, len(verdicts), _TOLD_AT_ONCE):
            self._post(None, Verdicts(tuple(verdicts[start : start + _TOLD_AT_ONCE])))

    async def _renew(self) -> None:
        """Ask again before verdicts lapse, for paths that are in use."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(_RENEW_EVERY)
                now = self._wall()
                for thumbprint, seen in self._due(now):
                    seen.renew = math.inf
                    if now - seen.asked > _UNUSED_AFTER:
                        self._forget(thumbprint)
                    else:
                        nursery.start_soon(self._renew_one, thumbprint, seen)

    def _due(self, now: float) -> Iterable[tuple[str, _Seen]]:
        return [(thumbprint, seen) for thumbprint, seen in self._seen.items() if seen.renew <= now]

    def _forget(self, thumbprint: str) -> None:
        del self._seen[thumbprint]
        self._post(None, Verdicts((CertificateVerdict(thumbprint, "unknown", 0.0, "not kept"),)))

    async def _renew_one(self, thumbprint: str, seen: _Seen) -> None:
        async with self._limit:
            await self._refresh(seen.path)
            before = seen.verdict
            verdict = self._judge(thumbprint, seen)
            seen.renew = self._renewal(verdict)
            if verdict != before and self._seen.get(thumbprint) is seen:
                self._publish([verdict])

    def _announce(self, severity: Literal["info", "warning"], message: str) -> None:
        self._events.announce(Event("revocation_source", severity, message))
