"""The Python baseline: hypercorn before httpx, some forty lines (`bench.peers.asgi`), client certificates verified."""

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version

from bench.peers.peer import NO_GATEWAY, Peer, Place, Progress, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process


def passthrough_command(place: Place, port: int) -> list[str]:
    """hypercorn's options. Its verify mode is a number there: `ssl.CERT_REQUIRED`."""
    server = place.pki.pairs["server"]
    return [
        *(sys.executable, "-m", "hypercorn", "bench.peers.asgi:app", "--bind", f"127.0.0.1:{port}"),
        *("--workers", str(place.workers), "--worker-class", "asyncio", "--backlog", "4096"),
        *("--certfile", str(server.certificate), "--keyfile", str(server.key)),
        *("--ca-certs", str(place.pki.client_root), "--verify-mode", "CERT_REQUIRED"),
        *("--keep-alive", "3600", "--access-logfile", str(place.folder / "passthrough-access.log")),
    ]


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    (port,) = free_ports(1)
    log = place.folder / "passthrough.log"
    told = {"PASSTHROUGH_UPSTREAMS": " ".join(place.upstreams.values()), "PASSTHROUGH_ROOT": str(place.pki.server_root)}
    with process(passthrough_command(place, port), log, cores=place.cores, environment=told) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _version() -> str:
    return f"hypercorn {version('hypercorn')}, httpx {version('httpx')}"


def _install(_progress: Progress) -> None:
    """Both are what the gateway's control plane uses."""


PASSTHROUGH = Peer(
    name="passthrough",
    about="hypercorn on asyncio before httpx, the least that a Python proxy does",
    lacks=NO_GATEWAY,
    workers=(1, 2),
    version=_version,
    install=_install,
    start=_start,
)
