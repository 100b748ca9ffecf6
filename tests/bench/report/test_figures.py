"""A figure's name says what it is, known or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.figures import Better, figure, order
from bench.report.words import clean, number, percent, times


@pytest.mark.parametrize(
    ("name", "title", "unit", "better"),
    [
        ("cpu_us_per_event", "CPU per SSE event", "µs", Better.LESS),
        ("cpu_us_per_token", "CPU per token", "µs", Better.LESS),
        ("late_p99_ms", "lateness of events, p99", "ms", Better.LESS),
        ("ttft_p50_ms", "time to first token, p50", "ms", Better.LESS),
        ("kb_per_stream", "memory a stream", "KB", Better.LESS),
        ("requests_per_second", "requests", "a second", Better.MORE),
        ("asked_per_s", "asked", "a second", Better.NEITHER),
        ("share_of_others", "of a core: others", "%", Better.NEITHER),
        ("wrong_bytes", "wrong bytes", "", Better.LESS),
        ("direct_p50_ms", "latency without it, p50", "ms", Better.NEITHER),
        ("took_s", "took", "s", Better.NEITHER),
        ("whatever", "whatever", "", Better.NEITHER),
    ],
)
def test_names_are_read(name: str, title: str, unit: str, better: Better) -> None:
    one = figure(name)
    assert (one.title, one.unit, one.better) == (title, unit, better)


def test_what_counts_most_comes_first() -> None:
    names = ["share_of_proxy", "errors", "cpu_us_per_request", "late_p99_ms", "cpu_us_per_event"]
    assert sorted(names, key=order)[:2] == ["cpu_us_per_event", "cpu_us_per_request"]
    assert sorted(names, key=order)[-1] == "share_of_proxy"


@given(st.text(max_size=60))
def test_any_name_is_a_figure(name: str) -> None:
    assert figure(name).floor > 0
    order(name)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.03124, "0.0312"),
        (1.654, "1.65"),
        (17.48, "17.5"),
        (475.2, "475"),
        (16_266.4, "16,266"),
        (-3.0, "-3"),
        (-3.01, "-3.01"),
    ],
)
def test_numbers_are_said(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(("ratio", "said"), [(1.0, "±0.0 %"), (1.124, "+12 %"), (0.949, "−5.1 %"), (31.7, "× 31.7")])
def test_changes_are_said(ratio: float, said: str) -> None:
    assert percent(ratio) == said
    assert times(0.516) == "0.52×"


@given(st.text())
def test_foreign_text_is_one_line_without_orders(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable()
    assert len(shown) <= 601
    assert clean(shown) in (shown, f"{shown[:600]}…")
