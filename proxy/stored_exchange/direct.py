"""Asking one resource, which is no choice of the router's: the request out, the answer in, or why there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio

from proxy.forwarding import Forwarding
from proxy.record.record import Attempt
from proxy.refusal import Reason, Refused
from proxy.routing.candidate import Candidate
from proxy.routing.outcome import Outcome, classify_status, error_code, retry_after
from proxy.stored import answers
from proxy.stored.entry import Entry
from proxy.stored.places import PATHS
from proxy.upstream import Answer, Asking, Failed, Unwatched, reach
from proxy.wire.body import BodyBroken
from proxy.wire.http1 import ResponseHead

ANSWER_AT_MOST = 32 << 20
SMALL_AT_MOST = 1 << 20  # one of many, of which only what it says of itself is wanted
OFF_LOOP = 1 << 20

_UNDO_WITHIN = 5.0
_REFUSALS = {
    Outcome.FIRST_BYTE_TIMEOUT: Reason.BACKEND_TIMEOUT,
    Outcome.NO_CREDENTIAL: Reason.CREDENTIAL_UNAVAILABLE,
    Outcome.MISCONFIGURED: Reason.BACKENDS_MISCONFIGURED,
    Outcome.CREDENTIAL_REJECTED: Reason.BACKENDS_MISCONFIGURED,
    Outcome.THROTTLED: Reason.BACKENDS_THROTTLED,
}


class Direct(Forwarding):
    """A request that names no deployment: asked of the one resource where what it names lies, or is to lie."""

    __slots__ = ()

    async def begin(
        self, place: str, target: str, body: bytes | None, *, watched: bool, method: str | None = None
    ) -> Answer:
        """The head of a resource's answer. `watched`: not waited for any longer once the client is gone.

        Raises `Failed`, and `ClientGone` where it is watched.
        """
        exchange, worker = self._exchange, self._worker
        view = exchange.view
        name = view.backends[place].credential
        credential = worker.credentials.get(name)
        if credential is None or credential.expires <= time.time():
            raise Failed(Outcome.NO_CREDENTIAL)
        pool = worker.pools.get(place)
        if pool is None:  # the configuration has changed
            raise Failed(Outcome.CONNECT_FAILED)
        method = exchange.target.operation.method if method is None else method
        request = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b: %b\r\n%b" % (
            method.encode("ascii"),
            target.encode("ascii"),
            pool.host_header,
            credential.header.encode("ascii"),
            credential.value.encode("ascii"),
            self._passed,
        )
        if body is not None or method == "POST":
            request += b"content-length: %d\r\n" % len(body or b"")
        asking = Asking(
            connection=exchange.connection if watched else Unwatched(),
            request=request + b"\r\n" + (body or b""),
            parts=None,
            chunked=False,
            again=method in ("GET", "HEAD"),
            bounds=view.bounds,
            first_byte=view.bounds.first_byte,
            until=self._until,
            sent=self._mark_sent,
        )
        begun = await reach(pool, asking)
        if begun.head.status == 401:
            worker.credential_rejected(name, credential, place)
        return begun

    async def ask_whole(
        self,
        place: str,
        target: str,
        body: bytes | None,
        *,
        watched: bool = False,
        method: str | None = None,
        at_most: int = ANSWER_AT_MOST,
    ) -> tuple[ResponseHead, bytes]:
        """The head and the whole body of an answer, of `at_most` bytes. Raises as `begin` does; what is none for the
        client is `Failed` too.
        """
        begun = await self.begin(place, target, body, watched=watched, method=method)
        status = begun.head.status
        try:
            answer = await begun.small_body(at_most, self._until, self._exchange.view.bounds.stream_idle)
        except BodyBroken:
            begun.close()
            raise Failed(Outcome.BROKEN_MID_ANSWER, status=status) from None
        except BaseException:
            begun.close()
            raise
        outcome = outcome_of(status, answer)
        if outcome is Outcome.THROTTLED:
            raise Failed(outcome, status=status, wait=retry_after(begun.head.said, time.time()))
        if outcome.ours:
            raise Failed(outcome, status=status)
        return begun.head, answer

    @contextmanager
    def attempt(self, place: str) -> Iterator[Attempt]:
        """What is asked within is an attempt in the request's record, however it ends."""
        began = time.monotonic()
        attempt = Attempt(place, None, Outcome.CANCELLED.reason, 0.0)
        try:
            yield attempt
        except Failed as failed:
            attempt.status, attempt.reason = failed.status, failed.outcome.reason
            raise
        finally:
            attempt.ms = round((time.monotonic() - began) * 1000, 1)
            self._exchange.record.attempts.append(attempt)

    async def undo(self, place: str, entry: Entry, why: Refused) -> None:
        """What was made was not remembered, so nobody will ever be able to use it: have it end, and be deleted.

        Where its id is another's already, it is left alone: what would be deleted may be that one's.
        """
        path = PATHS.get(entry.kind)
        if path is None or why.reason is Reason.INTERNAL:
            return
        steps = [("POST", "/cancel")] if entry.kind in ("batch", "fine_tuning_job") or entry.pending else []
        if entry.kind not in ("batch", "fine_tuning_job"):
            steps.append(("DELETE", ""))
        with trio.move_on_after(_UNDO_WITHIN):
            for method, end in steps:
                try:
                    await self.ask_whole(place, self.target_of(f"{path}/{entry.id}{end}"), None, method=method)
                except Failed:
                    continue

    def target_of(self, path: str) -> str:
        """Another target on the surface that was asked."""
        target = self._exchange.target
        version = tuple((name, value) for name, value in target.query if name == "api-version")
        return msgspec.structs.replace(target, path=path, query=version, forwarded={}).forward("")

    async def is_gone(self, place: str, kind: str, thing_id: str) -> bool:
        """Whether a 404 means that there is no such thing. It may be a version of the API that is not there, and what
        is forgotten is nobody's for good; so the surface is asked that has no versions. Raises `Failed`.
        """
        target = self._exchange.target
        if target.surface == "v1" and not target.api_version:
            return True
        plain = msgspec.structs.replace(
            target, surface="v1", path=f"{PATHS[kind]}/{thing_id}", query=(), api_version="", forwarded={}
        )
        head, _ = await self.ask_whole(place, plain.forward(""), None, method="GET", at_most=SMALL_AT_MOST)
        return head.status == 404

    def candidate(self, place: str) -> Candidate:
        backend = self._exchange.view.backends[place]
        return Candidate(place, "", backend.region, backend.tier, 0, 1)

    def _head_is_known(self, candidate: Candidate, status: int) -> None:
        super()._head_is_known(candidate, status)
        self._exchange.record.deployment = None


def outcome_of(status: int, body: bytes = b"") -> Outcome:
    return Outcome.OK if status < 400 else classify_status(status, error_code(body))


def refusal(failed: Failed) -> Refused:
    """What the client is told."""
    reason = _REFUSALS.get(failed.outcome, Reason.BACKENDS_FAILED)
    wait = failed.wait if reason.terms.retry else None
    return Refused(reason, failed.outcome.reason, retry_after=1.0 if wait is None and reason.terms.retry else wait)


async def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object, as `proxy.stored.answers` reads it; a large one off the loop."""
    if len(body) < OFF_LOOP:
        return answers.decoded(body)
    return await trio.to_thread.run_sync(answers.decoded, body)
