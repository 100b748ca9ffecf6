"""One epoll for all: who is called, who is not, and that one that fails harms no other."""

import logging
import os
from collections.abc import Iterator
from functools import partial

import pytest

from proxy.wire.pump import BATCH, READ, WRITE, Pump


@pytest.fixture
def events() -> Iterator[list[int]]:
    """Descriptors that are ready to read, and stay so."""
    fds = [os.eventfd(1, os.EFD_NONBLOCK) for _ in range(BATCH + 30)]
    yield fds
    for fd in fds:
        os.close(fd)


def test_a_handler_is_called_with_what_is_ready(still: Pump, events: list[int]) -> None:
    heard: list[int] = []
    still.register(events[0], heard.append, READ | WRITE)
    assert still.turn(1)
    assert heard == [READ & ~0x2000 | WRITE]
    os.eventfd_read(events[0])
    assert still.turn(1)
    assert heard[1:] == [WRITE]


def test_a_turn_in_which_nothing_is_ready(still: Pump, events: list[int]) -> None:
    os.eventfd_read(events[0])
    still.register(events[0], lambda _: pytest.fail("nothing was ready"))
    assert not still.turn(0)
    assert not still.turn(0.001)


def test_what_is_not_taken_is_announced_again(still: Pump, events: list[int]) -> None:
    heard: list[int] = []
    still.register(events[0], heard.append)
    assert still.turn(0)
    assert still.turn(0)
    os.eventfd_read(events[0])
    assert not still.turn(0)
    assert len(heard) == 2


def test_what_is_watched_and_who_hears_it_can_change(still: Pump, events: list[int]) -> None:
    heard: list[str] = []
    still.register(events[0], lambda _: heard.append("first"), WRITE)
    still.turn(0)
    still.handle(events[0], lambda _: heard.append("second"))
    still.turn(0)
    still.watch(events[0], READ)
    os.eventfd_read(events[0])
    still.turn(0)
    assert heard == ["first", "second"]


def test_after_unregistering_nothing_is_heard_and_doing_so_twice_is_allowed(still: Pump, events: list[int]) -> None:
    still.register(events[0], lambda _: pytest.fail("not registered any more"))
    still.unregister(events[0])
    still.unregister(events[0])
    assert not still.turn(0)
    heard: list[int] = []
    still.register(events[0], heard.append)
    assert still.turn(0)
    assert heard


def test_one_that_an_earlier_handler_of_the_turn_took_out_is_not_called(still: Pump, events: list[int]) -> None:
    called: list[int] = []

    def only_me(number: int) -> None:
        called.append(number)
        still.unregister(events[1 - number])

    still.register(events[0], lambda _: only_me(0))
    still.register(events[1], lambda _: only_me(1))
    still.turn(0)
    assert len(called) == 1


def test_a_handler_that_fails_is_dropped_and_said_so_and_the_others_go_on(
    still: Pump, events: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: int) -> None:
        raise RuntimeError("of this one")

    heard: list[int] = []
    still.register(events[0], heard.append)
    still.register(events[1], fails)
    still.register(events[2], heard.append)
    with caplog.at_level(logging.ERROR, "penstock.pump"):
        still.turn(0)
    assert len(heard) == 2
    assert "handler failed" in caplog.text
    still.turn(0)
    assert len(heard) == 4
    assert len(caplog.records) == 1
    still.unregister(events[1])  # its owner closes it later


def test_a_turn_is_bounded_and_nobody_starves(still: Pump, events: list[int]) -> None:
    calls = dict.fromkeys(events, 0)

    def count(fd: int, _: int) -> None:
        calls[fd] += 1

    for fd in events:
        still.register(fd, partial(count, fd))
    still.turn(0)
    assert sum(calls.values()) == BATCH
    for _ in range(3):
        still.turn(0)
    assert min(calls.values()) > 0


class Timed:
    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.asked: list[float] = []
        pump.timed[self] = None

    def sweep(self, now: float) -> None:
        self.asked.append(now)
        self.pump.timed.pop(self)


def test_a_sweep_asks_each_that_has_a_deadline_even_where_they_go_meanwhile(still: Pump) -> None:
    timed = [Timed(still) for _ in range(3)]
    still.sweep()
    still.sweep()
    assert [len(one.asked) for one in timed] == [1, 1, 1]
    assert timed[0].asked[0] >= still.now


def test_time_is_taken_at_each_turn(still: Pump) -> None:
    before = still.now
    still.turn(0.001)
    assert still.now > before
