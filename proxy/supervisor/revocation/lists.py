"""CRLs from files and addresses: read, fetched again before they lapse, and found by issuer.

While an address is out or answers what is no CRL, the last good one serves until it lapses. An older CRL never takes
the place of a newer one from the same address.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import trio

from proxy.config.files import Unreadable, read
from proxy.config.revocation import is_url
from proxy.identity.crl import CRL_AT_MOST, Crl, CrlUnusable, Member, issuer_key, read_crls
from proxy.supervisor.revocation.fetch import Announce, FetchFailed, Place, fetch

_ANSWER_WITHIN = 10.0
_FIRST_BACKOFF = 1.0
_BACKOFF_AT_MOST = 30.0
_AHEAD = 60.0  # an authority's clock may be ahead so much


class Listed(NamedTuple):
    """What CRLs say of one certificate. `status`: good, revoked, lapsed, none. `until` is Unix time."""

    status: str
    until: float


class Lists:
    """`changed` hears of every CRL that is new, `announce` of sources that fail and recover, once each.

    `first` is set when each source of the present configuration has been read or has failed once.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        changed: Callable[[], None],
        announce: Announce,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.first = trio.Event()
        self.refresh = 300.0
        self._http = http
        self._changed = changed
        self._announce = announce
        self._wall = wall
        self._held: dict[str, list[Crl]] = {}
        self._failing: set[str] = set()
        self._by_issuer: dict[bytes, list[Crl]] = {}
        self._sources: tuple[str, ...] = ()
        self._tasks: dict[str, trio.CancelScope] = {}
        self._reconfigured = trio.Event()

    def __repr__(self) -> str:
        return f"<Lists {len(self._held)}/{len(self._sources)}, {len(self._failing)} failing>"

    @property
    def held(self) -> Mapping[str, list[Crl]]:
        """The last good CRLs of each source."""
        return self._held

    @property
    def failing(self) -> frozenset[str]:
        """The sources that gave nothing when they were last asked."""
        return frozenset(self._failing)

    async def configure(self, sources: tuple[str, ...], refresh: float) -> None:
        """Read all files, and have all addresses fetched by `run`."""
        self._sources, self.refresh = sources, refresh
        for gone in [source for source in self._tasks if source not in sources]:
            self._tasks.pop(gone).cancel()
        self._held = {source: crls for source, crls in self._held.items() if source in sources}
        self._failing &= set(sources)
        for source in sources:
            if not is_url(source):
                await self._take(source, self._from_file)
        self._index()
        self.first = trio.Event()
        self._check_first()
        self._reconfigured.set()

    async def run(self) -> None:
        """Keep what comes from addresses fresh, for ever: a task each."""
        async with trio.open_nursery() as nursery:
            while True:
                self._reconfigured = trio.Event()
                for source in self._sources:
                    if is_url(source) and source not in self._tasks:
                        self._tasks[source] = scope = trio.CancelScope()
                        nursery.start_soon(self._keep, source, scope)
                await self._reconfigured.wait()

    async def _keep(self, source: str, scope: trio.CancelScope) -> None:
        backoff = _FIRST_BACKOFF
        with scope:
            while True:
                if await self._take(source, self._from_address):
                    backoff, wait = _FIRST_BACKOFF, self._until_refresh(source)
                else:
                    wait, backoff = min(backoff, self.refresh), min(backoff * 2, _BACKOFF_AT_MOST)
                self._check_first()
                await trio.sleep(wait)

    def _until_refresh(self, source: str) -> float:
        """Half of what is left of the first to lapse, and at most what is configured."""
        left = min(crl.next_update for crl in self._held[source]) - self._wall()
        return max(min(_FIRST_BACKOFF, self.refresh), min(self.refresh, left / 2))

    async def _take(self, source: str, get: Callable[[str], Awaitable[list[Crl]]]) -> bool:
        """Have a source read; false if it gave nothing. What was held stays then."""
        try:
            crls = await get(source)
            self._refuse_untimely(source, crls)
        except (Unreadable, FetchFailed, CrlUnusable) as error:
            if source not in self._failing:
                self._failing.add(source)
                serves = "the last one serves until it lapses" if source in self._held else "there is none"
                self._announce("warning", f"CRL {source}: {error}; {serves}")
            return False
        if source in self._failing:
            self._failing.discard(source)
            self._announce("info", f"CRL {source} can be read again")
        old = self._held.get(source, [])
        if [crl.fingerprint for crl in crls] != [crl.fingerprint for crl in old]:
            self._held[source] = crls
            self._index()
            self._changed()
        return True

    async def _from_file(self, source: str) -> list[Crl]:
        return await trio.to_thread.run_sync(lambda: read_crls(read(Path(source), CRL_AT_MOST)))

    async def _from_address(self, source: str) -> list[Crl]:
        data = await fetch(self._http, Place(source), at_most=CRL_AT_MOST, within=_ANSWER_WITHIN)
        return await trio.to_thread.run_sync(read_crls, data)

    def _refuse_untimely(self, source: str, crls: Iterable[Crl]) -> None:
        """Raises `CrlUnusable`."""
        now = self._wall()
        held = {issuer_key(crl.issuer): crl for crl in self._held.get(source, ())}
        for crl in crls:
            if crl.next_update <= now:
                raise CrlUnusable("has lapsed")
            if crl.this_update > now + _AHEAD:
                raise CrlUnusable("is not valid yet")
            before = held.get(issuer_key(crl.issuer))
            if is_url(source) and before is not None and crl.this_update < before.this_update:
                raise CrlUnusable("is older than the one before")

    def _index(self) -> None:
        index: dict[bytes, list[Crl]] = {}
        for crls in self._held.values():
            for crl in crls:
                index.setdefault(issuer_key(crl.issuer), []).append(crl)
        for found in index.values():
            found.sort(key=lambda crl: crl.this_update, reverse=True)
        self._by_issuer = index

    def _check_first(self) -> None:
        if all(source in self._held or source in self._failing for source in self._sources):
            self.first.set()

    def look_up(self, member: Member, issuer: Member, now: float) -> Listed:
        """What the newest CRL says that covers a certificate and is its issuer's."""
        for crl in self._by_issuer.get(issuer_key(issuer.certificate.subject), ()):
            if crl.this_update <= now + _AHEAD and crl.covers(member) and crl.signed_by(issuer.certificate):
                if member.serial in crl.serials:
                    return Listed("revoked", crl.next_update)
                return Listed("good" if now < crl.next_update else "lapsed", crl.next_update)
        return Listed("none", 0.0)
