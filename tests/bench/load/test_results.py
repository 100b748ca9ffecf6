"""Requests are counted by moments and clients, and what was counted adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.connection import field
from bench.load.outcome import Timeline
from bench.load.results import Moments, Results, Tally, unpacked
from bench.report.stored import Second

APART = Moments(0.1, ("a", "b"))


@given(st.integers(0, 20_000), st.sampled_from(["a", "b", "c", ""]))
def test_a_place_says_which_moment_and_whose(moment: int, client: str) -> None:
    place = APART.place(moment * 0.1, client)
    assert APART.of(place) == (moment, client if client in APART.apart else "")
    assert place in APART.within(moment // 10)


def test_moments_are_seconds_of_everyone_unless_something_else_is_asked_for() -> None:
    assert [Moments().place(time, "a") for time in (0.0, 0.99, 1.0, 7.5)] == [0, 0, 1, 7]
    assert list(Moments().within(7)) == [7]
    assert len(APART.within(3)) == 30


def test_tallies_add_up_over_processes() -> None:
    one, other = Results(), Results()
    for results, told in ((one, 1.5), (other, 0.5)):
        tally, ttft = results.tally(4)
        tally.add(Tally(asked=2, answered=1, refused=1, told=told, by={"swc": 1}))
        ttft.add(0.25)
    one.merge(unpacked(other.packed()))
    tally, ttft = one.tallies[4]
    assert (tally.asked, tally.over, tally.told, tally.by) == (4, 4, 1.5, {"swc": 2})
    assert ttft.count == 2


def test_a_timeline_keeps_every_moment_and_few_buckets_of_the_old_ones() -> None:
    timeline = Timeline(APART)
    for second in range(100):
        results = Results()
        for number in range(200):
            tally, ttft = results.tally(APART.place(second + 0.05, "a"))
            tally.add(Tally(asked=1, answered=1))
            ttft.add(0.1 + number / 1000)
        timeline.add(results.tallies)
        timeline.happened(Second(at=second))
    old, new = (len(timeline.due[APART.place(at + 0.05, "a")][1].counts) for at in (0, 99))
    assert old < new / 2
    seconds = timeline.seconds()
    assert sum(second.answered for second in seconds) == 20_000
    assert seconds[0].ttft_p50 == pytest.approx(200, rel=0.04)


@pytest.mark.parametrize(
    ("head", "value"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Penstock-Backend: swc \r\nvia: x", b"swc"),
        (b"HTTP/1.1 200 OK\r\nx-penstock-backend:frc", b"frc"),
        (b"HTTP/1.1 200 OK\r\nnot-x-penstock-backend: swc", b""),
        (b"", b""),
    ],
)
def test_a_field_of_a_head(head: bytes, value: bytes) -> None:
    assert field(head, b"x-penstock-backend") == value
