"""W3C Trace Context, continued or ignored, and ids of requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.trace import continue_trace, request_ids

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


def test_a_trace_is_continued_with_a_span_of_our_own() -> None:
    assert continue_trace(b"00-%b-%b-01" % (TRACE, SPAN), 0xABC) == (
        TRACE.decode(),
        b"00-%b-0000000000000abc-01" % TRACE,
    )


@pytest.mark.parametrize("flags", [b"00", b"01", b"ff"])
def test_flags_are_the_callers(flags: bytes) -> None:
    continued = continue_trace(b"00-%b-%b-%b" % (TRACE, SPAN, flags), 1)
    assert continued is not None
    assert continued[1].endswith(b"-" + flags)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"nonsense",
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"01-%b-%b-01" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-1" % (TRACE, SPAN),
        b" 00-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01\r\nx: y" % (TRACE, SPAN),
        b"00-%b-%b-01\n" % (TRACE, SPAN),
    ],
)
def test_what_is_no_trace_is_ignored(header: bytes | None) -> None:
    assert continue_trace(header, 1) is None


@given(st.binary(max_size=60), st.integers(1, 2**64 - 1))
def test_whatever_comes_in_what_goes_out_is_valid(header: bytes, span: int) -> None:
    continued = continue_trace(header, span)
    if continued is not None:
        assert continue_trace(continued[1], span) is not None


@given(st.integers(1, 2**64 - 1))
def test_any_span_fits(span: int) -> None:
    continued = continue_trace(b"00-%b-%b-01" % (TRACE, SPAN), span)
    assert continued is not None
    assert int(continued[1].split(b"-")[2], 16) == span
    assert len(continued[1]) == 55


def test_request_ids_differ_and_begin_with_their_process() -> None:
    one, other = request_ids("a1"), request_ids("b2")
    made = [one() for _ in range(1000)] + [other()]
    assert len(set(made)) == 1001
    assert made[0] == "a1-00000001"
    assert made[-1].startswith("b2-")
