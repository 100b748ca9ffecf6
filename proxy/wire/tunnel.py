"""Through a forward proxy: a tunnel to the backend (CONNECT, RFC 9110 section 9.3.6), for TLS with the backend itself.

The proxy sees which host is connected to, and nothing of what is said.
"""

import errno
import socket

import trio

from proxy.messages import ForwardProxy
from proxy.wire.http1 import HEAD_END, BadResponse, read_response_head

_HEAD_AT_MOST = 16 << 10


def connect_request(host: str, port: int, proxy: ForwardProxy) -> bytes:
    """What the proxy is asked for."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proof = "" if proxy.authorization is None else f"Proxy-Authorization: {proxy.authorization}\r\n"
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proof}\r\n".encode("ascii")


async def open_tunnel(sock: socket.socket, host: str, port: int, proxy: ForwardProxy) -> None:
    """Have the proxy at the far end of `sock` connect to a host. Raises `OSError` if it does not."""
    await tunnel_through(trio.socket.from_stdlib_socket(sock), host, port, proxy)


async def tunnel_through(stream: trio.socket.SocketType, host: str, port: int, proxy: ForwardProxy) -> None:
    """The same over a socket that is trio's already."""
    request = connect_request(host, port, proxy)
    while request:
        request = request[await stream.send(request) :]
    received = b""
    while True:
        while HEAD_END not in received:
            if len(received) > _HEAD_AT_MOST:
                raise _refused("sent a head that is too long")
            part = await stream.recv(4096)
            if not part:
                raise _refused("closed the connection")
            received += part
        raw, _, received = received.partition(HEAD_END)
        try:
            status = read_response_head(raw + HEAD_END).status
        except BadResponse:
            raise _refused("does not speak HTTP") from None
        if status >= 300:
            raise _refused(f"answered {status}")
        if status >= 200:
            break
    if received:
        raise _refused("sent more than its answer")


def _refused(what: str) -> OSError:
    return OSError(errno.ECONNREFUSED, f"the forward proxy {what}")
