"""A response through a relay, over real TLS on both sides: every split point, every fault, every way to be slow."""

import itertools
import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.metering.meter import Meter
from proxy.wire.body import Body, CloseFraming, EventBody, Framing, LengthFraming, OpaqueBody
from proxy.wire.chunks import LAST_CHUNK, ChunkDecoder, chunk
from proxy.wire.link import Link
from proxy.wire.pump import Pump
from proxy.wire.relay import Relay, RelayEnd
from proxy.wire.server import ClientConnection
from tests.wire.world import WITHIN, Far, Leaving, World, is_quiet, pass_time, soon, until

FAULT = b'data: {"error":{"code":"BackendFailed"}}\n\n'
OVER = b"<over>"
"""What the test sends the client once the relay has ended."""

FIRST = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
WORDS = [b'data: {"choices":[{"delta":{"content":"%b"}}],"usage":null}\n\n' % word for word in (b"Hel", b"lo")]
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = [FIRST, *WORDS, USAGE, DONE]
WIRE = b"".join(chunk(event) for event in EVENTS) + LAST_CHUNK
BOUNDARIES = list(itertools.accumulate((len(chunk(event)) for event in EVENTS), initial=0))

IDLE, STALL, REQUEST = 300.0, 60.0, 3000.0


def events(framing: Framing | None = None, *, cut: bool = False) -> EventBody:
    return EventBody(framing or ChunkDecoder(), Meter("chat.completions"), cut_usage=cut, raw=False)


def expected(*, cut: bool, whole: int = len(EVENTS)) -> bytes:
    """The payload of the first `whole` events, as the client gets them."""
    return b"".join(event for event in EVENTS[:whole] if not (cut and event == USAGE))


def payload(raw: bytes) -> tuple[bytes, bool]:
    """What a client understands of a chunked body, and whether it is complete."""
    decoder = ChunkDecoder()
    ranges, _ = decoder.feed(raw, 0, len(raw))
    return b"".join(raw[start:end] for start, end in ranges), decoder.complete


