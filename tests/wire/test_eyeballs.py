"""The first address that answers wins, and nothing of the others is left open: made-up networks, virtual time."""

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from proxy.wire.eyeballs import STAGGER, first_to_answer
from proxy.wire.resolve import Address

NEVER = 3600.0


class Connection:
    def __init__(self, host: object) -> None:
        self.host = host
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Network:
    """Each host answers after its seconds, or refuses after them where those are negative."""

    def __init__(self, **hosts: float) -> None:
        self.hosts = hosts
        self.addresses: list[Address] = [(socket.AF_INET, (host,)) for host in hosts]
        self.began: dict[object, float] = {}
        self.made: list[Connection] = []
        self.given_up = 0

    async def attempt(self, address: Address) -> Connection:
        (host,) = address[1]
        self.began[host] = trio.current_time()
        seconds = self.hosts[str(host)]
        try:
            await trio.sleep(abs(seconds))
        except trio.Cancelled:
            self.given_up += 1
            raise
        if seconds < 0:
            raise ConnectionRefusedError(111, f"{host} refused")
        self.made.append(Connection(host))
        return self.made[-1]

    async def run(self) -> tuple[object, int]:
        made, place = await first_to_answer(self.addresses, self.attempt)
        assert [connection for connection in self.made if not connection.closed] == [made]
        return made.host, place


@pytest.mark.parametrize(
    ("hosts", "winner", "after"),
    [
        ({"a": 0.1}, ("a", 0), 0.1),
        ({"a": 0.1, "b": 0.0}, ("a", 0), 0.1),
        ({"a": NEVER, "b": 0.1}, ("b", 1), STAGGER + 0.1),
        ({"a": -0.01, "b": 0.1}, ("b", 1), 0.11),
        ({"a": 0.4, "b": 0.3}, ("a", 0), 0.4),
        ({"a": 1.0, "b": 0.3}, ("b", 1), STAGGER + 0.3),
        ({"a": NEVER, "b": NEVER, "c": 0.1}, ("c", 2), 2 * STAGGER + 0.1),
        ({"a": NEVER, "b": -0.01, "c": 0.1}, ("c", 2), STAGGER + 0.11),
        ({"a": -0.01, "b": -0.01, "c": -0.01, "d": 0.1}, ("d", 3), 0.13),
        ({"a": -0.3, "b": NEVER, "c": 0.0}, ("c", 2), 2 * STAGGER),
    ],
)
async def test_who_wins(
    autojump_clock: MockClock, hosts: dict[str, float], winner: tuple[str, int], after: float
) -> None:
    assert await Network(**hosts).run() == winner
    assert trio.current_time() == pytest.approx(after)


async def test_the_rest_is_given_up(autojump_clock: MockClock) -> None:
    network = Network(a=NEVER, b=NEVER, c=0.0, d=0.0)
    assert await network.run() == ("c", 2)
    assert network.given_up == 2
    assert list(network.began) == ["a", "b", "c"], "d was not even tried"


async def test_two_that_answer_in_one_turn(autojump_clock: MockClock) -> None:
    network = Network(a=STAGGER + 1, b=1.0)
    await network.run()
    assert len(network.made) - sum(connection.closed for connection in network.made) == 1


async def test_all_refuse(autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectionRefusedError, match="c refused"):
        await Network(a=-0.01, b=-0.02, c=-0.03).run()


async def test_no_address() -> None:
    with pytest.raises(OSError, match="no address"):
        await Network().run()


async def test_a_caller_that_gives_up_leaves_nothing_open(autojump_clock: MockClock) -> None:
    network = Network(a=NEVER, b=NEVER)
    with trio.move_on_after(1.0):
        await network.run()
    assert network.given_up == 2
    assert not network.made


@given(st.lists(st.one_of(st.floats(0, 2), st.floats(-2, -0.001), st.just(NEVER)), min_size=1, max_size=6))
def test_whatever_the_network_does_the_soonest_that_was_tried_wins(seconds: list[float]) -> None:
    network = Network(**{f"h{n}": wait for n, wait in enumerate(seconds)})

    async def run() -> None:
        try:
            host, place = await network.run()
        except ConnectionRefusedError:
            assert all(wait < 0 for wait in seconds)
            return
        assert host == f"h{place}"
        now = trio.current_time()
        for other, began in network.began.items():
            wait = network.hosts[str(other)]
            assert wait < 0 or began + wait >= now - 1e-9, "none that answered before was passed over"

    trio.run(run, clock=MockClock(autojump_threshold=0))
