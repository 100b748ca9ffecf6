"""A request for a model whose answer is kept there: it is remembered as its client's before it is passed on."""

import time
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.forwarding import Forwarding
from proxy.messages import UpstreamCredential
from proxy.policy.request import State
from proxy.refusal import Reason, Refused
from proxy.routing.candidate import Candidate, Wanted
from proxy.routing.outcome import Outcome
from proxy.routing.select import Router
from proxy.stored import answers
from proxy.stored.entry import Entry, owner_of
from proxy.stored_exchange.direct import ANSWER_AT_MOST, Direct, decoded
from proxy.upstream import Answer, Asking, Failed, Unwatched
from proxy.wire.body import BodyBroken
from proxy.wire.pool import Pool

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_FIRST_EVENT_AT_MOST = 1 << 20


class Kept(Forwarding):
    """The attempts of such a request, at `backends` alone if it names what lies there.

    A stream is remembered from its first event on; any other answer is read whole first.
    """

    __slots__ = ("_backends", "_state")

    def __init__(self, exchange: "Exchange", state: State, backends: tuple[str, ...]) -> None:
        super().__init__(exchange)
        self._state = state
        self._backends = backends

    def _wanted(self, router: Router) -> Wanted:
        wanted = super()._wanted(router)
        return msgspec.structs.replace(wanted, backends=self._backends) if self._backends else wanted

    def _asking(self, candidate: Candidate, pool: Pool, credential: UpstreamCredential) -> Asking:
        """What runs in the background runs whether or not its client stays: it would be nobody's, and not counted."""
        asking = super()._asking(candidate, pool, credential)
        if self._state.background:
            asking.connection = Unwatched()
        return asking

    async def _deliver(self, candidate: Candidate, begun: Answer) -> Outcome:
        if not self._state.keeps:
            return await super()._deliver(candidate, begun)
        exchange = self._exchange
        answer = await self._look_ahead(begun)
        entry = answers.entry_of("response", answer, owner_of(exchange.client), candidate.backend, time.time())
        if entry is None:
            raise Refused(Reason.BACKENDS_FAILED, "an answer without its id")
        runs_on = self._state.background and not answers.finished(answer)
        tokens = exchange.estimate if runs_on else 0
        entry = msgspec.structs.replace(entry, model=exchange.model, tokens=tokens, pending=runs_on)
        try:
            await exchange.worker.stored.keep((entry,))
        except Refused as refused:
            begun.close()
            await Direct(exchange).undo(candidate.backend, entry, refused)
            raise
        if not runs_on:
            return await super()._deliver(candidate, begun)
        return await self._deliver_running(candidate, begun, entry)

    async def _deliver_running(self, candidate: Candidate, begun: Answer, entry: Entry) -> Outcome:
        """What goes on in the background: what was reserved is charged, and a later answer tells what it used, unless
        this one is a stream that does, to its end.
        """
        exchange = self._exchange
        exchange.charged = exchange.estimate
        try:
            outcome = await super()._deliver(candidate, begun)
        finally:
            meter, self.sent.meter = self.sent.meter, None
        if meter is not None and meter.usage is not None and meter.usage.total and exchange.record.stream:
            try:
                counts = await exchange.worker.stored.count_once(entry)
            except Refused:  # it is still to be counted, then
                return outcome
            if counts:
                self.sent.meter, exchange.charged = meter, None
        return outcome

    async def _look_ahead(self, begun: Answer) -> dict[str, Any]:
        """The response that an answer is, or begins with; all that was read is still to be passed on."""
        kind, idle = begun.head.said.get(b"content-type", b"").lower(), self._stream_idle()
        try:
            if kind.startswith(b"text/event-stream"):
                return answers.streamed(await begun.ahead(_has_said, _FIRST_EVENT_AT_MOST, self._until, idle))
            payload = await begun.ahead(None, ANSWER_AT_MOST, self._until, idle)
        except BodyBroken:
            raise Failed(Outcome.RESET_BEFORE_HEAD, status=begun.head.status) from None
        return await decoded(payload)


def _has_said(stream: bytearray) -> bool:
    return answers.first_data(stream) is not None
