"""What is done over the admin address leaves an audit record, as requests do: in the same log, in the same chain.

`operation` is what was done (`admin.backends.drain`), `source` is `admin`, and there is no client; `rule` says what was
done to what, or why not. What is refused for want of the token does not get this far, and leaves none.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from proxy.admin.body import Cannot
from proxy.admin.keys import IssueKey, Keys, KeyStatus, NewKey, RotateKey
from proxy.admin.view import ReloadResult
from proxy.record.record import End, Record, timestamp
from proxy.supervisor.records.keeper import RecordKeeper
from proxy.trace import request_ids

_encode = msgspec.json.Encoder().encode


class Act:
    """One of them. `what` is said once it is done, `backend` and `deployment` where they are known to be such.

    `failed` is why nothing came of it though it was allowed.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.what: str | None = None
        self.backend: str | None = None
        self.deployment: str | None = None
        self.failed: str | None = None

    def reloaded(self, result: ReloadResult) -> None:
        """A reload that changed nothing was allowed, and came to nothing."""
        self.what = f"version {result.version} is in force" if result.ok else result.error
        self.failed = None if result.ok else "configuration_refused"


class Acts:
    """Records what is done."""

    def __init__(self, keeper: RecordKeeper) -> None:
        self._keeper = keeper
        self._next_id = request_ids(f"admin-{secrets.token_hex(6)}")

    @contextmanager
    def recorded(self, operation: str) -> Iterator[Act]:
        """Record the act when the block ends: as done, or as refused by `Cannot`. One that fails was allowed too."""
        act = Act(operation)
        began = time.monotonic()
        try:
            yield act
        except Cannot as cannot:
            act.what = str(cannot)
            self._record(act, began, "refused", _word(cannot.code), cannot.status)
            raise
        except BaseException:
            self._record(act, began, "allowed", "not_finished", None)
            raise
        self._record(act, began, "allowed", act.failed, 200 if act.failed is None else 422)

    def _record(self, act: Act, began: float, decision: str, reason: str | None, status: int | None) -> None:
        record = Record(
            time=timestamp(time.time()),
            request_id=self._next_id(),
            source="admin",
            operation=act.operation,
            decision=decision,
            reason=reason,
            rule=act.what,
            status=status,
            backend=act.backend,
            deployment=act.deployment,
            duration_ms=round((time.monotonic() - began) * 1000, 1),
            end=End.REFUSED if decision == "refused" else End.COMPLETE,
        )
        self._keeper.take(None, [-1], [_encode(record)])


class RecordedKeys:
    """Keys, each change of which is recorded."""

    def __init__(self, keys: Keys, acts: Acts) -> None:
        self._keys = keys
        self._acts = acts

    def listing(self) -> tuple[KeyStatus, ...]:
        return self._keys.listing()

    async def issue(self, wanted: IssueKey) -> NewKey:
        with self._acts.recorded("admin.keys.issue") as act:
            new = await self._keys.issue(wanted)
            act.what = f"{new.issued.id} issued to client {new.issued.client}"
            return new

    async def rotate(self, wanted: RotateKey) -> NewKey:
        with self._acts.recorded("admin.keys.rotate") as act:
            new = await self._keys.rotate(wanted)
            act.what = f"{new.issued.id} issued to client {new.issued.client}, beside its other one"
            return new

    async def revoke(self, key_id: str) -> KeyStatus:
        with self._acts.recorded("admin.keys.revoke") as act:
            key = await self._keys.revoke(key_id)
            act.what = f"{key.id} of client {key.client} revoked"
            return key


def _word(code: str) -> str:
    """`UnknownBackend` as records have it: `unknown_backend`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code).lower()
