"""How a request reads to its backend, and an answer to its client.

Nothing of the client's credentials or framing passes, and of its headers what `forward.headers` and the gateway allow;
an answer's lines pass as they came, but for what is the hop's own.
"""

import random
import time
from typing import TYPE_CHECKING

from proxy import answer
from proxy.messages import UpstreamCredential
from proxy.metering.meter import Meter
from proxy.routing.candidate import Candidate
from proxy.trace import continue_trace
from proxy.wire.body import Body, EventBody, LengthFraming, OpaqueBody
from proxy.wire.http1 import HEAD_END, ResponseHead
from proxy.wire.pool import Pool

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_UNMETERED = frozenset(("audio.speech",))
_EVENT_STREAM = b"text/event-stream"


def forwarded_lines(exchange: "Exchange") -> bytes:
    """The client's header lines that pass on, and those that always go with them."""
    head = exchange.head
    assert head is not None
    trace = continue_trace(head.trace, random.getrandbits(64) | 1) if head.trace else None
    if trace is None:
        return head.passed
    exchange.record.trace_id = trace[0]
    return b"%btraceparent: %b\r\n" % (head.passed, trace[1])


def request(
    exchange: "Exchange",
    candidate: Candidate,
    pool: Pool,
    credential: UpstreamCredential,
    lines: bytes,
    *,
    ask_usage: bool,
) -> bytes:
    """The request as a candidate's backend gets it, with the `forwarded_lines`; the head alone, if the body streams."""
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%b: %b\r\n%b" % (
        exchange.target.forward(candidate.deployment).encode("ascii"),
        pool.host_header,
        credential.header.encode("ascii"),
        credential.value.encode("ascii"),
        lines,
    )
    if exchange.stream_body:
        assert exchange.head is not None
        if exchange.head.chunked:
            return head + b"transfer-encoding: chunked\r\n\r\n"
        return head + b"content-length: %d\r\n\r\n" % exchange.head.length
    body = exchange.body_for(candidate.deployment, ask_usage=ask_usage)
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def body(exchange: "Exchange", head: ResponseHead, *, cut_usage: bool) -> tuple[Body | None, bytes, Meter | None]:
    """What an answer's body is relayed as, the framing the client is told, and what meters it.

    To a client of HTTP/1.0 a body without a length goes to the end of the connection.
    """
    framing = head.framing
    assert exchange.head is not None
    if framing is None:
        return None, b"" if head.status in (204, 304) else b"content-length: 0", None
    operation = exchange.target.operation.name
    said = head.said
    encoded = said.get(b"content-encoding", b"identity") != b"identity"
    events = said.get(b"content-type", b"").lower().startswith(_EVENT_STREAM)
    meter = None if operation in _UNMETERED else Meter(operation, inflate=encoded)
    raw = exchange.head.minor == 0
    if events and not encoded and meter is not None:
        relayed: Body = EventBody(framing, meter, cut_usage=cut_usage, raw=raw)
    else:
        relayed = OpaqueBody(framing, meter, raw=raw)
        if isinstance(framing, LengthFraming):
            return relayed, b"content-length: %d" % framing.left, meter
    if raw:
        exchange.keep_alive = False
        return relayed, b"", meter
    return relayed, b"transfer-encoding: chunked", meter


def first_of(body: Body, rest: bytes) -> bytes:
    """What of a body came with its head, as it goes on. Raises `BodyBroken`."""
    if not rest:
        return b""
    buffer = bytearray(rest)
    return bytes(body.feed(buffer, memoryview(buffer), len(buffer)))


def response_head(exchange: "Exchange", candidate: Candidate, head: ResponseHead, framing: bytes) -> bytes:
    """The head of an answer as its client gets it."""
    worker = exchange.worker
    lines = [answer.status_line(head.status), *head.passed]
    lines.append(
        b"x-request-id: %b\r\nx-penstock-backend: %b\r\nx-penstock-region: %b"
        % (
            exchange.record.request_id.encode("ascii"),
            candidate.backend.encode("ascii"),
            candidate.region.encode("ascii"),
        )
    )
    lines += answer.limits(worker.leases.remaining(exchange.client.name, time.monotonic()))
    if framing:
        lines.append(framing)
    if worker.draining:
        exchange.keep_alive = False
    if not exchange.keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + HEAD_END
