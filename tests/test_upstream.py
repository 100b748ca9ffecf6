"""Asking one backend over real TLS: what is sent twice and what is not, and how long an answer is waited for."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from certs.pki import Pki
from proxy.config.structs import Bounds
from proxy.routing.outcome import Outcome
from proxy.upstream import Answer, Asking, Failed, reach
from proxy.wire.body import BodyBroken
from proxy.wire.clock import drive
from proxy.wire.pool import Pool
from proxy.wire.pump import Pump
from proxy.wire.server import ClientGone
from tests.wire.test_pool import BackendHost, a_pool
from tests.wire.world import LATER, WITHIN, Far, Leaving, World, pass_time, soon, until

REQUEST = b"POST / HTTP/1.1\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100\r\n\r\n"


@pytest.fixture
async def host(still: Pump, pki: Pki) -> AsyncIterator[BackendHost]:
    made = BackendHost(World(still, pki).far_backend())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, still)
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.close()


@pytest.fixture
async def pool(host: BackendHost, still: Pump, pki: Pki) -> AsyncIterator[Pool]:
    made = a_pool(still, host.url(), pki)
    yield made
    made.close()


class Client:
    """As far as asking knows one."""

    def __init__(self) -> None:
        self.gone = False
        self.asked = False
        self.awaiting: Any = None

    def is_asked(self) -> None:
        self.asked = True

    def await_on(self, link: Any) -> None:
        self.awaiting = link

    def leave(self) -> None:
        self.gone = True
        if self.awaiting is not None:
            self.awaiting.fail(ClientGone())


def asking(*, again: bool = True, until: float | None = None, request: bytes = REQUEST, client: Any = None) -> Asking:
    """`client` hears whether it is `sent`."""
    who = Client() if client is None else client
    return Asking(
        connection=who,
        request=request,
        parts=None,
        chunked=False,
        again=again,
        bounds=Bounds(),
        first_byte=LATER,
        until=soon() if until is None else until,
        sent=who.is_asked,
    )


async def warm(host: BackendHost, pool: Pool) -> Far:
    """The far end of an idle connection."""
    pool.keep(await pool.connect(WITHIN))
    await until(lambda: host.opened)
    return host.opened.pop()


class Caught:
    """What a task in a nursery raises."""

    def __init__(self, nursery: trio.Nursery, do: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        self.error: Exception | None = None
        nursery.start_soon(self._run, do, *arguments)

    async def _run(self, do: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        try:
            await do(*arguments)
        except Exception as error:
            self.error = error


@pytest.mark.parametrize("again", [True, False])
async def test_what_may_be_sent_again_is_where_a_warm_connection_breaks(
    host: BackendHost, pool: Pool, again: bool
) -> None:
    first = await warm(host, pool)

    async def ask() -> None:
        (await reach(pool, asking(again=again))).close()

    async with trio.open_nursery() as nursery:
        caught = Caught(nursery, ask)
        await first.until(REQUEST)
        first.leave(Leaving.RESET)
        if again:
            await until(lambda: host.opened)
            await host.opened[0].until(REQUEST)
            await host.opened[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert (caught.error is None) is again
    assert host.accepted == 1 + again


async def test_a_backend_that_does_not_read_is_given_up_when_nobody_waits_any_more(
    host: BackendHost, pool: Pool, still: Pump
) -> None:
    client = Client()
    wanted = asking(until=time.monotonic() + 20.0, request=bytes(32 << 20), client=client)
    async with trio.open_nursery() as nursery:
        failure = Caught(nursery, reach, pool, wanted)
        await until(lambda: client.asked and still.timed)
        pass_time(still, 21.0)
        await until(lambda: failure.error)
    assert isinstance(failure.error, Failed)
    assert failure.error.outcome is Outcome.FIRST_BYTE_TIMEOUT


async def begun(host: BackendHost, pool: Pool, client: Any = None) -> Answer:
    """An error whose body does not come."""
    far = await warm(host, pool)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await reach(pool, asking(client=client)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await far.until(REQUEST)
        await far.send(ERROR)
    return answers[0]


async def test_a_client_that_leaves_does_not_wait_for_the_rest_of_an_error(host: BackendHost, pool: Pool) -> None:
    client = Client()
    answer = await begun(host, pool, client)
    async with trio.open_nursery() as nursery:
        caught = Caught(nursery, answer.small_body, 1000, soon(), LATER, client)
        await until(lambda: client.awaiting)
        client.leave()
    assert isinstance(caught.error, ClientGone)
    assert client.awaiting is None
    answer.close()


async def test_a_backend_that_is_silent_in_the_middle_of_an_error_is_given_up(
    host: BackendHost, pool: Pool, still: Pump
) -> None:
    answer = await begun(host, pool)
    async with trio.open_nursery() as nursery:
        caught = Caught(nursery, answer.small_body, 1000, time.monotonic() + LATER, 30.0)
        await until(lambda: still.timed)
        pass_time(still, 31.0)
    assert isinstance(caught.error, BodyBroken)
    answer.close()
