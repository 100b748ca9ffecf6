"""Durations and sizes: what is accepted, and that nothing else is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "30 s", "-1s", "+1s", "1e3s", "30sec", "30S", ".5s", "5.s", "30s\n", "٣s", "9" * 400 + "d"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="a duration is a number and ms, s, m, h or d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "size"),
    [("64KiB", 65_536), ("32MiB", 33_554_432), ("1GiB", 1 << 30), ("64 KiB", 65_536), ("7B", 7), (4096, 4096), (0, 0)],
)
def test_sizes(value: str | int, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "64", "64KB", "64kib", "1.5MiB", "-1KiB", "KiB", -1, True, "9" * 5000 + "B"])
def test_no_sizes(value: str | int) -> None:
    with pytest.raises(ValueError, match="a size is a number of bytes"):
        parse_size(value)


@given(st.text(max_size=20))
def test_any_text_is_a_finite_amount_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            amount = parse(text)
        except ValueError:
            continue
        assert amount >= 0
        assert math.isfinite(amount)
