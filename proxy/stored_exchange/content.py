"""What a file holds, passed on as it comes."""

from proxy import translation
from proxy.forwarding import ENDED
from proxy.record.record import End
from proxy.refusal import Reason, Refused
from proxy.routing.outcome import Outcome
from proxy.stored_exchange.direct import Direct, outcome_of, refusal
from proxy.stored_exchange.owned import named_by_path, owned, place_of
from proxy.upstream import Answer, Failed
from proxy.wire.body import BodyBroken, LengthFraming, OpaqueBody
from proxy.wire.relay import Relay, RelayEnd


class Content(Direct):
    """A request for the content of a client's own file."""

    __slots__ = ()

    async def run(self) -> None:
        exchange = self._exchange
        await exchange.admit()
        place = place_of(exchange, await owned(exchange, named_by_path(exchange)))
        assert place is not None
        try:
            with self.attempt(place) as attempt:
                begun = await self.begin(place, exchange.target.forward(""), None, watched=True)
                attempt.status, attempt.reason = begun.head.status, outcome_of(begun.head.status).reason
            end = await self._deliver_content(place, begun)
        except Failed as failed:
            raise refusal(failed) from None
        how, reason, _ = ENDED[end]
        exchange.connection.gone = exchange.connection.gone or how is End.CLIENT_GONE
        exchange.end(how, reason)

    async def _deliver_content(self, place: str, begun: Answer) -> RelayEnd:
        """Raises `Refused`, `Failed`, `ClientGone`."""
        try:
            body, framing = self._content(begun)
            try:
                first = translation.first_of(body, begun.rest)
            except BodyBroken:
                raise Failed(Outcome.RESET_BEFORE_HEAD, status=begun.head.status) from None
            await self._begin(self.candidate(place), begun.head, framing, first)
            end = RelayEnd.COMPLETE if body.complete else await self._pass_on(begun, body)
        except BaseException:
            begun.close()
            raise
        if end is RelayEnd.COMPLETE:
            begun.keep(clean=not body.surplus)
        else:
            begun.close()
            self._exchange.keep_alive = False
        return end

    def _content(self, begun: Answer) -> tuple[OpaqueBody, bytes]:
        """What the content is relayed as, and the framing the client is told. Raises `Refused`, `Failed`."""
        exchange, head, framing = self._exchange, begun.head, begun.head.framing
        assert exchange.head is not None
        if head.status == 404:
            raise Refused(Reason.NOT_FOUND, "backend")
        if head.status >= 300 or framing is None:
            raise Failed(outcome_of(head.status), status=head.status)
        raw = exchange.head.minor == 0
        body = OpaqueBody(framing, None, raw=raw)
        if isinstance(framing, LengthFraming):
            return body, b"content-length: %d" % framing.left
        exchange.keep_alive = exchange.keep_alive and not raw
        return body, b"" if raw else b"transfer-encoding: chunked"

    async def _pass_on(self, begun: Answer, body: OpaqueBody) -> RelayEnd:
        exchange, worker = self._exchange, self._worker
        bounds, connection = exchange.view.bounds, exchange.connection
        relay = Relay(
            connection.link,
            begun.link,
            body,
            idle=bounds.stream_idle,
            stall=bounds.client_stall,
            until=self._until,
            last_words=b"",
            client_alive=connection.alive,
        )
        worker.streaming += 1
        try:
            return await relay.run()
        finally:
            worker.streaming -= 1
            self.sent.bytes_out += relay.sent