class Between:
    """A client and a backend with the gateway between them."""

    def __init__(self, client: tuple[Link, Far], backend: tuple[Link, Far]) -> None:
        self.client_link, self.client = client
        self.backend_link, self.backend = backend
        self.connection = ClientConnection(self.client_link, "127.0.0.1", None)

    def relay(self, body: Body) -> Relay:
        return Relay(
            self.client_link,
            self.backend_link,
            body,
            idle=IDLE,
            stall=STALL,
            until=time.monotonic() + REQUEST,
            last_words=FAULT,
            client_alive=self.connection.alive,
        )

    async def received(self) -> bytes:
        """What the client got of the relay that has ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.client_link.send, OVER, soon())
            return (await self.client.until(OVER)).removesuffix(OVER)


class Running:
    """A relay that runs in a task; `end` when it has ended."""

    def __init__(self, nursery: trio.Nursery, relay: Relay) -> None:
        self.relay = relay
        self.scope = trio.CancelScope()
        self._ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            with self.scope:
                await self.relay.run()
        finally:
            self._ended.set()

    async def end(self) -> RelayEnd | None:
        with trio.fail_after(WITHIN):
            await self._ended.wait()
        return self.relay.end


@pytest.fixture
async def between(world: World) -> Between:
    return Between(await world.client(), await world.backend())


@pytest.fixture
async def narrow(world: World) -> Between:
    """With little room in the sockets."""
    return Between(await world.client(small=True), await world.backend(small=True))


async def whole(between: Between, body: Body, parts: list[bytes]) -> bytes:
    """What the client gets of a body that comes in these records."""
    relay = between.relay(body)
    async with trio.open_nursery() as nursery:
        running = Running(nursery, relay)
        for part in parts:
            await between.backend.send(part)
        assert await running.end() is RelayEnd.COMPLETE
    got = await between.received()
    assert relay.sent == len(got)
    return got


@pytest.mark.parametrize("cut", [False, True], ids=["usage asked for", "usage cut"])
async def test_chunked_events_split_anywhere(between: Between, cut: bool) -> None:
    for split in range(len(WIRE) + 1):
        got = await whole(between, events(cut=cut), [WIRE[:split], WIRE[split:]])
        assert payload(got) == (expected(cut=cut), True)
    assert is_quiet(between.client_link.pump)


async def test_reads_that_end_on_events_pass_byte_for_byte(between: Between) -> None:
    parts = [b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS] + [LAST_CHUNK]
    assert await whole(between, events(), parts) == WIRE


async def test_a_length_split_anywhere(between: Between) -> None:
    answer = b'{"choices":[{"text":"Hello"}],"usage":{"prompt_tokens":1,"total_tokens":2}}'
    for split in range(len(answer) + 1):
        meter = Meter("completions")
        body = OpaqueBody(LengthFraming(len(answer)), meter, raw=False)
        assert await whole(between, body, [answer[:split], answer[split:]]) == answer


async def test_to_the_end_of_the_connection_split_anywhere(world: World) -> None:
    client = await world.client()
    text = b"".join(EVENTS[1:4])
    for split in range(0, len(text), 9):
        between = Between(client, await world.backend())
        relay = between.relay(events(CloseFraming(), cut=True))
        async with trio.open_nursery() as nursery:
            running = Running(nursery, relay)
            await between.backend.send(text[:split])
            await between.backend.send(text[split:])
            between.backend.leave(Leaving.CLEANLY)
            assert await running.end() is RelayEnd.COMPLETE
        assert payload(await between.received()) == (text.replace(USAGE, b""), True)
        between.backend_link.close()


async def test_many_streams_at_once_do_not_mix(world: World) -> None:
    count = 20
    streams = [Between(await world.client(), await world.backend()) for _ in range(count)]
    texts = [[chunk(b"data: %d-%d\n\n" % (stream, event)) for event in range(30)] for stream in range(count)]
    got: dict[int, bytes] = {}

    async def one(number: int) -> None:
        got[number] = await whole(streams[number], events(), [*texts[number], LAST_CHUNK])

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    assert got == {number: b"".join(texts[number]) + LAST_CHUNK for number in range(count)}


# Faults.


def whole_before(at: int) -> int:
    """How many events are whole in the first `at` bytes of the wire; the line end of their chunk is not waited for."""
    return sum(boundary - 2 <= at for boundary in BOUNDARIES) - 1


async def broken_at(between: Between, at: int, how: Leaving, *, cut: bool) -> bytes:
    """What the client gets of a stream whose backend leaves after `at` bytes."""
    before = expected(cut=cut, whole=whole_before(at))
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events(cut=cut)))
        await between.backend.send(WIRE[:at])
        got = b""
        while payload(got)[0] != before:
            got += await between.client.receive()
        between.backend.leave(how)
        assert await running.end() is RelayEnd.BACKEND_BROKE
    between.backend_link.close()
    return got + await between.received()


@pytest.mark.parametrize("how", Leaving)
@pytest.mark.parametrize("cut", [False, True], ids=["usage asked for", "usage cut"])
async def test_a_fault_at_every_boundary_ends_the_stream_with_an_error_event(
    world: World, how: Leaving, cut: bool
) -> None:
    client = await world.client()
    for at in BOUNDARIES:
        got = await broken_at(Between(client, await world.backend()), at, how, cut=cut)
        assert payload(got) == (expected(cut=cut, whole=whole_before(at)) + FAULT, False)
    assert is_quiet(world.pump)


@pytest.mark.parametrize("how", Leaving)
async def test_a_fault_on_either_side_of_the_usage_event_and_within_it(world: World, how: Leaving) -> None:
    client = await world.client()
    start, end = BOUNDARIES[3], BOUNDARIES[4]
    for at in sorted({start - 3, start - 1, start, start + 1, start + 4, start + 40, end - 4, end - 1, end, end + 1}):
        got = await broken_at(Between(client, await world.backend()), at, how, cut=True)
        assert payload(got) == (expected(cut=True, whole=whole_before(at)) + FAULT, False)


@pytest.mark.parametrize("how", Leaving)
async def test_a_fault_in_a_body_of_known_length_truncates(world: World, how: Leaving) -> None:
    between = Between(await world.client(), await world.backend())
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(OpaqueBody(LengthFraming(100), None, raw=False)))
        await between.backend.send(b"x" * 60)
        assert await between.client.exactly(60) == b"x" * 60
        between.backend.leave(how)
        assert await running.end() is RelayEnd.BACKEND_BROKE
    assert await between.received() == b""


@pytest.mark.parametrize("how", [Leaving.RAGGED, Leaving.RESET])
async def test_a_body_to_the_end_of_the_connection_needs_a_clean_end(world: World, how: Leaving) -> None:
    between = Between(await world.client(), await world.backend())
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events(CloseFraming())))
        await between.backend.send(FIRST)
        assert payload(await between.client.until(b"\n\n\r\n")) == (FIRST, False)
        between.backend.leave(how)
        assert await running.end() is RelayEnd.BACKEND_BROKE
    assert payload(await between.received()) == (FAULT, False)


async def test_framing_gone_wrong_ends_the_stream_with_an_error_event(between: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await between.backend.send(chunk(FIRST))
        await between.backend.send(b"zz\r\nnonsense")
        assert await running.end() is RelayEnd.BACKEND_BROKE
    assert payload(await between.received()) == (FIRST + FAULT, False)


async def test_a_fault_after_the_last_byte_is_none(between: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await between.backend.send(WIRE)
        between.backend.leave(Leaving.RAGGED)
        assert await running.end() is RelayEnd.COMPLETE
    assert await between.received() == WIRE


# Clients that are slow, and clients that leave.

MANY = [chunk(b"data: %06d %b\n\n" % (number, b"x" * 1000)) for number in range(2000)]


async def stall(between: Between, running: Running) -> int:
    """Send until the client, who does not read, has stalled the relay; how many bytes of `MANY` that took."""
    wire = b"".join(MANY)
    taken = 0
    with trio.fail_after(WITHIN):
        while not is_stalled(running):
            taken += between.backend.fill(wire[taken:])
            await trio.sleep(0)
    return taken


def is_stalled(running: Running) -> bool:
    return "stalled" in repr(running.relay)


async def test_a_client_that_stops_and_reads_on_gets_the_same_bytes(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        nursery.start_soon(narrow.backend.send, b"".join(MANY) + LAST_CHUNK)
        await until(lambda: is_stalled(running))
        got = await narrow.client.receive(100)
        await until(lambda: is_stalled(running))
        got += await narrow.client.until(LAST_CHUNK)
        assert await running.end() is RelayEnd.COMPLETE
    assert payload(got) == (payload(b"".join(MANY))[0], True)
    assert await narrow.received() == b""


async def test_a_client_that_does_not_read_holds_up_its_backend_and_no_memory(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        taken = await stall(narrow, running)
        await wait_all_tasks_blocked()
        taken += narrow.backend.fill(b"".join(MANY)[taken:])
        assert is_quiet(narrow.client_link.pump)
        assert taken < 512 << 10  # of two million: what the kernel holds, and one slice
        running.scope.cancel()


async def test_the_end_waits_behind_what_is_unsent(narrow: Between) -> None:
    """The last slice holds the end of the body; it is sent first, and then the relay is complete."""
    text = b"data: %b\n\n" % (b"y" * 15_000)
    wire = chunk(text) * 40 + LAST_CHUNK
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        nursery.start_soon(narrow.backend.send, wire)
        got = b""
        while running.relay.end is None:
            await until(lambda: running.relay.end is not None or is_stalled(running))
            if running.relay.end is None:
                got += await narrow.client.receive(1000)
        assert await running.end() is RelayEnd.COMPLETE
    assert payload(got + await narrow.received()) == (text * 40, True)


async def test_a_fault_while_the_client_stalls_is_told_after_what_is_unsent(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        sent = 0
        while not is_stalled(running):
            sent += narrow.backend.fill(MANY[sent]) == len(MANY[sent])
            await trio.sleep(0)
        narrow.backend.leave(Leaving.RAGGED)
        got = await narrow.client.until(chunk(FAULT))
        assert await running.end() is RelayEnd.BACKEND_BROKE
    assert payload(got) == (payload(b"".join(MANY[:sent]))[0] + FAULT, False)


@pytest.mark.parametrize("how", Leaving)
async def test_a_client_that_leaves_ends_it(between: Between, how: Leaving) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await between.backend.send(chunk(FIRST))
        assert await between.client.until(chunk(FIRST)) == chunk(FIRST)
        between.client.leave(how)
        assert await running.end() is RelayEnd.CLIENT_GONE
    assert is_quiet(between.client_link.pump)


async def test_a_client_that_only_says_goodbye_ends_it(between: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await wait_all_tasks_blocked()
        between.client.say_goodbye()
        assert await running.end() is RelayEnd.CLIENT_GONE


@pytest.mark.parametrize("how", [Leaving.RAGGED, Leaving.RESET])
async def test_a_client_that_leaves_while_it_does_not_read_ends_it(narrow: Between, how: Leaving) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        await stall(narrow, running)
        narrow.client.leave(how)
        assert await running.end() is RelayEnd.CLIENT_GONE
    assert is_quiet(narrow.client_link.pump)


# What a client sends meanwhile.


LATER = bytes(range(256)) * 2048
BOUND = (16 << 10) + (16 << 10)  # what is kept, and the record that went past it


async def kept_and_rest(between: Between) -> tuple[bytes, bytes]:
    """What of `LATER` was read while the relay ran, and what is read now."""
    kept, rest = bytearray(), bytearray()
    while (part := between.connection.take_body(64)) is not None:
        kept += part
    view = between.client_link.pump.view
    while len(kept) + len(rest) < len(LATER):
        count = await between.client_link.recv_into(view, soon())
        rest += view[:count]
    return bytes(kept), bytes(rest)


async def test_pipelined_bytes_are_bounded_do_not_spin_and_are_not_lost(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        nursery.start_soon(narrow.client.send, LATER)
        await wait_all_tasks_blocked()
        assert is_quiet(narrow.client_link.pump)
        await narrow.backend.send(WIRE)
        assert await narrow.client.until(LAST_CHUNK) == WIRE
        assert await running.end() is RelayEnd.COMPLETE
        kept, rest = await kept_and_rest(narrow)
    assert len(kept) <= BOUND
    assert kept + rest == LATER


async def test_they_are_bounded_however_often_the_client_stalls(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        nursery.start_soon(narrow.client.send, LATER)
        nursery.start_soon(narrow.backend.send, b"".join(MANY[:400]) + LAST_CHUNK)
        stalls = 0
        while running.relay.end is None:
            await until(lambda: running.relay.end is not None or is_stalled(running))
            stalls += is_stalled(running)
            await narrow.client.receive(4000) if is_stalled(running) else None
        assert stalls > 10
        async with trio.open_nursery() as ending:
            ending.start_soon(narrow.received)
        kept, rest = await kept_and_rest(narrow)
    assert len(kept) <= BOUND
    assert kept + rest == LATER


async def test_a_client_that_pipelined_too_much_and_leaves_is_noticed(narrow: Between) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        await narrow.client.send(b"z" * (17 << 10))
        await wait_all_tasks_blocked()
        narrow.client.leave(Leaving.RAGGED)
        assert await running.end() is RelayEnd.CLIENT_GONE


# Time.


async def after_silence(between: Between, seconds: float) -> RelayEnd | None:
    """How a relay with one event behind it stands when `seconds` have passed in silence."""
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await between.backend.send(chunk(FIRST))
        assert await between.client.until(chunk(FIRST)) == chunk(FIRST)
        pass_time(between.client_link.pump, seconds)
        end = running.relay.end
        running.scope.cancel()
    return end


async def test_a_backend_that_falls_silent(between: Between) -> None:
    assert await after_silence(between, IDLE - 1) is None
    assert await after_silence(between, IDLE + 1) is RelayEnd.BACKEND_IDLE
    assert payload(await between.received()) == (FAULT, False)


async def test_a_request_that_takes_too_long(between: Between) -> None:
    assert await after_silence(between, REQUEST + 1) is RelayEnd.TIMEOUT
    assert payload(await between.received()) == (FAULT, False)


@pytest.mark.parametrize(
    ("seconds", "end"),
    [(STALL - 5, None), (STALL + 1, RelayEnd.CLIENT_STALLED), (REQUEST + 1, RelayEnd.TIMEOUT)],
)
async def test_a_client_that_does_not_read_for_too_long(narrow: Between, seconds: float, end: RelayEnd | None) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery, narrow.relay(events()))
        await stall(narrow, running)
        pass_time(narrow.client_link.pump, seconds)
        assert running.relay.end is end
        running.scope.cancel()


# Cancellation.


@pytest.fixture
async def cancelled(between: Between) -> Between:
    """After a relay that was cancelled in mid-stream."""
    async with trio.open_nursery() as nursery:
        running = Running(nursery, between.relay(events()))
        await between.backend.send(chunk(FIRST))
        assert await between.client.until(chunk(FIRST)) == chunk(FIRST)
        running.scope.cancel()
        assert await running.end() is None
    return between


async def test_cancellation_takes_the_relay_out_of_the_pump(cancelled: Between) -> None:
    pump = cancelled.client_link.pump
    assert not pump.timed
    await cancelled.backend.send(chunk(WORDS[0]))
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    assert await cancelled.received() == b""


async def test_after_cancellation_both_links_can_be_waited_on(cancelled: Between, pump: Pump) -> None:
    for link, far in (
        (cancelled.client_link, cancelled.client),
        (cancelled.backend_link, cancelled.backend),
    ):
        await far.send(b"again")
        count = await link.recv_into(pump.view, soon())
        assert bytes(pump.view[:count]) == b"again"


async def test_cancellation_before_the_first_byte(between: Between, pump: Pump) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await between.relay(events()).run()
    assert scope.cancelled_caught
    assert not pump.timed
