"""The pure parts: requests out of bytes, faults, allowances, renderings, the log."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mock import rendering
from bench.mock.faults import Fault, Faults, Kind
from bench.mock.limits import Allowance
from bench.mock.received import Log
from bench.mock.rendering import Renderings
from bench.mock.request import BadRequest, Reader, Request

TWO = (
    b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: dropped\r\n\r\n"
    b"PUT /second HTTP/1.1\r\nX-Name: One\r\nx-name: two\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
)


@given(st.lists(st.integers(0, len(TWO)), max_size=6))
def test_requests_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    reader = Reader()
    ends = [*sorted(cuts), len(TWO)]
    for start, end in zip([0, *ends], ends, strict=False):
        reader.feed(TWO[start:end])
    first, second = reader.requests
    assert (first.method, first.target, first.body, first.keep_alive) == (b"POST", b"/a?b=c", b"abcde", True)
    assert b"trailer" not in first.headers
    assert (second.method, second.target, second.body, second.keep_alive) == (b"PUT", b"/second", b"body", False)
    assert second.fields[:2] == [(b"X-Name", b"One"), (b"x-name", b"two")]
    assert second.headers[b"x-name"] == b"two"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 400),
        (b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: %b\r\n" % (b"b" * 50_000) * 30 + b"\r\n", 431),
    ],
)
def test_what_is_no_request(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        Reader().feed(data)
    assert caught.value.status == status


def test_100_continue_is_waited_for_until_the_body_comes() -> None:
    reader = Reader()
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert reader.expects
    reader.feed(b"x")
    assert not reader.expects


@pytest.mark.parametrize(
    ("fault", "asked", "hits"),
    [
        (Fault(kind=Kind.RESET), [("a", "x"), ("b", "y")], [True, True]),
        (Fault(kind=Kind.RESET, instance="a"), [("a", "x"), ("b", "x")], [True, False]),
        (Fault(kind=Kind.RESET, deployment="x"), [("a", "x"), ("a", "y")], [True, False]),
        (Fault(kind=Kind.RESET, times=2), [("a", "x")] * 4, [True, True, False, False]),
        (Fault(kind=Kind.RESET, instance="a", times=1), [("b", "x"), ("a", "x"), ("a", "x")], [False, True, False]),
        (Fault(kind=Kind.RESET), [("identity", ""), ("entra", "")], [False, False]),
        (Fault(kind=Kind.RESET, instance="identity"), [("identity", ""), ("entra", "")], [True, False]),
        (Fault(kind=Kind.RESET, probability=0.0), [("a", "x")] * 3, [False] * 3),
    ],
)
def test_who_gets_a_fault(fault: Fault, asked: list[tuple[str, str]], hits: list[bool]) -> None:
    faults = Faults(random.Random(0))
    faults.add(fault)
    assert [faults.pick(*one) is not None for one in asked] == hits


def test_the_first_fault_that_fits_wins_and_the_next_follows() -> None:
    faults = Faults(random.Random(0))
    faults.add(Fault(kind=Kind.RESET, times=1))
    faults.add(Fault(kind=Kind.HANG))
    picked = [faults.pick("a", "x") for _ in range(3)]
    assert [fault.kind for fault in picked if fault] == [Kind.RESET, Kind.HANG, Kind.HANG]


def test_tokens_a_minute_slide() -> None:
    allowance = Allowance(100, 0)
    assert allowance.admit(0.0, 60) is None
    assert allowance.admit(10.0, 30) is None
    assert allowance.remaining()[0] == 10
    assert allowance.admit(20.0, 20) == pytest.approx(40.0), "until the first sixty are forgotten"
    assert allowance.admit(20.0, 90) == pytest.approx(50.0), "until the thirty are as well"
    assert allowance.admit(20.0, 200) == 60.0, "never, really"
    assert allowance.admit(60.0, 20) is None
    assert allowance.remaining()[0] == 50


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 120)), max_size=40))
def test_no_minute_takes_more_than_its_tokens(asked: list[tuple[float, int]]) -> None:
    allowance = Allowance(100, 0)
    now, admitted = 0.0, []
    for after, tokens in asked:
        now += after
        if allowance.admit(now, tokens) is None:
            admitted.append((now, tokens))
        assert sum(spent for at, spent in admitted if at > now - 60) <= 100


def test_capacity_is_of_requests_under_way() -> None:
    allowance = Allowance(0, 2)
    assert [allowance.admit(0.0, 1) is None for _ in range(3)] == [True, True, False]
    assert allowance.utilization() == "100.0%"
    allowance.done()
    assert allowance.admit(0.0, 1) is None


def test_a_rendering_is_kept_and_its_events_are_shared() -> None:
    renderings = Renderings()
    raw = b'{"messages":[],"stream":true,"max_tokens":400,"model":"m"}'
    one = renderings.of("chat/completions", raw)
    assert renderings.of("chat/completions", raw) is one
    assert renderings.of("completions", raw) is not one
    assert (one.model, one.streams, one.tokens) == ("m", True, 401)
    chunks = one.events("d", 16, chunked=True)
    assert one.events("d", 16, chunked=True) is chunks
    assert b"".join(one.events("d", 16, chunked=False)) == b"".join(
        chunk.partition(b"\r\n")[2].removesuffix(b"\r\n") for chunk in chunks
    )
    assert len({id(chunk) for chunk in chunks}) < 20


def test_renderings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_ENTRIES", 3)
    renderings = Renderings()
    bodies = [b'{"seed":%d}' % number for number in range(5)]
    kept = [renderings.of("chat/completions", body) for body in bodies]
    assert renderings.of("chat/completions", bodies[4]) is kept[4]
    assert renderings.of("chat/completions", bodies[0]) is not kept[0]
    monkeypatch.setattr(rendering, "_BYTES", 1)
    assert renderings.of("chat/completions", b"{ }") is not renderings.of("chat/completions", b"{ }")


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"{", b"\xff"])
def test_no_json_object_no_rendering(raw: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        Renderings().of("chat/completions", raw)


def asked(body: bytes = b"") -> Request:
    return Request(b"POST", b"/", [], body, keep_alive=True)


def test_the_log_is_bounded_by_number_and_by_bytes() -> None:
    log = Log(3)
    for number in range(5):
        log.add("a", asked(b"%d" % number))
    assert [entry["body"] for entry in log.shown(0.0, None, None, 100)] == ["2", "3", "4"]
    large = Log(1000)
    for _ in range(70):
        large.add("a", asked(b"x" * (2 << 20)))
    assert len(large) == 64
    assert large.shown(0.0, None, None, 1)[0]["body_bytes"] == 2 << 20


def test_the_first_end_is_the_end() -> None:
    entry = Log(1).add("a", asked())
    entry.end("client_gone")
    entry.end("complete")
    assert entry.ended == "client_gone"
    assert entry.gone_after is not None
