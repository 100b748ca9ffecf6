"""A client's connection over real TLS: heads and bodies split anywhere, time that runs out, and how it ends."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.config.structs import Bounds, Bytes, Seconds
from proxy.refusal import Reason, Refused
from proxy.wire.chunks import LAST_CHUNK, chunk
from proxy.wire.http1 import RequestHead
from proxy.wire.link import Link, LinkClosed
from proxy.wire.server import ClientConnection, ClientGone, RequestBody
from tests.wire.world import WITHIN, Far, Leaving, World, is_quiet, pass_time, soon

BOUNDS = Bounds()
GET = b"GET /openai/v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /openai/v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /openai/v1/embeddings HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"input": "Hello"}'


class Talk:
    """A connection and its client."""

    def __init__(self, pair: tuple[Link, Far]) -> None:
        self.link, self.far = pair
        self.pump = self.link.pump
        self.connection = ClientConnection(self.link, "127.0.0.1", None)

    async def head(self, bounds: Bounds = BOUNDS) -> RequestHead | None:
        with trio.fail_after(WITHIN):
            return await self.connection.next_head(bounds)

    async def body(self, head: RequestHead, bounds: Bounds = BOUNDS) -> bytes:
        with trio.fail_after(WITHIN):
            coming, parts = RequestBody(head), []
            while part := await self.connection.next_part(coming, bounds):
                parts.append(part)
            return b"".join(parts)

    async def refusal(self, bounds: Bounds = BOUNDS) -> Reason:
        """Why the next head is refused."""
        with pytest.raises(Refused) as refused:
            await self.head(bounds)
        return refused.value.reason

    async def refusal_of_body(self, bounds: Bounds = BOUNDS) -> Reason:
        head = await self.head(bounds)
        assert head is not None
        with pytest.raises(Refused) as refused:
            await self.body(head, bounds)
        return refused.value.reason


@pytest.fixture
async def talk(world: World) -> Talk:
    return Talk(await world.client())


@pytest.fixture
async def narrow(world: World) -> Talk:
    """With little room in the sockets."""
    return Talk(await world.client(small=True))


# Heads and bodies, split anywhere.


@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["", "after an empty line"])
async def test_a_head_split_anywhere(talk: Talk, before: bytes) -> None:
    wire = before + GET
    for split in range(len(wire) + 1):
        await talk.far.send(wire[:split])
        await talk.far.send(wire[split:])
        head = await talk.head()
        assert head is not None
        assert (head.method, head.target) == (b"GET", b"/openai/v1/models")


@pytest.mark.parametrize(
    "wire",
    [
        POST % len(BODY) + BODY,
        CHUNKED + chunk(BODY[:5]) + chunk(BODY[5:]) + LAST_CHUNK,
        CHUNKED + b"12;x=y\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n",
    ],
    ids=["length", "chunks", "extension and trailer"],
)
async def test_a_request_with_a_body_split_anywhere_and_the_next_one_behind_it(talk: Talk, wire: bytes) -> None:
    for split in range(len(wire) + 1):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send(split: int = split) -> None:
                await talk.far.send(wire[:split])
                await talk.far.send(wire[split:] + GET)

            head = await talk.head()
            assert head is not None
            assert await talk.body(head) == BODY
            follower = await talk.head()
        assert follower is not None
        assert follower.method == b"GET"


async def test_requests_in_one_record_are_read_one_by_one(talk: Talk) -> None:
    await talk.far.send((POST % len(BODY) + BODY) * 3 + GET)
    for _ in range(3):
        head = await talk.head()
        assert head is not None
        assert talk.connection.take_body(head.length) == BODY
    head = await talk.head()
    assert head is not None
    assert head.method == b"GET"
    talk.far.leave(Leaving.CLEANLY)
    assert await talk.head() is None


async def test_a_body_that_is_not_here_yet_is_not_taken(talk: Talk) -> None:
    await talk.far.send(POST % len(BODY) + BODY[:-1])
    head = await talk.head()
    assert head is not None
    assert talk.connection.take_body(head.length) is None
    await talk.far.send(BODY[-1:])
    assert await talk.body(head) == BODY


async def test_a_large_body_comes_in_parts_and_none_is_lost(narrow: Talk) -> None:
    data = bytes(range(256)) * 2048
    async with trio.open_nursery() as nursery:
        nursery.start_soon(narrow.far.send, POST % len(data) + data)
        head = await narrow.head()
        assert head is not None
        assert await narrow.body(head) == data


async def test_empty_lines_before_a_request_are_passed_over_and_no_request(talk: Talk) -> None:
    """A client that ends its body with a line end too many (RFC 9112 section 2.2) has not begun another request."""
    talk.connection.served = 1
    await talk.far.send(b"\r\n")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.head() is None

        await wait_all_tasks_blocked()
        pass_time(talk.pump, BOUNDS.keep_alive + 1)


# Heads that are too long.


@pytest.mark.parametrize("ended", [False, True])
async def test_a_request_line_that_is_too_long(talk: Talk, ended: bool) -> None:
    await talk.far.send(b"GET /" + b"a" * 200 + (b" HTTP/1.1\r\nHost: a\r\n\r\n" if ended else b""))
    assert await talk.refusal(Bounds(request_line=Bytes(100))) is Reason.URI_TOO_LONG


@pytest.mark.parametrize("ended", [False, True])
async def test_headers_that_are_too_large(talk: Talk, ended: bool) -> None:
    await talk.far.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200 + (b"\r\n\r\n" if ended else b""))
    bounds = Bounds(request_line=Bytes(30), header_bytes=Bytes(100))
    assert await talk.refusal(bounds) is Reason.HEADERS_TOO_LARGE


async def test_a_head_as_large_as_is_allowed(talk: Talk) -> None:
    await talk.far.send(b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 60_000 + b"\r\n\r\n")
    head = await talk.head()
    assert head is not None
    assert len(head.headers[1][1]) == 60_000


async def test_a_line_end_that_is_none_is_refused_before_the_head_is_whole(talk: Talk) -> None:
    await talk.far.send(b"GET / HTTP/1.1\nHost: a\n")
    assert await talk.refusal() is Reason.BAD_FRAMING


# Time.


@pytest.mark.parametrize(("served", "patience"), [(0, BOUNDS.head), (1, BOUNDS.keep_alive)])
async def test_a_client_that_asks_nothing_is_let_go(talk: Talk, served: int, patience: float) -> None:
    talk.connection.served = served
    ended = trio.Event()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.head() is None
            ended.set()

        await wait_all_tasks_blocked()
        pass_time(talk.pump, patience - 1)
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        pass_time(talk.pump, patience + 1)


async def test_a_head_that_is_begun_must_end_in_time(talk: Talk) -> None:
    talk.connection.served = 1
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.refusal() is Reason.HEAD_TIMEOUT

        await talk.far.send(GET[:10])
        await wait_all_tasks_blocked()
        pass_time(talk.pump, BOUNDS.head + 1)


async def test_a_byte_now_and_then_does_not_buy_time(talk: Talk) -> None:
    bounds = Bounds(head=Seconds(0.1))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.refusal(bounds) is Reason.HEAD_TIMEOUT
            nursery.cancel_scope.cancel()

        await talk.far.send(GET[:5])
        with trio.fail_after(WITHIN):
            while True:
                await talk.far.send(b"a")
                await trio.sleep(0.01)
                talk.pump.sweep()


async def test_a_body_that_stops_is_not_waited_for(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.refusal_of_body() is Reason.BODY_TIMEOUT

        await talk.far.send(POST % 100 + BODY)
        await wait_all_tasks_blocked()
        pass_time(talk.pump, BOUNDS.body_idle + 1)


async def test_a_client_that_does_not_read_its_answer_is_gone(narrow: Talk) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            with pytest.raises(ClientGone):
                await narrow.connection.send(bytes(1 << 20), BOUNDS)

        await wait_all_tasks_blocked()
        pass_time(narrow.pump, BOUNDS.client_stall + 1)
    assert narrow.connection.gone


# Bodies gone wrong.


@pytest.mark.parametrize("wire", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n\r\n", b"5\nhello\n"])
async def test_chunks_gone_wrong(talk: Talk, wire: bytes) -> None:
    await talk.far.send(CHUNKED + wire)
    assert await talk.refusal_of_body() is Reason.BAD_FRAMING


async def test_chunks_past_the_bound(talk: Talk) -> None:
    await talk.far.send(CHUNKED + chunk(b"x" * 60) * 2)
    assert await talk.refusal_of_body(Bounds(body=Bytes(100))) is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize("how", Leaving)
async def test_a_client_that_leaves_in_mid_body(talk: Talk, how: Leaving) -> None:
    await talk.far.send(POST % 100 + BODY)
    head = await talk.head()
    assert head is not None
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(ClientGone):
                await talk.body(head)

        await wait_all_tasks_blocked()
        talk.far.leave(how)
    assert talk.connection.gone


@pytest.mark.parametrize("how", Leaving)
@pytest.mark.parametrize("begun", [b"", GET[:10]])
async def test_a_client_that_leaves_before_or_in_a_head(talk: Talk, how: Leaving, begun: bytes) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.head() is None

        await talk.far.send(begun)
        await wait_all_tasks_blocked()
        talk.far.leave(how)


# 100-continue.


async def test_a_client_that_waits_to_be_told_is_told(talk: Talk) -> None:
    await talk.far.send(POST.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue") % len(BODY))
    head = await talk.head()
    assert head is not None
    assert head.expects_continue
    await talk.connection.continue_(BOUNDS)
    assert await talk.far.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await talk.far.send(BODY)
    assert await talk.body(head) == BODY


async def test_a_client_that_did_not_wait_is_not_told(talk: Talk) -> None:
    await talk.far.send(POST.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue") % len(BODY) + BODY)
    head = await talk.head()
    assert head is not None
    await talk.connection.continue_(BOUNDS)
    await talk.connection.send(b"answer", BOUNDS)
    assert await talk.far.until(b"answer") == b"answer"


# While a backend thinks.


class Awaited:
    """A wait for a backend on behalf of a client; `error` is what it failed with."""

    def __init__(self, nursery: trio.Nursery, talk: Talk, backend: Link) -> None:
        self.error: Exception | None = None
        self.count = 0
        talk.connection.await_on(backend)
        nursery.start_soon(self._wait, backend)

    async def _wait(self, backend: Link) -> None:
        try:
            self.count = await backend.recv_into(backend.pump.view, soon())
        except (ClientGone, LinkClosed) as error:
            self.error = error


@pytest.mark.parametrize("how", Leaving)
async def test_a_client_that_leaves_while_its_backend_thinks_ends_the_wait(
    world: World, talk: Talk, how: Leaving
) -> None:
    backend, _ = await world.backend()
    async with trio.open_nursery() as nursery:
        awaited = Awaited(nursery, talk, backend)
        await wait_all_tasks_blocked()
        talk.far.leave(how)
    assert isinstance(awaited.error, ClientGone)
    assert talk.connection.gone
    assert is_quiet(talk.pump)


async def test_what_a_client_sends_meanwhile_is_kept_for_later(world: World, talk: Talk) -> None:
    backend, far_backend = await world.backend()
    async with trio.open_nursery() as nursery:
        awaited = Awaited(nursery, talk, backend)
        await talk.far.send(GET[:20])
        await talk.far.send(GET[20:])
        await wait_all_tasks_blocked()
        await far_backend.send(b"answer")
    assert awaited.count == 6
    talk.connection.await_on(None)
    head = await talk.head()
    assert head is not None
    assert head.method == b"GET"


async def test_a_client_that_sends_much_meanwhile_is_read_no_further_and_not_taken_for_gone(
    world: World, narrow: Talk
) -> None:
    """Over two backends, one after the other: what is past the bound stays in the kernel, and nothing spins."""
    later = bytes(range(256)) * 1024
    async with trio.open_nursery() as nursery:
        nursery.start_soon(narrow.far.send, later)
        for _ in range(3):
            backend, far_backend = await world.backend()
            async with trio.open_nursery() as waits:
                awaited = Awaited(waits, narrow, backend)
                await wait_all_tasks_blocked()
                assert is_quiet(narrow.pump)
                await far_backend.send(b"answer")
            assert awaited.count == 6
            narrow.connection.await_on(None)
        assert not narrow.connection.gone
        assert narrow.connection.alive()
        kept = bytearray()
        while (byte := narrow.connection.take_body(64)) is not None:
            kept += byte
        assert len(kept) <= (16 << 10) + 2 * (16 << 10)
        while len(kept) < len(later):
            count = await narrow.link.recv_into(narrow.pump.view, soon())
            kept += narrow.pump.view[:count]
    assert kept == later


async def test_one_that_sent_much_and_leaves_is_noticed(world: World, talk: Talk) -> None:
    backend, _ = await world.backend()
    async with trio.open_nursery() as nursery:
        awaited = Awaited(nursery, talk, backend)
        await talk.far.send(bytes(17 << 10))
        await wait_all_tasks_blocked()
        talk.far.leave(Leaving.RAGGED)
    assert isinstance(awaited.error, ClientGone)


# The end.


async def test_an_idle_connection_can_be_hung_up(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.head() is None

        await wait_all_tasks_blocked()
        talk.connection.hang_up_if_idle()


async def test_one_in_the_midst_of_a_request_is_not_hung_up(talk: Talk) -> None:
    talk.connection.hang_up_if_idle()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await talk.head() is not None

        await talk.far.send(GET[:10])
        await wait_all_tasks_blocked()
        talk.connection.hang_up_if_idle()
        await talk.far.send(GET[10:])


@pytest.mark.parametrize(
    ("wire", "dropped"),
    [
        (POST % len(BODY) + BODY + GET, True),
        (POST % len(BODY) + BODY[:-1], False),
        (POST % 70_000 + bytes(70_000), False),
        (CHUNKED + LAST_CHUNK + GET, False),
        (GET + GET, True),
    ],
    ids=["here", "not all here", "too large", "chunked", "none"],
)
async def test_a_body_that_nobody_wants(talk: Talk, wire: bytes, dropped: bool) -> None:
    await talk.far.send(wire)
    head = await talk.head()
    assert head is not None
    assert talk.connection.discard_body(head) is dropped
    if dropped:
        assert await talk.head() is not None


async def test_a_lingering_close_lets_a_client_send_on_and_read_its_refusal_then(narrow: Talk) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ask() -> None:
            await narrow.far.send(POST % (1 << 30) + bytes(300_000))
            assert await narrow.far.rest() == b"413"
            narrow.far.leave(Leaving.RAGGED)

        assert await narrow.head() is not None
        await narrow.connection.send(b"413", BOUNDS)
        await narrow.connection.linger()
        narrow.link.close()


@pytest.mark.parametrize("how", Leaving)
async def test_lingering_ends_when_the_client_leaves(talk: Talk, how: Leaving) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.connection.linger)
        await wait_all_tasks_blocked()
        talk.far.leave(how)


async def test_lingering_is_bounded_in_time(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.connection.linger)
        await wait_all_tasks_blocked()
        pass_time(talk.pump, 2)


async def test_lingering_is_bounded_in_bytes(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(OSError):
                await talk.far.send(bytes(64 << 20))

        await talk.connection.linger()
        talk.link.close()
