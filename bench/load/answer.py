"""One answer as it arrives: head, framing, and every byte of the body compared with what it must be.

Bytes in, progress out; no I/O. The way that costs least is the one nearly every read takes: it is the next event in a
chunk of its own, and one comparison says so. Whatever a proxy made of the framing instead is decoded (RFC 9112 section
7.1) and compared piece by piece.
"""

from bisect import bisect_right
from enum import Enum, auto

from bench.load.workload import Workload

_HEAD_AT_MOST = 64 << 10
_LINE_AT_MOST = 256
_REFUSAL_AT_MOST = 64 << 10
_ERROR_EVENT = b'data: {"error":'  # in place of an event: the stream ends, and its client is told so


class Wrong(Exception):
    """The answer is not what it must be; `kind` says in what way, in a few words. `whole`: it is one all the same, of
    another status, and the connection can be used again.
    """

    def __init__(self, kind: str, *, whole: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.whole = whole


class _Expect(Enum):
    HEAD = auto()
    BODY = auto()  # of a known length
    SIZE = auto()  # a chunk's size line
    DATA = auto()
    DATA_END = auto()  # the line end after a chunk's data
    TRAILER = auto()
    NOTHING = auto()


class Answer:
    """`feed` it until it says that the answer is complete. `events`: how many have come whole; `head`: once it has;
    `closes`: the connection ends with it.

    An answer of another status than 200 is read to its end, unless it says none or a very distant one; then it is
    `Wrong`, and whole.
    """

    __slots__ = (
        "_aligned", "_expect", "_frames", "_held", "_left", "_offset", "_status", "_workload",
        "closes", "events", "head",
    )  # fmt: skip

    def __init__(self, workload: Workload) -> None:
        self.events = 0
        self.head = b""
        self.closes = False
        self._status = ""  # if it is not 200
        self._workload = workload
        self._frames = workload.frames
        self._aligned = False  # between two events, and between two chunks
        self._expect = _Expect.HEAD
        self._held = b""
        self._left = 0
        self._offset = 0

    def feed(self, data: bytes) -> bool:
        """Take what was read; true when the answer is complete. Raises `Wrong`."""
        if self._aligned and self.events < len(self._frames) and data == self._frames[self.events]:
            self._offset = self._workload.ends[self.events]
            self.events += 1
            return False
        if self._expect is _Expect.HEAD and not self._workload.ends and self._at_once(data):
            return True
        if self._held:
            data = self._held + data
            self._held = b""
        position = 0
        while position < len(data):
            if self._expect is _Expect.NOTHING:
                raise Wrong("bytes after the end")
            taken = self._step(data, position)
            if taken < 0:
                self._held = data[position:]
                break
            position = taken
        if not self._status:
            self.events = self._come()
        at_event = self._offset == (self._workload.ends[self.events - 1] if self.events else 0)
        self._aligned = self._expect is _Expect.SIZE and not self._held and at_event and not self._status
        if self._expect is not _Expect.NOTHING:
            return False
        if self._status:
            raise Wrong(self._status, whole=not self.closes)
        return True

    def _at_once(self, data: bytes) -> bool:
        """Whether one read has brought all of an answer that is not streamed, of a length that it says: most are so."""
        payload = self._workload.payload
        end = len(data) - len(payload)
        if self._held or end < 4 or not data.endswith(payload) or data.find(b"\r\n\r\n") != end - 4:
            return False
        head = data[: end - 2].lower()
        if not head.startswith(b"http/1.1 200") or b"\r\ncontent-length: %d\r\n" % len(payload) not in head:
            return False
        if b"\r\ntransfer-encoding:" in head:
            return False
        self.head = data[: end - 4]
        self.closes = b"\r\nconnection: close" in head
        self._offset = len(payload)
        self._expect = _Expect.NOTHING
        return True

    def _step(self, data: bytes, position: int) -> int:
        """Take one thing that is expected; the position after it, or -1 where more is needed first."""
        match self._expect:
            case _Expect.HEAD:
                return self._head(data)
            case _Expect.BODY | _Expect.DATA:
                return self._body(data, position)
            case _Expect.DATA_END:
                if len(data) - position < 2:
                    return -1
                if not data.startswith(b"\r\n", position):
                    raise Wrong("bad chunk end")
                self._expect = _Expect.SIZE
                return position + 2
            case _:
                return self._line(data, position)

    def _head(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _HEAD_AT_MOST:
                raise Wrong("head too long")
            return -1
        self.head = data[:end]
        head = self.head.lower()
        self.closes = b"\r\nconnection: close" in head
        if not data.startswith(b"HTTP/1.1 200"):
            self._status = "status " + data[9:12].decode("latin-1")
        if b"\r\ntransfer-encoding: chunked" in head:
            self._expect = _Expect.SIZE
        else:
            self._left = self._length(head)
            self._expect = _Expect.BODY if self._left else _Expect.NOTHING
        return end + 4

    def _length(self, head: bytes) -> int:
        """The body's, which must be known and, of an answer that is compared, right."""
        _, found, rest = head.partition(b"\r\ncontent-length:")
        digits = rest.partition(b"\r\n")[0].strip()
        if not found or not digits.isdigit():
            raise Wrong(self._status or "no framing")
        length = int(digits)
        if self._status and length > _REFUSAL_AT_MOST:
            raise Wrong(self._status)
        if not self._status and not self._expects(length):
            raise Wrong("wrong length")
        return length

    def _body(self, data: bytes, position: int) -> int:
        part = data[position : position + self._left] if position or len(data) > self._left else data
        if self._status:
            self._offset += len(part)
            if self._offset > _REFUSAL_AT_MOST:
                raise Wrong(self._status)
        else:
            self._compare(part)
        self._left -= len(part)
        if not self._left:
            if self._expect is _Expect.DATA:
                self._expect = _Expect.DATA_END
            else:
                self._ended()
        return position + len(part)

    def _line(self, data: bytes, position: int) -> int:
        """A size line or, after the last chunk, a trailer; extensions and trailers are passed over."""
        end = data.find(b"\r\n", position, position + _LINE_AT_MOST)
        if end < 0:
            if len(data) - position >= _LINE_AT_MOST:
                raise Wrong("line too long")
            return -1
        line = data[position:end]
        if self._expect is _Expect.TRAILER:
            if not line:
                self._ended()
            return end + 2
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            raise Wrong("bad chunk size") from None
        self._expect = _Expect.DATA if self._left else _Expect.TRAILER
        return end + 2

    def _ended(self) -> None:
        if not self._status and not self._complete():
            raise Wrong("cut short")
        self._expect = _Expect.NOTHING

    # How the body is compared.

    def _expects(self, length: int) -> bool:
        """Whether the body can be this long."""
        return length == len(self._workload.payload)

    def _compare(self, part: bytes) -> None:
        """Take the next part of the body. Raises `Wrong`."""
        if not self._workload.payload.startswith(part, self._offset):
            raise Wrong("error event" if part.startswith(_ERROR_EVENT) else "wrong bytes")
        self._offset += len(part)

    def _come(self) -> int:
        """How many events have come whole."""
        return bisect_right(self._workload.ends, self._offset)

    def _complete(self) -> bool:
        """Whether what has come is all there is."""
        return self._offset == len(self._workload.payload)
