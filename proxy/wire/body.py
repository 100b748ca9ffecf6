"""A response body on its way from backend to client: bytes in, bytes to send on out.

Two kinds. An `EventBody` is a stream of server-sent events: it keeps events whole, shows each to the meter, and can
take one out or put one in. An `OpaqueBody` is anything else. Both learn where the body ends from the framing the
backend announced, and frame anew for the client where they must: chunked, or as it is when the length is known or
the client speaks HTTP/1.0. No I/O.

The common case costs no copy: a read that holds whole chunks of whole events goes on as the very memory it was
read into.
"""

import re
from typing import Protocol

from proxy.wire.chunks import LAST_CHUNK, ChunkDecoder, ChunkError, chunk

HELD = 64 << 10
"""An incomplete event waits for its rest up to this size; past it, it is passed on torn."""

_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})\r\n").match
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class BodyBroken(Exception):
    """The backend's body does not end as it was announced, or is no valid framing."""


class Framing(Protocol):
    """Where payload is, and where it ends."""

    @property
    def complete(self) -> bool: ...

    def feed(self, buf: bytes | bytearray, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Read `buf[start:end]`: the ranges that are payload, and where reading stopped."""


class LengthFraming:
    """A body of `content-length` bytes (RFC 9112 section 6.2)."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def complete(self) -> bool:
        return self.left == 0

    def feed(self, buf: bytes | bytearray, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        stop = min(start + self.left, end)
        self.left -= stop - start
        return ([(start, stop)] if stop > start else []), stop


class CloseFraming:
    """A body that ends with its connection (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def feed(self, buf: bytes | bytearray, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        return [(start, end)], end


class Meter(Protocol):
    """What listens to a body's payload."""

    def look(self, buf: bytearray, start: int, end: int) -> bool:
        """See whole events (chunk framing between them does not matter); true if one of them may hold usage."""

    def usage_event(self, event: bytes) -> bool:
        """Read an event that may hold usage; true if it holds nothing else."""

    def payload(self, data: bytes) -> None:
        """See a part of a body that is not a stream of events."""


class Body(Protocol):
    """What a relay drives. `surplus`: the backend sent more than its body, so its connection is not reused."""

    complete: bool
    surplus: bool

    def feed(self, buf: bytearray, view: memoryview, end: int) -> memoryview | bytes:
        """Take `buf[:end]`, of which `view` is a view; the bytes to send on now. Raises `BodyBroken`."""

    def eof(self) -> bytes:
        """The backend ended its connection cleanly: the last bytes to send. Raises `BodyBroken` if too early."""

    def last_words(self, event: bytes) -> bytes:
        """The body is broken: `event`, framed, where it can still be understood; else nothing."""


class EventBody:
    """A stream of server-sent events, kept whole.

    `cut_usage`: the event that holds only usage was the gateway's own wish, and is taken out. `raw`: no chunks for the
    client, who reads to the end of the connection.
    """

    __slots__ = ("_aligned", "_cut", "_framing", "_meter", "_raw", "_tail", "_torn", "complete", "surplus")

    def __init__(self, framing: Framing, meter: Meter, *, cut_usage: bool, raw: bool) -> None:
        self._framing = framing
        self._meter = meter
        self._cut = cut_usage
        self._raw = raw
        self._tail = bytearray()
        self._torn = False
        self._aligned = isinstance(framing, ChunkDecoder) and not raw
        self.complete = False
        self.surplus = False

    def feed(self, buf: bytearray, view: memoryview, end: int) -> memoryview | bytes:
        if self._aligned and (payload := self._whole_chunks(buf, end)) is not None:
            if not self._meter.look(buf, 0, end):
                return view[:end]
            events = b"".join([bytes(buf[start:stop]) for start, stop in payload])
            kept = self._without_usage(events)
            if len(kept) == len(events):
                return view[:end]
            return self._framed(kept)
        return self._rebuild(buf, end)

    def _whole_chunks(self, buf: bytearray, end: int) -> list[tuple[int, int]] | None:
        """The payload of a read that holds nothing but whole chunks of whole events; None for any other."""
        ranges: list[tuple[int, int]] = []
        pos = 0
        while pos < end:
            head = _CHUNK_HEAD(buf, pos, end)
            if head is None:
                return None
            start = head.end()
            stop = start + int(head[1], 16)
            if start == stop:
                if buf[start:end] != b"\r\n":
                    return None
                self.complete = True
                return ranges
            if stop + 2 > end or buf[stop - 2 : stop + 2] != b"\n\n\r\n":
                return None
            ranges.append((start, stop))
            pos = stop + 2
        return ranges

    def _rebuild(self, buf: bytearray, end: int) -> bytes:
        """The general case: decode, hold back what is incomplete, frame anew."""
        try:
            ranges, stop = self._framing.feed(buf, 0, end)
        except ChunkError as error:
            raise BodyBroken(str(error)) from None
        tail = self._tail
        for start, to in ranges:
            tail += buf[start:to]
        self.complete = self._framing.complete
        self.surplus = stop < end
        out = self._take(len(tail) if self.complete else _last_boundary(tail))
        if len(tail) > HELD:
            out += bytes(tail)
            tail.clear()
            self._torn = True
        if isinstance(self._framing, ChunkDecoder) and not self._raw:
            self._aligned = self._framing.between_chunks and not tail and not self._torn
        return self._framed(out)

    def _take(self, boundary: int) -> bytes:
        """Take what ends at an event boundary out of the tail; without the usage event, if that was not asked for."""
        if not boundary:
            return b""
        events = self._tail[:boundary]
        del self._tail[:boundary]
        torn, self._torn = self._torn, False
        if not self._meter.look(events, 0, boundary) or torn:
            return bytes(events)
        return self._without_usage(bytes(events))

    def _without_usage(self, events: bytes) -> bytes:
        kept = []
        pos = 0
        while pos < len(events):
            end = _EVENT_END.search(events, pos)
            stop = end.end() if end else len(events)
            event = events[pos:stop]
            pos = stop
            if not (b'"usage"' in event and self._meter.usage_event(event) and self._cut):
                kept.append(event)
        return b"".join(kept)

    def _framed(self, payload: bytes) -> bytes:
        if self._raw:
            return payload
        return chunk(payload) + LAST_CHUNK if self.complete else chunk(payload)

    def eof(self) -> bytes:
        if not isinstance(self._framing, CloseFraming):
            raise BodyBroken("ended early")
        self.complete = True
        return self._framed(self._take(len(self._tail)))

    def last_words(self, event: bytes) -> bytes:
        if self._torn or self.complete:
            return b""
        return event if self._raw else chunk(event)


def _last_boundary(tail: bytearray) -> int:
    """Where the last whole event ends (WHATWG HTML, section 9.2.6: an empty line, in any of three spellings)."""
    return max(
        tail.rfind(b"\n\n") + 2 if b"\n\n" in tail else 0,
        tail.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in tail else 0,
        tail.rfind(b"\r\r") + 2 if b"\r\r" in tail else 0,
    )


class OpaqueBody:
    """Any body that is not a stream of events: passed on as it comes. A break can only truncate it."""

    __slots__ = ("_chunked", "_framing", "_length", "_meter", "complete", "surplus")

    def __init__(self, framing: Framing, meter: Meter | None, *, raw: bool) -> None:
        self._framing = framing
        self._meter = meter
        self._length = isinstance(framing, LengthFraming)
        self._chunked = not self._length and not raw
        self.complete = framing.complete
        self.surplus = False

    def feed(self, buf: bytearray, view: memoryview, end: int) -> memoryview | bytes:
        try:
            ranges, stop = self._framing.feed(buf, 0, end)
        except ChunkError as error:
            raise BodyBroken(str(error)) from None
        self.complete = self._framing.complete
        self.surplus = stop < end
        if self._length:
            if self._meter is not None:
                self._meter.payload(bytes(buf[:stop]))
            return view[:stop]
        payload = b"".join([bytes(buf[start:to]) for start, to in ranges])
        if self._meter is not None:
            self._meter.payload(payload)
        return self._framed(payload)

    def _framed(self, payload: bytes) -> bytes:
        if not self._chunked:
            return payload
        return chunk(payload) + LAST_CHUNK if self.complete else chunk(payload)

    def eof(self) -> bytes:
        if not isinstance(self._framing, CloseFraming):
            raise BodyBroken("ended early")
        self.complete = True
        return self._framed(b"")

    def last_words(self, event: bytes) -> bytes:
        return b""
