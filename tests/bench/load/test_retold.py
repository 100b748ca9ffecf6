"""An answer in a proxy's own words is taken if it says the same, and its events count when their text has come."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.answer import Answer, Wrong
from bench.load.retold import answer_to, fitted, retold
from bench.load.workload import embeddings, plain, stream

STREAM = retold(stream("localhost", {}, 6))
PLAIN = retold(plain("localhost", {}, 6))
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TEXT = STREAM.said or ""
DONE = b"data: [DONE]\n\n"


def event(text: str | None) -> bytes:
    delta = {"role": "assistant"} if text is None else {"content": text}
    return b"data: %b\n\n" % json.dumps({"object": "own", "choices": [{"delta": delta}]}).encode()


def chunked(body: bytes) -> bytes:
    return HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def said(text: str) -> bytes:
    return json.dumps({"own": True, "choices": [{"message": {"content": text}}]}).encode()


@given(st.lists(st.integers(1, len(TEXT) - 1), max_size=8), st.integers(1, 200))
def test_any_cut_of_the_text_in_any_pieces(cuts: list[int], piece: int) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    events = [event(TEXT[a:b]) for a, b in pairwise(places)]
    wire = chunked(event(None) + b"".join(events) + DONE)
    answer = answer_to(STREAM)
    done = [answer.feed(wire[at : at + piece]) for at in range(0, len(wire), piece)]
    assert done == [False] * (len(done) - 1) + [True]
    assert answer.events == len(STREAM.ends)


def test_events_count_when_their_text_has_come() -> None:
    answer = answer_to(STREAM)
    answer.feed(HEAD)
    assert answer.events == 0
    begin = event(None)
    answer.feed(b"%x\r\n%b\r\n" % (len(begin), begin))
    assert answer.events == 2  # those that come before the text
    part = event(TEXT[:8])
    answer.feed(b"%x\r\n%b\r\n" % (len(part), part))
    assert answer.events == 3
    assert TEXT.startswith("water falls")


def test_the_backends_own_words_will_do() -> None:
    for workload in (stream("localhost", {}, 6), plain("localhost", {}, 6), embeddings("localhost", {})):
        answer = answer_to(retold(workload))
        assert answer.feed(chunked(workload.payload) if workload.ends else whole(workload.payload))
        assert answer.events == len(workload.ends)


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (chunked(event(TEXT)), "cut short"),
        (chunked(event(TEXT[:-1]) + DONE), "cut short"),
        (chunked(event(TEXT + "!") + DONE), "wrong text"),
        (chunked(event("?") + DONE), "wrong text"),
        (chunked(b'data: {"error": {"code": "500"}}\n\n'), "error event"),
        (chunked(b"data: {}\n\n"), "bad event"),
        (chunked(b"data: never\n\n"), "bad event"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(wire: bytes, kind: str) -> None:
    with pytest.raises(Wrong) as caught:
        answer_to(STREAM).feed(wire)
    assert caught.value.kind == kind


def test_a_whole_answer_is_compared_by_its_text() -> None:
    assert answer_to(PLAIN).feed(whole(said(TEXT)))
    for wrong, kind in ((said(TEXT[:-1]), "cut short"), (b"{}", "bad JSON"), (b"!", "bad JSON")):
        with pytest.raises(Wrong) as caught:
            answer_to(PLAIN).feed(whole(wrong))
        assert caught.value.kind == kind


def test_a_workload_fits_where_it_is_sent() -> None:
    asked = plain("localhost", {})
    assert fitted(asked, None, "bytes") is asked
    elsewhere = fitted(asked, "/v1/chat/completions", "bytes")
    assert elsewhere.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n")
    assert type(answer_to(elsewhere)) is Answer
    assert fitted(asked, None, "text").said
