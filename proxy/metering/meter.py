"""What one answer used, as its bytes go by.

Exact where the backend reports usage; where it does not, or the stream is cut short, the text that was relayed is kept
(bounded) for the tokenizer. Pure.
"""

import zlib

from proxy.metering.event import delta_text, has_usage
from proxy.metering.usage import UsageTail, is_usage_only, usage_of, usage_of_event
from proxy.record.record import Tokens

KEPT_TEXT = 64 << 10
_WHOLE = 256 << 10
_INFLATED_AT_MOST = 8 << 20


class Meter:
    """Listens to one answer of `operation`. `seen` is how many bytes of text it had; `text` holds the first of them.

    `inflate`: the body is compressed although nobody asked for that; a copy is decoded, the original passes untouched.
    """

    __slots__ = ("_inflate", "_inflated", "_operation", "_parts", "_size", "_tail", "seen", "text", "usage")

    def __init__(self, operation: str, *, inflate: bool = False) -> None:
        self._operation = operation
        self._parts: list[bytes] = []
        self._size = 0
        self._tail: UsageTail | None = None
        self._inflate = zlib.decompressobj(wbits=47) if inflate else None
        self._inflated = 0
        self.usage: Tokens | None = None
        self.text = bytearray()
        self.seen = 0

    def look(self, buf: bytearray, start: int, end: int) -> bool:
        text = delta_text(self._operation, buf, start, end)
        if text:
            self.seen += len(text)
            if len(self.text) < KEPT_TEXT:
                self.text += text
        return has_usage(buf, start, end) >= 0

    def usage_event(self, event: bytes) -> bool:
        data = event_data(event)
        usage = usage_of_event(self._operation, data)
        if usage is None:
            return False
        self.usage = usage
        return is_usage_only(data)

    def payload(self, data: bytes) -> None:
        if self._inflate is not None:
            data = self._decoded(data)
        self._size += len(data)
        if self._tail is None:
            self._parts.append(data)
            if self._size > _WHOLE:
                self._tail = UsageTail()
                for part in self._parts:
                    self._tail.feed(part)
                self._parts.clear()
        else:
            self._tail.feed(data)

    def _decoded(self, data: bytes) -> bytes:
        assert self._inflate is not None
        left = _INFLATED_AT_MOST - self._inflated
        if left <= 0:
            return b""
        try:
            decoded = self._inflate.decompress(data, left)
        except zlib.error:
            self._inflated = _INFLATED_AT_MOST
            return b""
        self._inflated += len(decoded)
        return decoded

    def finish(self) -> None:
        """The body is complete: read the usage of one that was not a stream."""
        if self._tail is not None:
            self.usage = self._tail.usage(self._operation)
        elif self._parts:
            self.usage = usage_of(self._operation, b"".join(self._parts))


def event_data(event: bytes) -> bytes:
    """The data of one server-sent event (WHATWG HTML, section 9.2.6), its lines joined."""
    if event.startswith(b"data: ") and event.find(b"\n", 6) >= len(event) - 2:
        return event[6:-2]
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join([line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")])
