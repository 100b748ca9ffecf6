"""Stored histograms (HdrHistogram, compressed V2, base64; microseconds): read, merged, and as shares of all. Pure.

They may come from anywhere: what is unpacked is bounded, and what is no histogram is an error.
"""

import base64
import binascii
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram

from bench.failure import BenchError

MARKED = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
"""The shares of all that are looked at, as far as there are enough values for them."""

_UNPACKED = 1 << 22  # bytes
_OUTER, _INNER = struct.Struct(">II"), struct.Struct(">IIIIQQd")
_PACKED, _COOKIE, _MASK = 0x1C849304, 0x1C849303, ~0xF0
_STEPS = 12  # of a curve for each nine


class Distribution(msgspec.Struct, frozen=True):
    """`counts`: how many there are of each value (µs), from the least on. A value is the most that it may have been."""

    counts: tuple[tuple[int, int], ...]
    total: int

    @property
    def most(self) -> float:
        """In milliseconds."""
        return self.counts[-1][0] / 1000

    @property
    def nines(self) -> float:
        """How many nines the last of them stands for: 3.0 where there are a thousand."""
        return math.log10(self.total)

    def marked(self) -> list[float]:
        """The shares that this many values can tell."""
        return [share for share in MARKED if self.total * (1 - share) >= 0.999]

    def at(self, shares: Iterable[float]) -> list[float]:
        """The values (ms) that these shares of all, given in their order, are at or below."""
        found: list[float] = []
        seen, place = 0, -1
        for share in shares:
            wanted = max(1, math.ceil(share * self.total - 1e-6))
            while seen < wanted:
                place += 1
                seen += self.counts[place][1]
            found.append(self.counts[place][0] / 1000)
        return found

    def curve(self) -> list[tuple[float, float]]:
        """Shares of all and their values (ms), evenly over the nines, to the last but one of all."""
        shares = [1 - 10 ** (-step / _STEPS) for step in range(int(self.nines * _STEPS) + 1)]
        return list(zip(shares, self.at(shares), strict=True))


def merged(encoded: Iterable[str]) -> Distribution | None:
    """All of them together; None without any value. Raises `BenchError`."""
    whole: Counter[int] = Counter()
    for one in encoded:
        part = _decoded(one)
        for place, count in enumerate(part.counts[:]):
            if count > 0:
                whole[part.get_value_from_index(place + 1) - 1] += count
    return Distribution(tuple(sorted(whole.items())), whole.total()) if whole else None


def _decoded(encoded: str) -> Any:
    """What the library makes of it, once its size is known. Raises `BenchError`."""
    wrong = BenchError("a histogram is none; run the bench anew")
    try:
        packed = base64.b64decode(encoded, validate=True)
        cookie, length = _OUTER.unpack_from(packed)
        unpacking = zlib.decompressobj()
        inner = unpacking.decompress(packed[_OUTER.size :], _UNPACKED)
        header = _INNER.unpack_from(inner)
    except (binascii.Error, struct.error, zlib.error, ValueError):
        raise wrong from None
    whole = unpacking.eof and length == len(packed) - _OUTER.size
    known = cookie & _MASK == _PACKED and header[0] & _MASK == _COOKIE and header[1] == len(inner) - _INNER.size
    digits, lowest, highest = header[3:6]
    if not (whole and known and 1 <= digits <= 4 and 1 <= lowest <= 1000 and 2 * lowest <= highest <= 1 << 44):
        raise wrong
    try:
        return HdrHistogram.decode(encoded)
    except Exception:
        raise wrong from None
