"""Chunked bodies (RFC 9112 section 7.1), strictly: bytes in, ranges of payload out.

No I/O. Chunk extensions and trailers are read past, bounded, and never handed on.
"""

from enum import Enum

_LINE = 4096
_TRAILERS = 16384
_HEX = frozenset(b"0123456789abcdefABCDEF")


class ChunkError(ValueError):
    """Bytes that are no chunked body."""


class _State(Enum):
    SIZE = 1
    DATA = 2
    DATA_END = 3
    TRAILER = 4
    DONE = 5


class ChunkDecoder:
    """Finds the payload in a chunked body that arrives in pieces."""

    __slots__ = ("_left", "_line", "_state", "_trailers")

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._left = 0
        self._line = bytearray()
        self._trailers = 0

    @property
    def complete(self) -> bool:
        return self._state is _State.DONE

    @property
    def between_chunks(self) -> bool:
        return self._state is _State.SIZE and not self._line

    def feed(self, buf: bytes | bytearray, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Read `buf[start:end]`: the ranges that are payload, and where reading stopped (the body's end, or `end`).

        Raises `ChunkError`; the decoder is of no use after that.
        """
        ranges: list[tuple[int, int]] = []
        pos = start
        while pos < end and self._state is not _State.DONE:
            if self._state is _State.DATA:
                stop = min(pos + self._left, end)
                ranges.append((pos, stop))
                self._left -= stop - pos
                pos = stop
                if not self._left:
                    self._state = _State.DATA_END
                continue
            newline = buf.find(b"\n", pos, end)
            stop = end if newline < 0 else newline + 1
            self._line += buf[pos:stop]
            pos = stop
            if len(self._line) > _LINE:
                raise ChunkError("line too long")
            if self._state is _State.DATA_END and not b"\r\n".startswith(self._line):
                raise ChunkError("chunk longer than its size")
            if newline >= 0:
                self._take_line()
        return ranges, pos

    def _take_line(self) -> None:
        if self._line[-2:] != b"\r\n" or self._line.count(b"\r") != 1:
            raise ChunkError("line not ended by CRLF")
        line = bytes(self._line[:-2])
        self._line.clear()
        if self._state is _State.SIZE:
            self._left = _size(line)
            self._state = _State.DATA if self._left else _State.TRAILER
        elif self._state is _State.DATA_END:
            self._state = _State.SIZE
        elif line:
            self._trailers += len(line)
            if self._trailers > _TRAILERS:
                raise ChunkError("trailers too long")
        else:
            self._state = _State.DONE


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= 15 or not _HEX.issuperset(digits):
        raise ChunkError("chunk size")
    return int(digits, 16)


def chunk(payload: bytes) -> bytes:
    """One chunk. Empty payload gives nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


LAST_CHUNK = b"0\r\n\r\n"
