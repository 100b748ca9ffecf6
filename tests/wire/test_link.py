"""One TLS socket in the pump: waited on by a task, driven by a relay, or idle."""

import gc
import ssl
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.wire.link import Link, LinkClosed, LinkTimeout
from proxy.wire.pump import Pump
from proxy.wire.server import ClientConnection
from tests.wire.world import LATER, WITHIN, Far, Leaving, World, is_quiet, pass_time, soon, tcp_pair, until

Pair = tuple[Link, Far]


@pytest.fixture
async def pair(world: World) -> Pair:
    return await world.client()


@pytest.fixture
async def narrow(world: World) -> Pair:
    """With little room in the sockets."""
    return await world.client(small=True)


async def test_a_task_waits_for_bytes_and_gets_them(pair: Pair, pump: Pump) -> None:
    link, far = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            count = await link.recv_into(pump.view, soon())
            assert bytes(pump.view[:count]) == b"hello"

        await wait_all_tasks_blocked()
        assert "awaited" in repr(link)
        await far.send(b"hello")
    assert "idle" in repr(link)
    assert not pump.timed


async def test_what_is_decrypted_already_needs_no_event(pair: Pair, pump: Pump) -> None:
    link, far = pair
    await far.send(b"0123456789")
    got = b""
    for _ in range(4):
        count = await link.recv_into(pump.view[:3], soon())
        got += pump.view[:count]
    assert got == b"0123456789"
    await far.send(b"ab")
    await link.recv_into(pump.view[:1], soon())
    await link.readable(soon())


async def test_readable_waits_and_takes_nothing(pair: Pair, pump: Pump) -> None:
    link, far = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.readable, soon())
        await wait_all_tasks_blocked()
        await far.send(b"x")
    assert link.recv_now(pump.view) == 1


async def test_reading_what_is_there(pair: Pair, pump: Pump) -> None:
    link, far = pair
    assert link.recv_now(pump.view) == 0
    await far.send(b"abc")
    await link.readable(soon())
    assert link.recv_now(pump.view) == 3
    far.leave(Leaving.CLEANLY)
    await link.readable(soon())
    with pytest.raises(LinkClosed) as closed:
        link.recv_now(pump.view)
    assert closed.value.clean


@pytest.mark.parametrize(("how", "clean"), [(how, how is Leaving.CLEANLY) for how in Leaving])
async def test_a_peer_that_leaves(pair: Pair, pump: Pump, how: Leaving, clean: bool) -> None:
    link, far = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(LinkClosed) as closed:
                await link.recv_into(pump.view, soon())
            assert closed.value.clean is clean

        await wait_all_tasks_blocked()
        far.leave(how)


async def test_bytes_before_the_end_arrive_before_it(pair: Pair, pump: Pump) -> None:
    link, far = pair
    await far.send(b"last words")
    far.leave(Leaving.CLEANLY)
    assert await link.recv_into(pump.view, soon()) == 10
    with pytest.raises(LinkClosed):
        await link.recv_into(pump.view, soon())


async def test_sending_more_than_the_socket_takes(narrow: Pair) -> None:
    link, far = narrow
    data = bytes(range(256)) * 4096
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, data, soon())
        await wait_all_tasks_blocked()
        assert await far.exactly(len(data)) == data


@pytest.mark.parametrize("how", [Leaving.RAGGED, Leaving.RESET])
async def test_sending_to_a_peer_that_leaves(narrow: Pair, how: Leaving) -> None:
    link, far = narrow
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(LinkClosed) as closed:
                await link.send(bytes(1 << 20), soon())
            assert not closed.value.clean

        await wait_all_tasks_blocked()
        far.leave(how)


# Deadlines.


WAITS: dict[str, Callable[[Link], Awaitable[object]]] = {
    "recv_into": lambda link: link.recv_into(link.pump.view, soon()),
    "readable": lambda link: link.readable(soon()),
    "send": lambda link: link.send(bytes(1 << 20), soon()),
}


@pytest.mark.parametrize("wait", WAITS)
async def test_a_wait_fails_when_a_sweep_finds_its_deadline_passed(narrow: Pair, pump: Pump, wait: str) -> None:
    link, far = narrow
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def waits() -> None:
            with pytest.raises(LinkTimeout):
                await WAITS[wait](link)

        await wait_all_tasks_blocked()
        pump.sweep()
        await wait_all_tasks_blocked()
        assert "awaited" in repr(link)
        pass_time(pump, LATER)
    assert not pump.timed
    if wait != "send":
        await far.send(b"still there")
        assert await link.recv_into(pump.view, soon()) == 11


