"""The bare control program: what a pair of TLS connections costs in memory when nothing is done on them.

One process, no HTTP, no event loop, nothing kept but the sockets. For each client that shakes hands with a certificate
it opens a verified TLS connection of its own to the upstream, and holds both, idle. The contexts are the gateway's own,
made by the same functions. It runs until it is told to end by a signal; `bench.compare.holding` starts it.
"""

import contextlib
import resource
import socket
import ssl
import sys
from pathlib import Path

import msgspec

from proxy.messages import ServerCertificate, Tls
from proxy.wire.tls import backend_context, server_context

_PATIENCE = 10.0  # s for a handshake


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and to connect to, on 127.0.0.1, and with which files. It comes as JSON, the one argument."""

    port: int
    upstream: int
    certificate: str
    private_key: str
    client_root: str
    upstream_root: str


def main(argument: str) -> None:
    """Hold whatever comes."""
    wanted = msgspec.json.decode(argument, type=Wanted)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server, client = _contexts(wanted)
    held: list[tuple[ssl.SSLSocket, ssl.SSLSocket]] = []
    with socket.create_server(("127.0.0.1", wanted.port), backlog=4096) as listener:
        while True:
            with contextlib.suppress(OSError):  # `ssl.SSLError` too: who does not shake hands is not held
                held.append(_pair(listener.accept()[0], server, client, wanted.upstream))


def _contexts(wanted: Wanted) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    pair = ServerCertificate(Path(wanted.certificate).read_bytes(), Path(wanted.private_key).read_bytes())
    roots = Path(wanted.client_root).read_bytes()
    tls = Tls(certificates=(pair,), minimum="1.2", mode="required", roots=roots, intermediates=b"")
    return server_context(tls), backend_context(Path(wanted.upstream_root).read_bytes())


def _pair(
    accepted: socket.socket, server: ssl.SSLContext, client: ssl.SSLContext, upstream: int
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    accepted.settimeout(_PATIENCE)
    near = server.wrap_socket(accepted, server_side=True)
    far = client.wrap_socket(socket.create_connection(("127.0.0.1", upstream), _PATIENCE), server_hostname="localhost")
    return near, far


if __name__ == "__main__":
    main(sys.argv[1])
