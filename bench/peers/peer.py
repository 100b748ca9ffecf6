"""What a peer is: a proxy that the bench can install, start by its best honest configuration, reach, and end."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.compare.cpu import family
from bench.load.engine import Target
from bench.load.job import Check
from bench.load.retold import fitted
from bench.load.workload import Workload
from certs.pki import Pki

Progress = Callable[[str], None]

NO_GATEWAY = ("grants by client and model", "limits in tokens", "metering", "audit")
"""What general proxies lack of the gateway's job."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a peer is started, and what it stands before.

    folder     its own: configuration, logs, sockets; it must be there
    upstreams  the mock's instances, names to URLs (https://localhost:PORT), all with the api-key `bench`
    cores      that all its processes are bound to; none: any
    workers    processes or threads that serve; what a peer's `workers` allows
    """

    folder: Path
    pki: Pki
    upstreams: dict[str, str]
    cores: tuple[int, ...] = ()
    workers: int = 1

    @property
    def ports(self) -> list[int]:
        """The upstreams', on 127.0.0.1."""
        return [port for port in (urlsplit(url).port for url in self.upstreams.values()) if port is not None]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How the load gets in; plain data, so that it can be handed to other processes.

    url          https://HOST:PORT, or http:// where the peer ends no TLS
    root         what vouches for it (PEM); None with http
    certificate  what is shown, with its key; None where the peer takes none
    headers      that every request must carry
    path         that chat completions are asked at, where it is not Azure's own
    check        `text` where the peer writes answers anew, so that their bytes are not the backend's
    """

    url: str
    root: str | None = None
    certificate: tuple[str, str] | None = None
    headers: dict[str, str] = {}
    path: str | None = None
    check: Check = "bytes"

    @property
    def target(self) -> Target:
        """The same for the load's engine. Raises `OSError` or `ssl.SSLError` for bad files."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return Target(parts.hostname, parts.port, self.root, self.certificate)

    def fitted(self, workload: Workload) -> Workload:
        """A workload, asked for where this peer has it, and checked as its answers can be."""
        return fitted(workload, self.path, self.check)


def mutual_tls(pki: Pki, port: int) -> Access:
    """To a peer at this port that serves the development certificate and asks for the client's."""
    pair = pki.pairs["turbine-7"]
    return Access(
        url=f"https://localhost:{port}", root=str(pki.server_root), certificate=(str(pair.certificate), str(pair.key))
    )


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A peer at work. `pid` is the first of its processes; `folder` holds what it writes; `admin` is the gateway's."""

    pid: int
    access: Access
    folder: Path
    admin: str = ""

    @property
    def target(self) -> Target:
        return self.access.target

    @property
    def processes(self) -> list[int]:
        """It and all that it has started."""
        return family(self.pid)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that can be measured. Its functions raise `BenchError`.

    about    what it is and how it is set up, in a line
    lacks    what it does not do of the gateway's job, in words; shown beside its figures
    workers  the numbers of workers that it can be started with
    version  what is installed; raises where nothing is, and says how to get it
    install  make it be there, without root; nothing happens where it is
    start    run it for as long as the context lasts, all its processes bound to the place's cores
    """

    name: str
    about: str
    lacks: tuple[str, ...] = ()
    workers: tuple[int, ...] = (1,)
    version: Callable[[], str]
    install: Callable[[Progress], None]
    start: Callable[[Place], contextlib.AbstractContextManager[Running]]
