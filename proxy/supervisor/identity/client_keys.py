"""The keys of clients as the running gateway has them: noticed, told to the workers, and their use written down.

The store is the truth, whoever changes it: this process over the admin address, or a command in another one. Both ways
a change is read back from the store, announced, and told to every worker, within a quarter of a second. If the store
cannot be read, the keys stay as they were last known.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import trio

from proxy.admin.body import Cannot
from proxy.admin.keys import IssueKey, KeyStatus, NewKey, RotateKey
from proxy.config.structs import Client, State
from proxy.identity.known import ClientKey
from proxy.messages import ClientKeys, ClientKeysChanged, KeysUsed
from proxy.supervisor.events.events import Event
from proxy.supervisor.identity import issuing
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.store.database import StoreError
from proxy.supervisor.store.keys import Issued, KeyProblem, KeyStore, NoLiveKey, StoredKey, TwoLiveKeys, UnknownKeyId

_LOOK_EVERY = 0.1
_WRITE_USES_EVERY = 15.0
_NEVER = float("inf")
_CODES: dict[type[KeyProblem], tuple[int, str]] = {
    UnknownKeyId: (404, "UnknownKey"),
    issuing.UnknownClient: (422, "UnknownClient"),
    issuing.TakesNoKeys: (422, "TakesNoKeys"),
    TwoLiveKeys: (409, "TwoLiveKeys"),
    NoLiveKey: (409, "NoLiveKey"),
}

T = TypeVar("T")


class ClientKeyring:
    """Raises `StoreError` or `SecretUnusable` if the store of `state` cannot be opened.

    `clients` tells those that are configured at present, `publish` tells all workers, `announce` people.
    """

    def __init__(
        self,
        state: State,
        *,
        clients: Callable[[], Iterable[Client]],
        publish: Callable[[ClientKeys | ClientKeysChanged], None],
        announce: Callable[[Event], None],
    ) -> None:
        self._state = state
        self._clients = clients
        self._publish = publish
        self._announce = announce
        self._store = KeyStore.open(state)
        self._seen = self._store.seen()
        self._rows = {row.id: row for row in self._store.newer(0)}
        self._used: dict[str, float] = {}
        self._unwritten: dict[str, float] = {}
        self._one_at_a_time = trio.Lock()
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Notice what others change, and write down what was used, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            nursery.start_soon(self._write_uses)

    def known(self) -> ClientKeys:
        """All of them, for a worker that knows none."""
        return ClientKeys(self._store.pepper, by_digest(self._rows.values()))

    def used(self, message: KeysUsed) -> None:
        """Take what a worker tells of the use of keys."""
        for key_id, moment in message.times.items():
            if moment > self._used.get(key_id, 0):
                self._used[key_id] = self._unwritten[key_id] = moment

    async def write_uses(self) -> None:
        """Write down what was used and is not yet in the store."""
        if not self._unwritten:
            return
        times, self._unwritten = self._unwritten, {}
        try:
            async with self._one_at_a_time:
                await trio.to_thread.run_sync(self._store.note_uses, times)
        except StoreError as error:
            self._unwritten = times | self._unwritten
            self._failed("written", error)
        else:
            self._succeeded("written")

    # What the admin address asks for.

    def listing(self) -> tuple[KeyStatus, ...]:
        """By client, the oldest first."""
        now, takes_keys = time.time(), issuing.takers(self._clients())
        rows = sorted(self._rows.values(), key=lambda row: (row.client, row.created))
        return tuple(issuing.shown(row, takes_keys, now, self._used.get(row.id)) for row in rows)

    async def issue(self, wanted: IssueKey) -> NewKey:
        lifetime, note = self._judged(wanted)
        return self._new(
            await self._change(lambda store: store.issue(wanted.client, lifetime=lifetime, note=note)),
        )

    async def rotate(self, wanted: RotateKey) -> NewKey:
        lifetime, note = self._judged(wanted)
        old_lives = _lifetime(wanted.old_expires)
        return self._new(
            await self._change(
                lambda store: store.rotate(wanted.client, lifetime=lifetime, note=note, old_lives=old_lives)
            )
        )

    async def revoke(self, key_id: str) -> KeyStatus:
        return self._shown(await self._change(lambda store: store.revoke(key_id)))

    def _judged(self, wanted: IssueKey) -> tuple[float | None, str]:
        try:
            issuing.judge(wanted.client, self._clients())
            return _lifetime(wanted.expires), issuing.note(wanted.note)
        except KeyProblem as problem:
            raise _cannot(problem) from None
        except ValueError as error:
            raise Cannot(400, "BadRequest", f"{error}.") from None

    def _new(self, issued: Issued) -> NewKey:
        other = None if issued.other is None else self._shown(issued.other)
        return NewKey(key=issued.key, issued=self._shown(issued.row), other=other)

    def _shown(self, row: StoredKey) -> KeyStatus:
        return issuing.shown(row, issuing.takers(self._clients()), time.time(), self._used.get(row.id))

    # The store.

    async def _change(self, change: Callable[[KeyStore], T]) -> T:
        try:
            async with self._one_at_a_time:
                result, rows = await trio.to_thread.run_sync(self._changed, change)
                self._take(rows)
                return result
        except KeyProblem as problem:
            raise _cannot(problem) from None
        except (StoreError, SecretUnusable) as error:
            self._announce(Event("key_store_failed", "error", f"a key could not be changed: {error}"))
            raise Cannot(503, "StoreUnavailable", "The store of keys cannot be used; the log says why.") from None

    def _changed(self, change: Callable[[KeyStore], T]) -> tuple[T, list[StoredKey]]:
        """In a thread. Never in a file that is gone, or not the one at the path."""
        if self._store.replaced():
            raise StoreError(f"{self._state.path}: was replaced a moment ago; try again")
        return change(self._store), self._store.newer(self._revision)

    async def _look(self) -> None:
        while True:
            await trio.sleep(_LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Take what others have changed, if they have."""
        try:
            async with self._one_at_a_time:
                found = await trio.to_thread.run_sync(self._glance)
                if isinstance(found, KeyStore):
                    self._adopt(found)
                else:
                    self._take(found)
        except (StoreError, SecretUnusable) as error:
            self._failed("read", error)
        else:
            self._succeeded("read")

    def _glance(self) -> list[StoredKey] | KeyStore:
        """In a thread: what has changed since the last time, mostly nothing; or the store in the place of this one."""
        if self._store.replaced():
            store = KeyStore.open(self._state)
            self._store.close()
            return store
        seen = self._store.seen()
        if seen == self._seen:
            return []
        rows = self._store.newer(self._revision)
        self._seen = seen
        return rows

    def _adopt(self, store: KeyStore) -> None:
        self._store = store
        self._seen = store.seen()
        self._rows = {row.id: row for row in store.newer(0)}
        words = f"the store was replaced by one with {len(self._rows)} keys"
        self._announce(Event("key_store_replaced", "warning", words))
        self._publish(self.known())

    @property
    def _revision(self) -> int:
        return max((row.revision for row in self._rows.values()), default=0)

    def _take(self, rows: list[StoredKey]) -> None:
        if not rows:
            return
        self._publish(ClientKeysChanged(by_digest(rows)))
        for row in rows:
            for event in _told(self._rows.get(row.id), row):
                self._announce(event)
            self._rows[row.id] = row

    async def _write_uses(self) -> None:
        while True:
            await trio.sleep(_WRITE_USES_EVERY)
            await self.write_uses()

    def _failed(self, doing: str, error: Exception) -> None:
        if doing not in self._failing:
            self._failing.add(doing)
            words = f"the store of keys cannot be {doing}, they stay as they are known: {error}"
            self._announce(Event("key_store_failed", "error", words))

    def _succeeded(self, doing: str) -> None:
        if doing in self._failing:
            self._failing.discard(doing)
            self._announce(Event("key_store_back", "info", f"the store of keys is {doing} again"))


