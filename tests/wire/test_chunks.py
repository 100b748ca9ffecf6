"""Chunked bodies: every split gives the same payload, and what is no chunked body is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.chunks import LAST_CHUNK, ChunkDecoder, ChunkError, chunk


def decode(data: bytes, *splits: int) -> tuple[bytes, int, bool]:
    """Payload, bytes read of `data`, and whether the body is complete; fed in pieces cut at `splits`."""
    decoder = ChunkDecoder()
    payload = b""
    read = 0
    edges = [0, *sorted(splits), len(data)]
    for start, end in itertools.pairwise(edges):
        ranges, stop = decoder.feed(data, start, end)
        payload += b"".join(data[a:b] for a, b in ranges)
        read = stop
        if decoder.complete:
            break
    return payload, read, decoder.complete


BODIES = [
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"00a\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
    (b"3;name=value\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3 ;x\r\nabc\r\n0;last\r\n\r\n", b"abc"),
    (b"3\r\n\r\n\n\r\n0\r\n\r\n", b"\r\n\n"),
    (b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\nOther: 2\r\n\r\n", b"abc"),
    (b"0\r\n\r\n", b""),
]


@pytest.mark.parametrize(("body", "payload"), BODIES)
def test_every_split_gives_the_payload(body: bytes, payload: bytes) -> None:
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            assert decode(body, first, second) == (payload, len(body), True)


@pytest.mark.parametrize(("body", "payload"), BODIES)
def test_reading_stops_at_the_end(body: bytes, payload: bytes) -> None:
    assert decode(body + b"GET / HTTP/1.1\r\n") == (payload, len(body), True)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\nhello",
        b"g\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b" 5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\r\nhello\r\n",
        b"5\rX\r\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello0\r\n\r\n",
        b"1234567890abcdef\r\n",
        b"5;" + b"x" * 5000 + b"\r\n",
        b"0\r\n" + b"a: b\n\r\n",
        b"0\r\n" + (b"a: " + b"b" * 1000 + b"\r\n") * 20 + b"\r\n",
    ],
)
def test_what_is_no_chunked_body_is_refused(body: bytes) -> None:
    with pytest.raises(ChunkError):
        decode(body)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_payload_or_an_error(data: bytes) -> None:
    try:
        payload, read, _ = decode(data)
    except ChunkError:
        return
    assert len(payload) <= read <= len(data)


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_what_is_framed_is_found_again(parts: list[bytes], splits: list[int]) -> None:
    data = b"".join(chunk(part) for part in parts) + LAST_CHUNK
    payload, read, complete = decode(data, *(split % (len(data) + 1) for split in splits))
    assert (payload, read, complete) == (b"".join(parts), len(data), True)


def test_an_empty_chunk_is_never_made() -> None:
    assert chunk(b"") == b""
