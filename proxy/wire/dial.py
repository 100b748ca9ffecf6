"""A TCP connection to where the configuration says a backend is, and to nowhere else.

Nothing of a request comes in here: host and port are the configuration's.
"""

import socket

import trio

from proxy.messages import ForwardProxy
from proxy.wire.eyeballs import first_to_answer
from proxy.wire.resolve import Address, Addresses
from proxy.wire.tunnel import open_tunnel


class Dialer:
    """Connects to a host, through a forward proxy if there is one.

    `addresses`, of whichever is connected to, are kept fresh by whoever runs the worker.
    """

    def __init__(self, host: str, port: int, proxy: ForwardProxy | None = None) -> None:
        self.addresses = Addresses(host, port) if proxy is None else Addresses(proxy.host, proxy.port)
        self._host = host
        self._port = port
        self._proxy = proxy

    async def dial(self) -> socket.socket:
        """A connection, non-blocking. Raises `OSError`."""
        addresses = await self.addresses.order()
        try:
            sock, place = await first_to_answer(addresses, _connect)
        except BaseException:
            self.addresses.doubt()
            raise
        if place:
            self.addresses.late(addresses[:place])
        if self._proxy is not None:
            try:
                await open_tunnel(sock, self._host, self._port, self._proxy)
            except BaseException:
                sock.close()
                raise
        return sock


async def _connect(to: Address) -> socket.socket:
    family, address = to
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await trio.socket.from_stdlib_socket(sock).connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
