"""Real sockets and real TLS for the tests of the engine: links on a pump, and their far ends."""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import trio

from certs.pki import Pki
from proxy.messages import ServerCertificate, Tls
from proxy.wire.link import Link
from proxy.wire.pump import Pump
from proxy.wire.tls import backend_context, server_context

WITHIN = 10.0
LATER = 3600.0
SMALL = 4096

T = TypeVar("T")


class Leaving(Enum):
    """How a peer can leave."""

    CLEANLY = "close_notify, then FIN"
    RAGGED = "FIN alone"
    RESET = "RST"


class Far:
    """The other end of a connection, written apart from the code under test. `send` makes a record of up to 16 KiB."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock

    async def _do(self, operation: Callable[..., T], *arguments: object) -> T:
        with trio.fail_after(WITHIN):
            while True:
                try:
                    return operation(*arguments)
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(self.sock)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(self.sock)

    async def handshake(self) -> None:
        await self._do(self.sock.do_handshake)

    async def send(self, data: bytes | memoryview) -> None:
        while data:
            data = data[await self._do(self.sock.send, data) :]

    def fill(self, data: bytes) -> int:
        """Send as much as the connection takes without waiting; how much that was."""
        taken = 0
        try:
            while taken < len(data):
                taken += self.sock.send(memoryview(data)[taken : taken + SMALL])
        except ssl.SSLWantWriteError:
            pass
        return taken

    async def receive(self, at_most: int = 65536) -> bytes:
        """What is there; nothing at a close_notify. Raises `ssl.SSLEOFError`, `ConnectionError`."""
        return await self._do(self.sock.recv, at_most)

    async def exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = await self.receive(count - len(got))
            assert part, f"ended after {got!r}"
            got += part
        return got

    async def until(self, ending: bytes) -> bytes:
        """All bytes up to and including `ending`."""
        got = b""
        while not got.endswith(ending):
            part = await self.receive()
            assert part, f"ended after {got!r}"
            got += part
        return got

    async def rest(self) -> bytes:
        """All bytes up to a close_notify."""
        got = b""
        while part := await self.receive():
            got += part
        return got

    def say_goodbye(self) -> None:
        """close_notify, and no more."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.sock.unwrap()

    def leave(self, how: Leaving) -> None:
        if how is Leaving.CLEANLY:
            self.say_goodbye()
        elif how is Leaving.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def tcp_pair(*, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, non-blocking; `small`: with as little room in between as the kernel allows."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        if small:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        far = socket.socket()
        if small:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        far.connect(listening.getsockname())
        near, _ = listening.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def tls(pki: Pki, *pairs: str, mode: str = "off", minimum: str = "1.2") -> Tls:
    """What a worker builds its server context from."""
    return Tls(
        certificates=tuple(
            ServerCertificate(pki.pairs[name].certificate.read_bytes(), pki.pairs[name].key.read_bytes())
            for name in pairs or ("server",)
        ),
        minimum=minimum,
        mode=mode,
        roots=pki.client_root.read_bytes(),
        intermediates=b"",
    )


class World:
    """Makes connected pairs of a link on `pump` and its far end, and closes them all in the end."""

    def __init__(self, pump: Pump, pki: Pki) -> None:
        self.pump = pump
        self.pki = pki
        self._server = server_context(tls(pki))
        self._backend = backend_context(pki.server_root.read_bytes())
        self._opened: list[Link | Far] = []

    def far_client(self, certificate: str | None = None) -> ssl.SSLContext:
        """What a client of the gateway trusts, and shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.load_verify_locations(self.pki.server_root)
        if certificate is not None:
            context.load_cert_chain(self.pki.pairs[certificate].certificate, self.pki.pairs[certificate].key)
        return context

    def far_backend(self) -> ssl.SSLContext:
        """What a backend shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.load_cert_chain(self.pki.pairs["mock"].certificate, self.pki.pairs["mock"].key)
        return context

    def wrap(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> ssl.SSLSocket:
        return context.wrap_socket(
            sock,
            server_side=server,
            server_hostname=None if server else "localhost",
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )

    def unshaken(self, *, small: bool = False, client: bool = True) -> tuple[Link, Far]:
        """A link to a client, or to a backend, and its far end, before their handshake."""
        near, other = tcp_pair(small=small)
        if client:
            link = Link(self.pump, self.wrap(near, self._server, server=True))
            far = Far(self.wrap(other, self.far_client(), server=False))
        else:
            link = Link(self.pump, self.wrap(near, self._backend, server=False))
            far = Far(self.wrap(other, self.far_backend(), server=True))
        self._opened += [link, far]
        return link, far

    async def client(self, *, small: bool = False) -> tuple[Link, Far]:
        """The gateway's link to a client, and the client."""
        return await self._shaken(*self.unshaken(small=small))

    async def backend(self, *, small: bool = False) -> tuple[Link, Far]:
        """The gateway's link to a backend, and the backend."""
        return await self._shaken(*self.unshaken(small=small, client=False))

    async def _shaken(self, link: Link, far: Far) -> tuple[Link, Far]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.handshake)
            await link.handshake(soon())
        return link, far

    def close(self) -> None:
        for opened in self._opened:
            if isinstance(opened, Link):
                opened.close()
            else:
                opened.sock.close()


def soon() -> float:
    """A deadline that a test meets."""
    return time.monotonic() + WITHIN


def pass_time(pump: Pump, seconds: float) -> None:
    """A sweep as it would be after `seconds` more in which nothing happened."""
    now = time.monotonic() + seconds
    for timed in list(pump.timed):
        timed.sweep(now)


async def until(true: Callable[[], object]) -> None:
    """Go on once `true` is."""
    with trio.fail_after(WITHIN):
        while not true():
            await trio.sleep(0.001)


def is_quiet(pump: Pump) -> bool:
    """Whether nothing is ready: a pump that has nothing to do would otherwise turn for ever."""
    return not pump.turn(0)
