"""Both ways to drive a pump: in the place where trio would wait, and from a task. The same promises hold for either."""

import os
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import trio

from certs.pki import Pki
from proxy.wire.body import LengthFraming, OpaqueBody
from proxy.wire.clock import PumpClock, drive, sweep
from proxy.wire.pump import BATCH, Pump
from proxy.wire.relay import Relay, RelayEnd
from tests.wire.world import WITHIN, World, soon, until

T = TypeVar("T")
Driver = Callable[[Callable[[Pump], Awaitable[T]]], T]


def in_the_clock(main: Callable[[Pump], Awaitable[T]]) -> T:
    pump = Pump()
    clock = PumpClock(pump)

    async def attached() -> T:
        assert clock.attach()
        with trio.fail_after(WITHIN):
            return await main(pump)

    try:
        return trio.run(attached, clock=clock)
    finally:
        pump.close()


def in_a_task(main: Callable[[Pump], Awaitable[T]]) -> T:
    pump = Pump()

    async def driven() -> T:
        with trio.fail_after(WITHIN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive, pump)
                result = await main(pump)
                nursery.cancel_scope.cancel()
        return result

    try:
        return trio.run(driven)
    finally:
        pump.close()


def in_a_task_of_a_clock_that_is_not_attached(main: Callable[[Pump], Awaitable[T]]) -> T:
    """As a worker does where trio's epoll cannot be told among several."""
    pump = Pump()
    clock = PumpClock(pump)

    async def driven() -> T:
        with select.epoll():
            assert not clock.attach()
        assert not clock.attached
        with trio.fail_after(WITHIN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive, pump)
                result = await main(pump)
                nursery.cancel_scope.cancel()
        return result

    try:
        return trio.run(driven, clock=clock)
    finally:
        pump.close()


@pytest.fixture(params=[in_the_clock, in_a_task, in_a_task_of_a_clock_that_is_not_attached])
def run(request: pytest.FixtureRequest) -> Driver[object]:
    driver: Driver[object] = request.param
    return driver


@pytest.fixture
def ready() -> Iterator[list[int]]:
    """More descriptors than fit into a turn, ready to read whatever is done."""
    fds = [os.eventfd(1, os.EFD_NONBLOCK) for _ in range(BATCH + 20)]
    yield fds
    for fd in fds:
        os.close(fd)


def test_links_and_a_relay(run: Driver[object], pki: Pki) -> None:
    async def main(pump: Pump) -> None:
        world = World(pump, pki)
        client_link, client = await world.client()
        backend_link, backend = await world.backend()
        for number in range(50):
            await client.send(b"%d" % number)
            count = await client_link.recv_into(pump.view, soon())
            await client_link.send(bytes(pump.view[:count]), soon())
            assert await client.receive() == b"%d" % number
        data = os.urandom(200_000)
        relay = Relay(
            client_link, backend_link, OpaqueBody(LengthFraming(len(data)), None, raw=False),
            idle=WITHIN, stall=WITHIN, until=soon(), last_words=b"", client_alive=lambda: True,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            nursery.start_soon(backend.send, data)
            assert await client.exactly(len(data)) == data
        assert relay.end is RelayEnd.COMPLETE
        world.close()

    run(main)


def test_who_waits_gets_the_bytes_and_not_who_listens_when_nobody_does(run: Driver[object], pki: Pki) -> None:
    """Between waking a task and its running there must be no second turn, to which its link would look idle."""

    async def main(pump: Pump) -> None:
        world = World(pump, pki)
        link, far = await world.client()
        link.on_idle = lambda: pytest.fail("somebody waits")
        for _ in range(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.recv_into, pump.view, soon())
                nursery.start_soon(far.send, b"for who waits")
        world.close()

    run(main)


def test_deadlines_fire_while_the_pump_is_idle(run: Driver[object]) -> None:
    async def main(pump: Pump) -> None:
        began = time.monotonic()
        await trio.sleep(0.02)
        assert 0.02 <= time.monotonic() - began < WITHIN / 2

    run(main)


def test_deadlines_fire_while_the_pump_is_busy(run: Driver[object], ready: list[int]) -> None:
    async def main(pump: Pump) -> None:
        for fd in ready:
            pump.register(fd, lambda _: None)
        began = time.monotonic()
        await trio.sleep(0.02)
        assert 0.02 <= time.monotonic() - began < WITHIN / 2
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    run(main)


@pytest.mark.parametrize("busy", [False, True])
def test_trios_own_sockets_are_heard(run: Driver[object], ready: list[int], busy: bool) -> None:
    async def main(pump: Pump) -> None:
        for fd in ready if busy else ():
            pump.register(fd, lambda _: None)
        one, other = trio.socket.socketpair()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def echo() -> None:
                for _ in range(20):
                    await other.send(await other.recv(10))

            for number in range(20):
                await one.send(b"%d" % number)
                assert await one.recv(10) == b"%d" % number
        one.close()
        other.close()

    run(main)


@pytest.mark.parametrize("busy", [False, True])
def test_a_handler_may_set_events_start_tasks_and_say_so(run: Driver[object], ready: list[int], busy: bool) -> None:
    async def main(pump: Pump) -> None:
        event, started = trio.Event(), trio.Event()
        for fd in ready if busy else ():
            pump.register(fd, lambda _: None)
        near, far = socket.socketpair()
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                started.set()

            def heard(_: int) -> None:
                near.recv(10)
                event.set()
                nursery.start_soon(start)
                pump.woken = True

            pump.register(near.fileno(), heard)
            far.send(b"x")
            await event.wait()
            await started.wait()
        pump.unregister(near.fileno())
        near.close()
        far.close()

    run(main)


def test_threads_wake_it(run: Driver[object]) -> None:
    async def main(pump: Pump) -> None:
        token = trio.lowlevel.current_trio_token()
        for _ in range(20):
            event = trio.Event()
            thread = threading.Thread(target=token.run_sync_soon, args=(event.set,))
            thread.start()
            await event.wait()
            thread.join()
        assert await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(lambda: 5)) == 5

    run(main)


def test_signals_wake_it(run: Driver[object]) -> None:
    async def main(pump: Pump) -> None:
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            sender = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
            sender.start()
            async for heard in signals:
                assert heard == signal.SIGUSR1
                break
            sender.join()

    run(main)


def test_a_handler_that_fails_harms_nobody(run: Driver[object], ready: list[int]) -> None:
    async def main(pump: Pump) -> None:
        def fails(_: int) -> None:
            raise RuntimeError

        heard: list[int] = []
        pump.register(ready[0], fails)
        pump.register(ready[1], heard.append)
        await until(lambda: len(heard) > 3)
        pump.unregister(ready[0])

    run(main)


def test_a_program_that_ends_with_an_error_ends(run: Driver[object], ready: list[int]) -> None:
    async def main(pump: Pump) -> None:
        pump.register(ready[0], lambda _: None)
        raise ssl.SSLError("of the program's own")

    with pytest.RaisesGroup(ssl.SSLError, allow_unwrapped=True, flatten_subgroups=True):
        run(main)


async def test_a_sweep_every_interval(still: Pump, autojump_clock: trio.testing.MockClock) -> None:
    class Timed:
        asked = 0

        def sweep(self, now: float) -> None:
            self.asked += 1

    timed = Timed()
    still.timed[timed] = None
    with trio.move_on_after(1.05):
        await sweep(still, 0.1)
    assert timed.asked == 10
    await sweep(still, float("inf"))
