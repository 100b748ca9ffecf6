"""The signing keys of all issuers: fetched ahead of need, refreshed, and told to workers when they change.

Each issuer has a task of its own. While its endpoint is out, the keys at hand serve on and it is asked again every 1 to
30 seconds. A token that names an unknown key has it asked out of turn, at most once in the issuer's `refetch_interval`
whatever tokens say; whoever asks meanwhile is answered at once with what is known. Failure and recovery are each
announced once.
"""

import random
from collections.abc import Awaitable, Callable, Iterable

import trio

from proxy.config.structs import Issuer
from proxy.identity.jwks import KeySet
from proxy.identity.known import AskKeys, IssuerKeys, Settled
from proxy.messages import SigningKeys
from proxy.supervisor.events.events import Event
from proxy.supervisor.identity.discovery import KeysUnavailable, fetch_keys

_FIRST_BACKOFF = 1.0
_BACKOFF_AT_MOST = 30.0

Fetch = Callable[[Issuer], Awaitable[KeySet]]
Answer = Callable[[int, Settled], None]


class _Kept:
    """One issuer whose keys are kept. `asking` are the workers that wait for what is being fetched."""

    __slots__ = ("asked", "asking", "began", "fetching", "issuer", "scope")

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.scope = trio.CancelScope()
        self.asked = trio.Event()
        self.asking: set[int] = set()
        self.fetching = False
        self.began = -float("inf")  # the last fetch, by trio's clock


class Issuers:
    """`publish` gets the keys of all issuers when some changed, `answer` what a worker asked, `announce` what people
    should know.

    `current` is what there is, by the issuer's name; `failing` names those that cannot be asked, and says why. `first`
    is set when each was fetched or has failed once. `uniform` is in [0, 1).
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        publish: Callable[[SigningKeys], None],
        answer: Answer,
        announce: Callable[[Event], None],
        *,
        fetch: Fetch = fetch_keys,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.current: dict[str, IssuerKeys] = {}
        self.failing: dict[str, str] = {}
        self.first = trio.Event()
        self._kept = {issuer.name: _Kept(issuer) for issuer in issuers}
        self._publish = publish
        self._answer = answer
        self._announce = announce
        self._fetch = fetch
        self._uniform = uniform
        self._version = 0
        self._changed = trio.Event()
        self._running: set[_Kept] = set()

    async def run(self) -> None:
        """Keep what is configured, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                for kept in self._kept.values():
                    if kept not in self._running:
                        self._running.add(kept)
                        nursery.start_soon(self._keep, kept)
                self._check_first()
                await self._changed.wait()

    def reconfigure(self, issuers: Iterable[Issuer]) -> None:
        """New definitions. Keys stay where they come from the same place; where not, they are no longer trusted."""
        before, self._kept = self._kept, {}
        for issuer in issuers:
            old = before.get(issuer.name)
            if old is not None and _source(old.issuer) == _source(issuer):
                del before[issuer.name]
                old.issuer = issuer
                self._kept[issuer.name] = old
            else:
                self._kept[issuer.name] = _Kept(issuer)
        for name, kept in before.items():
            kept.scope.cancel()
            self._settle(kept)
            self.failing.pop(name, None)
        remaining = {name: keys for name, keys in self.current.items() if name not in before}
        if remaining != self.current:
            self._adopt(remaining)
        self._changed.set()

    def ask(self, worker: int, question: AskKeys) -> None:
        """A worker has met a key it does not know."""
        kept = self._kept.get(question.issuer)
        if kept is None:
            self._answer(worker, Settled(question.about, available=True))
            return
        due = trio.current_time() - kept.began >= float(kept.issuer.refetch_interval)
        if not kept.fetching and not due:
            self._answer(worker, Settled(question.about, available=question.issuer not in self.failing))
            return
        kept.asking.add(worker)
        if not kept.fetching:
            kept.asked.set()

    async def _keep(self, kept: _Kept) -> None:
        backoff = _FIRST_BACKOFF
        try:
            with kept.scope:
                while True:
                    kept.fetching, kept.began = True, trio.current_time()
                    found, fact = None, ""
                    try:
                        found = await self._fetch(kept.issuer)
                    except KeysUnavailable as error:
                        fact = error.fact
                    if kept.scope.cancel_called:
                        return  # no longer configured; the answer was on its way
                    if found is None:
                        self._note_failure(kept.issuer.name, fact)
                        wait = max(_FIRST_BACKOFF, backoff * (0.5 + self._uniform() / 2))
                        backoff = min(backoff * 2, _BACKOFF_AT_MOST)
                    else:
                        self._note_success(kept.issuer.name, found)
                        wait = float(kept.issuer.refresh) * (1 - self._uniform() / 10)
                        backoff = _FIRST_BACKOFF
                    kept.fetching = False
                    self._settle(kept)
                    self._check_first()
                    kept.asked = trio.Event()
                    with trio.move_on_after(wait):
                        await kept.asked.wait()
        finally:
            self._running.discard(kept)

    def _settle(self, kept: _Kept) -> None:
        """Answer those who asked. One who asked while the answer was on its way has it too."""
        name = kept.issuer.name
        asking, kept.asking = kept.asking, set()
        for worker in asking:
            self._answer(worker, Settled(AskKeys(name).about, available=name not in self.failing))

    def _note_failure(self, name: str, fact: str) -> None:
        new = name not in self.failing
        self.failing[name] = fact
        if new:
            meanwhile = "the keys at hand serve on" if name in self.current else "its tokens cannot be verified"
            text = f"the keys of issuer '{name}' cannot be fetched: {fact}; {meanwhile}, trying again"
            self._announce(Event("issuer_keys_unavailable", "warning", text, {"issuer": name}))

    def _note_success(self, name: str, found: KeySet) -> None:
        if self.failing.pop(name, None) is not None:
            text = f"the keys of issuer '{name}' are fetched again"
            self._announce(Event("issuer_keys_available", "info", text, {"issuer": name}))
        held = self.current.get(name)
        if held is not None and held.keys == found.keys:
            return
        self._version += 1
        self._adopt(self.current | {name: IssuerKeys(self._version, found.keys)})
        text = f"issuer '{name}' has {len(found.keys)} signing keys"
        if found.skipped:
            text += f"; left out: {', '.join(sorted(set(found.skipped)))}"
        facts: dict[str, str | int | float] = {"issuer": name, "keys": len(found.keys), "left_out": len(found.skipped)}
        self._announce(Event("issuer_keys_changed", "info", text, facts))

    def _adopt(self, keys: dict[str, IssuerKeys]) -> None:
        self.current = keys
        self._publish(SigningKeys(keys))

    def _check_first(self) -> None:
        if self._kept.keys() <= self.current.keys() | self.failing.keys():
            self.first.set()


def _source(issuer: Issuer) -> tuple[str, str | None, str | None]:
    """Where an issuer's keys come from, and who vouches for the place."""
    return issuer.issuer, issuer.jwks, issuer.ca
