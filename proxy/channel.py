"""Frames over a Unix socket, between the supervisor and one worker.

A frame is its length in four bytes, then MessagePack. `post` never waits: frames queue up, bounded, and a task writes
them; a peer that does not read makes `post` say no, and what was to be said waits where it is kept (records in their
journal, counts in their tallies).
"""

import contextlib
import socket
import struct

import trio

from proxy.messages import Downward, Upward, encode

_LENGTH = struct.Struct(">I")
_FRAME_AT_MOST = 64 << 20
_QUEUED_AT_MOST = 32 << 20


class ChannelBroken(Exception):
    """The other side is gone, or sends what is no frame."""


class Channel:
    """One end. `run` writes and must be running for anything to leave. `cut`: it was cut off from here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._wake = trio.Event()
        self._writing = False
        self.cut = False

    def post(self, message: Upward | Downward) -> bool:
        """Queue a message; false if the other side is too far behind."""
        frame = encode(message)
        if len(self._outbox) + len(frame) > _QUEUED_AT_MOST:
            return False
        self._outbox += _LENGTH.pack(len(frame)) + frame
        self._wake.set()
        return True

    async def run(self) -> None:
        """Write what is posted. Raises `ChannelBroken`."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self._writing = True
            while self._outbox:
                data, self._outbox = self._outbox, bytearray()
                view = memoryview(data)
                while view:
                    try:
                        sent = await self._socket.send(view)
                    except OSError:
                        raise ChannelBroken from None
                    view = view[sent:]
            self._writing = False

    async def flushed(self) -> None:
        """Return when all that was posted is with the kernel."""
        while self._outbox or self._writing:
            await trio.sleep(0.001)

    async def receive(self) -> list[bytes]:
        """The frames that have arrived, at least one; none at the end. Raises `ChannelBroken`."""
        while True:
            frames = self._frames()
            if frames:
                return frames
            try:
                data = await self._socket.recv(256 << 10)
            except OSError:
                data = b""
            if not data:
                return []
            self._inbox += data

    def _frames(self) -> list[bytes]:
        frames = []
        pos = 0
        inbox = self._inbox
        while len(inbox) - pos >= 4:
            (length,) = _LENGTH.unpack_from(inbox, pos)
            if length > _FRAME_AT_MOST:
                raise ChannelBroken
            if len(inbox) - pos - 4 < length:
                break
            frames.append(bytes(inbox[pos + 4 : pos + 4 + length]))
            pos += 4 + length
        del inbox[:pos]
        return frames

    def cut_off(self) -> None:
        """Say and hear no more: whoever receives is told that the other side is gone."""
        self.cut = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()
