"""The control program as something that can be measured beside proxies, and the clients that it is measured with."""

import contextlib
import platform
import socket
import sys
from collections.abc import Iterator

import msgspec

from bench.compare.control import Wanted
from bench.failure import BenchError
from bench.load.engine import Target
from bench.peers.peer import Peer, Place, Progress, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process
from bench.report.stored import CONTROL

_PATIENCE = 10.0  # s for a handshake


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    (port,) = free_ports(1)
    server = place.pki.pairs["server"]
    wanted = Wanted(
        port=port,
        upstream=place.ports[0],
        certificate=str(server.certificate),
        private_key=str(server.key),
        client_root=str(place.pki.client_root),
        upstream_root=str(place.pki.server_root),
    )
    log = place.folder / "control.log"
    command = [sys.executable, "-m", "bench.compare.control", msgspec.json.encode(wanted).decode()]
    with process(command, log, cores=place.cores) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _install(_progress: Progress) -> None:
    """It is a part of the bench."""


CONTROL_PROGRAM = Peer(
    name=CONTROL,
    about="a process that holds the same TLS connections, idle, and does nothing else",
    lacks=("everything but TLS itself",),
    version=platform.python_version,
    install=_install,
    start=_start,
)


@contextlib.contextmanager
def held(target: Target, count: int) -> Iterator[None]:
    """So many connections on which hands have been shaken, for as long as the context lasts. Raises `BenchError`."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            try:
                raw = socket.create_connection((target.host, target.port), _PATIENCE)
                stack.enter_context(target.context.wrap_socket(raw, server_hostname=target.host))
            except OSError as error:  # `ssl.SSLError` too
                raise BenchError(f"connection {number + 1} of {count} could not be made: {error}") from None
        yield
