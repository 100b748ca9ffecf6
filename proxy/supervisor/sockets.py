"""The listening sockets: bound once by the supervisor, shared by all workers, open as long as the gateway lives."""

import socket

_BACKLOG = 4096


class AddressUnusable(Exception):
    """An address that cannot be listened on; the message says which and why."""


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address is written in brackets")
    return host, int(port)


def listen(address: str) -> socket.socket:
    """A listening TCP socket, non-blocking. Raises `AddressUnusable`."""
    try:
        host, port = parse_address(address)
        family, kind, _, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
    except (OSError, ValueError) as error:
        raise AddressUnusable(f"cannot listen on {address}: {getattr(error, 'strerror', None) or error}") from None
    return sock
