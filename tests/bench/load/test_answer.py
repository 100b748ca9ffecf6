"""An answer is taken whole, however it arrives and is framed, and only if every byte is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.answer import Answer, Wrong
from bench.load.workload import TAG, Workload, plain, stream

STREAM = stream("localhost", {}, 3)
PLAIN = plain("localhost", {})
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = len(STREAM.ends)


def chunks(payload: bytes, sizes: list[int], extension: bytes = b"") -> bytes:
    """The payload in chunks of these sizes, and the rest in one."""
    framed = b""
    for size in [*sizes, len(payload)]:
        part, payload = payload[:size], payload[size:]
        if part:
            framed += b"%x%b\r\n%b\r\n" % (len(part), extension, part)
    return framed + b"0\r\n\r\n"


def taken(workload: Workload, *reads: bytes) -> Answer:
    """Feed all reads; only the last may complete the answer, and must."""
    answer = Answer(workload)
    done = [answer.feed(read) for read in reads]
    assert done == [False] * (len(reads) - 1) + [True]
    return answer


def kind(workload: Workload, *reads: bytes) -> str:
    """What is said to be wrong with the last read; all before it are fine."""
    answer = Answer(workload)
    for read in reads[:-1]:
        answer.feed(read)
    with pytest.raises(Wrong) as caught:
        answer.feed(reads[-1])
    return caught.value.kind


def test_events_in_chunks_of_their_own() -> None:
    assert taken(STREAM, CHUNKED, *STREAM.frames, b"0\r\n\r\n").events == EVENTS
    assert b"".join(STREAM.frames) + b"0\r\n\r\n" == chunks(
        STREAM.payload, [b - a for a, b in zip((0, *STREAM.ends), STREAM.ends, strict=False)]
    )


@pytest.mark.parametrize("sizes", [[], [1] * 50, [STREAM.ends[0] - 1, 1, 700]])
@pytest.mark.parametrize("extension", [b"", b";name=value"])
def test_every_split_point(sizes: list[int], extension: bytes) -> None:
    whole = CHUNKED + chunks(STREAM.payload, sizes, extension)
    for split in range(1, len(whole)):
        assert taken(STREAM, whole[:split], whole[split:]).events == EVENTS


@given(st.lists(st.integers(1, 300), max_size=20), st.lists(st.integers(1, 400), max_size=30))
def test_any_framing_in_any_pieces(sizes: list[int], pieces: list[int]) -> None:
    whole = CHUNKED + chunks(STREAM.payload, sizes)
    reads = []
    for piece in pieces:
        if len(whole) <= piece:
            break
        reads.append(whole[:piece])
        whole = whole[piece:]
    assert taken(STREAM, *reads, whole).events == EVENTS


def test_events_are_counted_when_they_are_whole() -> None:
    answer = Answer(STREAM)
    answer.feed(CHUNKED + STREAM.frames[0][:-3])
    assert answer.events == 0
    answer.feed(STREAM.frames[0][-3:] + STREAM.frames[1] + STREAM.frames[2])
    assert answer.events == 3
    answer.feed(STREAM.frames[3])
    assert answer.events == 4


def test_a_body_of_a_length() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(PLAIN.payload)
    whole = head + PLAIN.payload
    for split in range(1, len(whole)):
        assert taken(PLAIN, whole[:split], whole[split:]).events == 0


def test_a_wrong_byte_anywhere() -> None:
    for at in range(len(STREAM.payload)):
        payload = STREAM.payload[:at] + bytes([STREAM.payload[at] ^ 1]) + STREAM.payload[at + 1 :]
        assert kind(STREAM, CHUNKED, chunks(payload, [100])) == "wrong bytes"


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ([b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"], "status 429"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "no framing"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"], "wrong length"),
        ([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000], "head too long"),
        ([CHUNKED, b"xyz\r\n"], "bad chunk size"),
        ([CHUNKED, b"1" * 300], "line too long"),
        ([CHUNKED, STREAM.frames[0][:-2] + b"??"], "bad chunk end"),
        ([CHUNKED, STREAM.frames[0], b"0\r\n\r\n"], "cut short"),
        ([CHUNKED, *STREAM.frames, b"1\r\n!\r\n"], "wrong bytes"),
        ([CHUNKED, STREAM.frames[0], b'15\r\ndata: {"error":"x"}\n\n\r\n'], "error event"),
        ([CHUNKED, *STREAM.frames, b"0\r\n\r\nmore"], "bytes after the end"),
    ],
)
def test_what_is_wrong_is_said(reads: list[bytes], said: str) -> None:
    assert kind(STREAM, *reads) == said


def test_trailers_are_passed_over() -> None:
    assert taken(STREAM, CHUNKED, *STREAM.frames, b"0\r\nx-trailer: 1\r\n", b"\r\n").events == EVENTS


def test_a_tagged_request_differs_by_one_header() -> None:
    tagged = STREAM.request("bench-1")
    assert tagged.replace(f"{TAG}: bench-1\r\n".encode(), b"") == STREAM.request()