async def test_a_handshake_with_a_peer_that_says_nothing(world: World, pump: Pump) -> None:
    link, _ = world.unshaken()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def shake() -> None:
            with pytest.raises(LinkTimeout):
                await link.handshake(soon())

        await wait_all_tasks_blocked()
        pass_time(pump, LATER)


async def test_a_handshake_with_a_peer_that_speaks_no_tls(world: World) -> None:
    link, far = world.unshaken()
    raw = far.sock.fileno()
    with trio.fail_after(WITHIN), trio.socket.fromfd(raw, far.sock.family, far.sock.type) as plain:
        await plain.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await link.handshake(soon())


async def test_a_handshake_with_a_peer_that_leaves(world: World) -> None:
    link, far = world.unshaken()
    far.sock.close()
    with pytest.raises(OSError):
        await link.handshake(soon())


async def test_a_wait_can_be_failed_from_outside(pair: Pair, pump: Pump) -> None:
    link, _ = pair
    link.fail(KeyError("nobody waits"))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(LookupError, match="for a reason"):
                await link.recv_into(pump.view, soon())

        await wait_all_tasks_blocked()
        link.fail(LookupError("for a reason"))
        link.fail(LookupError("and not twice"))
    assert not pump.timed


async def test_a_wait_that_is_cancelled_leaves_the_link_usable(pair: Pair, pump: Pump) -> None:
    link, far = pair
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.recv_into(pump.view, soon())
    assert scope.cancelled_caught
    assert not pump.timed
    await far.send(b"go on")
    assert await link.recv_into(pump.view, soon()) == 5


# When nobody waits.


async def test_an_idle_link_tells_what_happens_to_it(pair: Pair, pump: Pump) -> None:
    link, far = pair
    heard: list[int] = []
    link.on_idle = lambda: heard.append(link.recv_now(pump.view))
    link.watch_reading()
    await far.send(b"abc")
    await until(lambda: heard)
    assert heard == [3]


async def test_an_idle_link_that_nobody_listens_to_does_not_spin(pair: Pair, pump: Pump) -> None:
    link, far = pair
    await far.send(b"abc")
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    far.leave(Leaving.RAGGED)
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    assert await link.recv_into(pump.view, soon()) == 3


async def test_a_forgotten_link_is_silent_until_somebody_waits_again(pair: Pair, pump: Pump) -> None:
    link, far = pair
    link.on_idle = lambda: pytest.fail("forgotten")
    link.forget()
    await far.send(b"abc")
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    assert await link.recv_into(pump.view, soon()) == 3


async def test_a_driven_link_is_its_drivers_until_it_is_given_back(pair: Pair, pump: Pump) -> None:
    link, far = pair
    link.forget()
    heard: list[int] = []

    def drive(mask: int) -> None:
        heard.append(mask)
        assert link.recv_now(pump.view) == 3

    link.drive(drive)
    await far.send(b"abc")
    await until(lambda: heard)
    link.undrive()
    await far.send(b"defg")
    assert await link.recv_into(pump.view, soon()) == 4
    assert len(heard) == 1


# The end.


async def test_a_goodbye_is_a_clean_end_for_the_peer(pair: Pair) -> None:
    link, far = pair
    await link.send(b"bye", soon())
    link.say_goodbye()
    assert await far.rest() == b"bye"


async def test_closing_twice_is_allowed(pair: Pair, pump: Pump) -> None:
    link, far = pair
    link.close()
    link.close()
    assert repr(link) == "<Link fd=-1 closed>"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await far.receive()
    assert is_quiet(pump)


async def test_a_closed_link_leaves_the_connection_alone_that_has_its_descriptor_now(world: World, pump: Pump) -> None:
    closed, _ = await world.client()
    fd = closed.fd
    closed.close()
    others = [await world.client() for _ in range(3)]
    assert fd in [descriptor for link, far in others for descriptor in (link.fd, far.sock.fileno())]
    with pytest.raises(LinkClosed):
        await closed.send(b"for somebody else", soon())
    for link, far in others:
        await far.send(b"hello")
        await link.readable(soon())
    with pytest.raises(LinkClosed):
        closed.recv_now(pump.view)
    for link, far in others:
        assert await link.recv_into(pump.view, soon()) == 5
        await link.send(b"answer", soon())
        assert await far.exactly(6) == b"answer"


async def test_a_closed_link_is_gone_at_once(world: World, pump: Pump) -> None:
    """With TLS's memory: no collection of cycles is waited for, though what is overheard on it leads back to it."""
    near, far = tcp_pair()
    with far:
        link = Link(pump, world.wrap(near, world.far_backend(), server=True))
        connection = ClientConnection(link, "127.0.0.1", None)
        connection.await_on(None)
        link.close()
        gone = weakref.ref(link)
        gc.disable()
        try:
            del link, connection
            assert gone() is None
        finally:
            gc.enable()
