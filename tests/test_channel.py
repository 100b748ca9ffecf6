"""Frames over a socket pair: whole however they are cut, bounded, and honest about a peer that is gone."""

import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.channel import Channel, ChannelBroken
from proxy.messages import Ready, Records, Upward, decode_upward, encode

WITHIN = 10.0
MESSAGES: list[Upward] = [Ready(7, 1), Records([3, -1], [b'{"a": 1}', b"{}"]), Ready(8, 2)]
LARGE = 1 << 20  # more than a socket takes at once

Pair = tuple[Channel, socket.socket]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A channel, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


async def read(sock: socket.socket) -> bytes:
    with trio.fail_after(WITHIN):
        await trio.lowlevel.wait_readable(sock)
    return sock.recv(LARGE)


async def receive(channel: Channel, count: int) -> list[bytes]:
    frames: list[bytes] = []
    with trio.fail_after(WITHIN):
        while len(frames) < count:
            got = await channel.receive()
            assert got
            frames += got
    return frames


async def test_what_is_posted_at_one_end_is_received_at_the_other() -> None:
    ours, theirs = (Channel(sock) for sock in socket.socketpair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        for message in MESSAGES:
            assert ours.post(message)
        assert [decode_upward(one) for one in await receive(theirs, len(MESSAGES))] == MESSAGES
        nursery.cancel_scope.cancel()
    ours.close()
    theirs.close()


async def test_frames_cut_anywhere(pair: Pair) -> None:
    channel, theirs = pair
    wire = b"".join(frame(encode(message)) for message in MESSAGES) + frame(b"")
    for split in range(len(wire) + 1):
        theirs.send(wire[:split])
        got = await channel.receive() if split >= 4 + len(encode(MESSAGES[0])) else []
        theirs.send(wire[split:])
        got += await receive(channel, 4 - len(got))
        assert [decode_upward(one) for one in got[:3]] == MESSAGES
        assert got[3] == b""


async def test_a_frame_larger_than_the_socket_takes(pair: Pair) -> None:
    channel, theirs = pair
    message = Records([1], [bytes(LARGE)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.post(message)
        got = b""
        while len(got) < LARGE:
            got += await read(theirs)
        nursery.cancel_scope.cancel()
    assert got == frame(encode(message))


async def test_a_frame_that_is_too_large_breaks_the_channel(pair: Pair) -> None:
    channel, theirs = pair
    theirs.send(struct.pack(">I", (64 << 20) + 1))
    with pytest.raises(ChannelBroken):
        await channel.receive()


@pytest.mark.parametrize("before", [b"", frame(b"x")[:3], frame(b"whole")[:-1]])
async def test_at_the_end_there_are_no_frames(pair: Pair, before: bytes) -> None:
    channel, theirs = pair
    theirs.send(before)
    theirs.close()
    assert await channel.receive() == []


async def test_frames_before_the_end_arrive(pair: Pair) -> None:
    channel, theirs = pair
    theirs.send(frame(b"last"))
    theirs.close()
    assert await channel.receive() == [b"last"]
    assert await channel.receive() == []


async def test_writing_to_a_peer_that_is_gone_breaks_the_channel(pair: Pair) -> None:
    channel, theirs = pair
    theirs.close()
    channel.post(MESSAGES[0])
    with trio.fail_after(WITHIN), pytest.raises(ChannelBroken):
        await channel.run()


async def test_a_peer_that_leaves_while_it_is_written_to_breaks_the_channel(pair: Pair) -> None:
    channel, theirs = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(ChannelBroken):
                await channel.run()

        channel.post(Records([1], [bytes(LARGE)]))
        await wait_all_tasks_blocked()
        theirs.close()


async def test_a_peer_that_does_not_read_makes_posting_say_no(pair: Pair) -> None:
    channel, theirs = pair
    message = Records([1], [bytes(LARGE)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        posted = 0
        while channel.post(message):
            posted += 1
            await wait_all_tasks_blocked()
            assert posted < 70
        got = 0
        while got < posted * len(frame(encode(message))):
            got += len(await read(theirs))
        assert channel.post(MESSAGES[0])  # there is room again
        assert await read(theirs) == frame(encode(MESSAGES[0]))
        nursery.cancel_scope.cancel()


async def test_flushed_waits_for_the_kernel_to_have_it_all(pair: Pair) -> None:
    channel, theirs = pair
    flushed = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.post(Records([1], [bytes(LARGE)]))

        @nursery.start_soon
        async def flush() -> None:
            await channel.flushed()
            flushed.set()

        got = 0
        while got < LARGE // 2:
            assert not flushed.is_set()
            got += len(await read(theirs))
        while not flushed.is_set():
            with trio.move_on_after(0.01):
                await read(theirs)
        nursery.cancel_scope.cancel()