def by_digest(rows: Iterable[StoredKey]) -> dict[bytes, ClientKey]:
    """Keys as a worker knows them."""
    return {
        row.digest: ClientKey(
            row.id, row.client, _NEVER if row.expires is None else row.expires, row.revoked is not None
        )
        for row in rows
    }


def _told(old: StoredKey | None, new: StoredKey) -> list[Event]:
    """What people should hear of a change; the key itself is nowhere in it."""
    facts: dict[str, str | int | float] = {"id": new.id, "client": new.client}
    if new.expires is not None:
        facts["expires"] = new.expires
    about = f"{new.id} of client {new.client}"
    event = partial(Event, severity="info", facts=facts)
    events = []
    if old is None:
        events.append(event("key_issued", message=about))
    elif old.expires != new.expires:
        events.append(event("key_ends", message=f"{about} has an end now"))
    if new.revoked is not None and (old is None or old.revoked is None):
        events.append(event("key_revoked", message=about))
    return events


def _cannot(problem: KeyProblem) -> Cannot:
    status, code = _CODES[type(problem)]
    return Cannot(status, code, f"{problem}.")


def _lifetime(text: str | None) -> float | None:
    try:
        return None if text is None else issuing.lifetime(text)
    except ValueError as error:
        raise Cannot(400, "BadRequest", f"{error}.") from None
