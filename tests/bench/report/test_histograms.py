"""Stored histograms are read, merged and looked at; what is none is refused, and a bomb does not go off."""

import base64
import contextlib
import random
import struct
import zlib

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from bench.failure import BenchError
from bench.report.histograms import Distribution, merged
from tests.bench.report.sample import histogram


def known(*encoded: str) -> Distribution:
    found = merged(encoded)
    assert found is not None
    return found


@given(st.lists(st.floats(0.001, 60_000), min_size=1, max_size=50), st.integers(1, 49))
def test_shares_of_all_are_right_within_a_thousandth(values: list[float], cut: int) -> None:
    parts = [part for part in (values[:cut], values[cut:]) if part]
    whole = known(*map(histogram, parts))
    assert whole.total == len(values)
    ordered = sorted(values)
    for share, value in zip((0.5, 0.9, 1.0), whole.at((0.5, 0.9, 1.0)), strict=True):
        exact = ordered[max(0, -(-int(share * 1000 * len(values)) // 1000) - 1)]
        assert value == pytest.approx(exact, rel=0.002, abs=0.0021)


def test_only_shares_that_so_many_can_tell_are_marked() -> None:
    assert known(histogram([1.0] * 9)).marked() == [0.5]
    assert known(histogram([1.0] * 1000)).marked() == [0.5, 0.9, 0.99, 0.999]


def test_a_curve_rises_from_the_least_to_nearly_the_most() -> None:
    rng = random.Random(0)
    one = known(histogram([rng.lognormvariate(3, 1) for _ in range(5000)]))
    shares, values = zip(*one.curve(), strict=True)
    assert list(values) == sorted(values)
    assert shares[0] == 0
    assert 0.999 < shares[-1] < 1
    assert values[-1] <= one.most


def test_histograms_of_other_grain_come_together() -> None:
    coarse = HdrHistogram(1, 10_000_000, 2)
    coarse.record_value(20_000)
    assert known(histogram([10.0]), str(coarse.encode(), "ascii")).at((0.5, 1.0)) == pytest.approx([10, 20], rel=0.01)


def test_none_is_none() -> None:
    assert merged([]) is None
    assert merged([histogram([])]) is None


def packed(inner: bytes) -> str:
    outer = zlib.compress(inner)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(outer)) + outer).decode()


HEADER = ">IIIIQQd"


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "no base64!",
        base64.b64encode(b"short").decode(),
        histogram([1.0])[:-8],
        packed(b""),
        packed(struct.pack(HEADER, 0x1C849313, 0, 0, 3, 1, 1 << 62, 1.0)),
        packed(struct.pack(HEADER, 0x1C849313, 0, 0, 9, 1, 1000, 1.0)),
        packed(struct.pack(HEADER, 0x1C849313, 0, 0, 3, 0, 1000, 1.0)),
        packed(struct.pack(HEADER, 0x1C849313, 1 << 26, 0, 3, 1, 1000, 1.0) + bytes(1 << 26)),
        packed(struct.pack(HEADER, 0x1C849313, 9, 0, 3, 1, 1000, 1.0) + b"\xff" * 9),
    ],
)
def test_what_is_no_histogram_is_refused(encoded: str) -> None:
    with pytest.raises(BenchError, match="a histogram is none"):
        merged([encoded])


@given(st.binary(max_size=200))
def test_any_counts_are_read_or_refused(counts: bytes) -> None:
    encoded = packed(struct.pack(HEADER, 0x1C849313, len(counts), 0, 3, 1, 1_000_000, 1.0) + counts)
    with contextlib.suppress(BenchError):
        merged([encoded])
