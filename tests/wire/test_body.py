"""A response body on its way through, at every split point: bytes of a backend in, bytes for a client out."""

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.meter import Meter
from proxy.wire.body import (
    HELD,
    Body,
    BodyBroken,
    CloseFraming,
    EventBody,
    Framing,
    LengthFraming,
    OpaqueBody,
)
from proxy.wire.chunks import LAST_CHUNK, ChunkDecoder, chunk

FAULT = b'data: {"error":{"code":"x","message":"y"}}\n\n'


def event(text: str, **more: object) -> bytes:
    body = {"choices": [{"index": 0, "delta": {"content": text}}], "usage": None, **more}
    return b"data: %b\n\n" % json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


USAGE = event("", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
FIRST = event("", choices=[], prompt_filter_results=[{"prompt_index": 0}])
WORDS = [event("Hel"), event('lo "usage": {wörld}'), event("\\ \n end")]
DONE = b"data: [DONE]\n\n"
EVENTS = [FIRST, *WORDS, USAGE, DONE]


class Client:
    """What a client gets, and what it understands of it."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.raw = b""
        self.reads: list[bytes] = []

    def take(self, data: bytes) -> None:
        buffer = bytearray(data)
        out = bytes(self.body.feed(buffer, memoryview(buffer), len(buffer)))
        self.reads.append(out)
        self.raw += out

    def payload(self) -> tuple[bytes, bool]:
        decoder = ChunkDecoder()
        ranges, _ = decoder.feed(self.raw, 0, len(self.raw))
        return b"".join(self.raw[a:b] for a, b in ranges), decoder.complete


def through(body: Body, data: bytes, splits: Iterable[int] = ()) -> Client:
    client = Client(body)
    edges = [0, *splits, len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            client.take(data[start:end])
    return client


def events_body(framing: Framing | None = None, *, cut: bool = False, raw: bool = False) -> tuple[EventBody, Meter]:
    meter = Meter("chat.completions")
    return EventBody(framing or ChunkDecoder(), meter, cut_usage=cut, raw=raw), meter


WIRE = b"".join(chunk(one) for one in EVENTS) + LAST_CHUNK
AWKWARD = {
    "one chunk an event": WIRE,
    "all in one chunk": chunk(b"".join(EVENTS)) + LAST_CHUNK,
    "chunks across events": b"".join(chunk(b"".join(EVENTS)[i : i + 97]) for i in range(0, len(b"".join(EVENTS)), 97))
    + LAST_CHUNK,
    "extensions": b"".join(b"%x;ext=1\r\n%b\r\n" % (len(one), one) for one in EVENTS) + LAST_CHUNK,
    "trailers": b"".join(chunk(one) for one in EVENTS) + b"0\r\nx: y\r\n\r\n",
    "upper case, leading noughts": b"".join(b"00%X\r\n%b\r\n" % (len(one), one) for one in EVENTS) + LAST_CHUNK,
}


@pytest.mark.parametrize("cut", [False, True], ids=["asked for", "our own wish"])
@pytest.mark.parametrize("wire", AWKWARD.values(), ids=AWKWARD)
def test_every_split_point(wire: bytes, cut: bool) -> None:
    expected = b"".join(one for one in EVENTS if not (cut and one == USAGE))
    for split in range(len(wire) + 1):
        body, meter = events_body(cut=cut)
        client = through(body, wire, [split])
        assert client.payload() == (expected, True)
        assert body.complete
        assert not body.surplus
        assert meter.usage is not None
        assert (meter.usage.prompt, meter.usage.completion, meter.usage.total) == (7, 3, 10)


def test_every_pair_of_split_points_around_the_usage_event() -> None:
    start = WIRE.index(chunk(USAGE))
    around = range(start - 12, start + len(chunk(USAGE)) + 12, 3)
    expected = b"".join(one for one in EVENTS if one != USAGE)
    for pair in itertools.combinations(around, 2):
        client = through(events_body(cut=True)[0], WIRE, pair)
        assert client.payload() == (expected, True)


@settings(max_examples=300)
@given(st.lists(st.integers(0, len(WIRE)), max_size=12), st.booleans(), st.sampled_from(list(AWKWARD.values())))
def test_any_splits(splits: list[int], cut: bool, wire: bytes) -> None:
    client = through(events_body(cut=cut)[0], wire, sorted(min(split, len(wire)) for split in splits))
    assert client.payload() == (b"".join(one for one in EVENTS if not (cut and one == USAGE)), True)


def test_whole_events_pass_as_the_very_memory_they_came_in() -> None:
    body, _ = events_body()
    buffer = bytearray(chunk(WORDS[0]) + chunk(WORDS[1]))
    view = memoryview(buffer)
    out = body.feed(buffer, view, len(buffer))
    assert isinstance(out, memoryview)
    assert out.obj is buffer
    assert out == buffer


def test_after_an_awkward_read_whole_events_pass_as_they_are_again() -> None:
    body, _ = events_body()
    first, second, third = (chunk(word) for word in WORDS)
    client = through(body, first + second, [len(first) + 20])
    assert client.reads[0] == first
    client.take(third)
    assert client.reads[-1] == third


def test_an_event_is_never_passed_on_in_part() -> None:
    wire = b"".join(chunk(one) for one in EVENTS)
    for split in range(len(wire)):
        body, _ = events_body()
        client = through(body, wire[:split])
        payload, _ = client.payload()
        assert b"".join(EVENTS).startswith(payload)
        assert not payload or payload.endswith(b"\n\n")


@pytest.mark.parametrize("at", range(0, len(WIRE) - len(LAST_CHUNK), 7))
def test_a_fault_at_any_point_gives_a_whole_error_event_and_no_clean_end(at: int) -> None:
    body, _ = events_body(cut=True)
    client = through(body, WIRE[:at])
    with pytest.raises(BodyBroken):
        body.eof()
    client.raw += body.last_words(FAULT)
    payload, complete = client.payload()
    assert not complete
    assert payload.endswith(FAULT)
    before = payload.removesuffix(FAULT)
    assert b"".join(one for one in EVENTS if one != USAGE).startswith(before)
    assert not before or before.endswith(b"\n\n")


def test_an_event_too_long_to_hold_is_passed_on_torn_and_a_break_then_only_truncates() -> None:
    body, _ = events_body()
    client = through(body, chunk(b"data: " + b"x" * (HELD + 10)))
    assert client.payload()[0] == b"data: " + b"x" * (HELD + 10)
    assert body.last_words(FAULT) == b""
    client.take(chunk(b"rest\n\n" + WORDS[0]))
    assert client.payload()[0].endswith(b"rest\n\n" + WORDS[0])
    assert body.last_words(FAULT) == chunk(FAULT)


def test_bytes_after_the_end_are_surplus_and_go_nowhere() -> None:
    body, _ = events_body()
    client = through(body, WIRE + b"HTTP/1.1 200 OK\r\n")
    assert client.payload() == (b"".join(EVENTS), True)
    assert client.raw.endswith(LAST_CHUNK)
    assert body.surplus


@pytest.mark.parametrize("wire", [b"zz\r\n", b"5\r\nhelloX", b"-5\r\nhello\r\n", b"5\nhello"])
def test_framing_that_is_none_breaks_the_body(wire: bytes) -> None:
    body, _ = events_body()
    with pytest.raises(BodyBroken):
        through(body, wire)


@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_each_spelling_of_an_empty_line_ends_an_event(ends: bytes) -> None:
    events = [one.replace(b"\n\n", ends) for one in EVENTS]
    wire = b"".join(chunk(one) for one in events) + LAST_CHUNK
    for split in range(len(wire)):
        body, meter = events_body(cut=True)
        client = through(body, wire, [split])
        assert client.payload() == (b"".join(one for one in events if b"prompt_tokens" not in one), True)
        assert meter.usage is not None


def test_events_of_a_known_length_are_framed_anew() -> None:
    data = b"".join(EVENTS)
    for split in range(len(data)):
        body, _ = events_body(LengthFraming(len(data)), cut=True)
        client = through(body, data, [split])
        assert client.payload() == (b"".join(one for one in EVENTS if one != USAGE), True)


def test_events_to_the_end_of_the_connection() -> None:
    data = b"".join(EVENTS) + b"data: half"
    body, _ = events_body(CloseFraming())
    client = through(body, data, [40])
    assert not client.payload()[1]
    client.raw += body.eof()
    assert client.payload() == (data, True)


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    for split in range(len(WIRE)):
        body, _ = events_body(cut=True, raw=True)
        client = through(body, WIRE, [split])
        assert client.raw == b"".join(one for one in EVENTS if one != USAGE)
        assert body.complete


def test_the_meter_hears_all_text_once_however_it_is_split() -> None:
    spoken = b"Hel" + json.dumps('lo "usage": {wörld}', ensure_ascii=False)[1:-1].encode() + rb"\\ \n end"
    for split in range(len(WIRE)):
        body, meter = events_body()
        through(body, WIRE, [split])
        assert bytes(meter.text) == spoken
        assert meter.seen == len(spoken)


ANSWER = b'{"id":"1","usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}'


@pytest.mark.parametrize("split", range(len(ANSWER) + 1))
def test_an_opaque_body_of_known_length(split: int) -> None:
    meter = Meter("chat.completions")
    body = OpaqueBody(LengthFraming(len(ANSWER)), meter, raw=False)
    client = through(body, ANSWER + b"surplus", [split])
    assert client.raw == ANSWER
    assert body.complete
    assert body.surplus
    meter.finish()
    assert meter.usage is not None
    assert meter.usage.total == 3


@pytest.mark.parametrize(
    "framed", [chunk(ANSWER[:9]) + chunk(ANSWER[9:]) + LAST_CHUNK, b"4d;x=y\r\n%b\r\n0\r\nt: u\r\n\r\n" % ANSWER]
)
def test_an_opaque_chunked_body_is_framed_anew(framed: bytes) -> None:
    for split in range(len(framed)):
        body = OpaqueBody(ChunkDecoder(), None, raw=False)
        client = through(body, framed, [split])
        assert client.payload() == (ANSWER, True)
        assert b";x" not in client.raw
        assert b"t: u" not in client.raw


def test_an_opaque_body_to_the_end_of_the_connection() -> None:
    body = OpaqueBody(CloseFraming(), None, raw=False)
    client = through(body, ANSWER, [5, 9])
    client.raw += body.eof()
    assert client.payload() == (ANSWER, True)


def test_an_opaque_body_that_ends_early_is_broken_and_has_no_last_words() -> None:
    for framing in (LengthFraming(100), ChunkDecoder()):
        body = OpaqueBody(framing, None, raw=False)
        through(body, b"5\r\nhello\r\n")
        with pytest.raises(BodyBroken):
            body.eof()
        assert body.last_words(FAULT) == b""


def test_an_empty_body_is_complete_at_once() -> None:
    assert OpaqueBody(LengthFraming(0), None, raw=False).complete
