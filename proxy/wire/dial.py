"""A TCP connection to where the configuration says a backend is, and to nowhere else.

Nothing of a request comes in here: host and port are the configuration's.
"""

import socket

import trio

from proxy.wire.eyeballs import first_to_answer
from proxy.wire.resolve import Address, Addresses


class Dialer:
    """Connects to a host. `addresses` are kept fresh by whoever runs the worker."""

    def __init__(self, host: str, port: int) -> None:
        self.addresses = Addresses(host, port)

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
