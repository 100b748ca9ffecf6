"""Penstock itself, with every stage on: certificates, grants, limits that are never met, breakers, metering, audit.

It is there twice: as it is, and with its data plane compiled, from a folder of its own.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.failure import BenchError
from bench.peers.install import call
from bench.peers.peer import Peer, Place, Progress, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, healthy, process
from certs.pki import Pki
from proxy import __version__

_NAME = "penstock-compiled"
_ROOT = Path(__file__).parent.parent.parent
_COMPILER = _ROOT / "scripts" / "compiled.py"
_COMPILED = _ROOT / "build" / "compiled"


class Ports(NamedTuple):
    """Where a gateway listens, on 127.0.0.1."""

    listen: int
    admin: int
    health: int

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the gateways that the bench runs. No cores: any. `source`: the folder that `proxy` is in,
    where it is not the bench's own.
    """

    cores: tuple[int, ...] = ()
    workers: int = 1
    models: tuple[str, ...] = ("gpt-4o",)
    more: str = ""  # further tables of the configuration
    source: Path | None = None


def gateway_config(pki: Pki, upstreams: dict[str, str], gateway: Gateway, ports: Ports) -> str:
    """The first upstream is asked first, the others when it cannot answer."""
    server = pki.pairs["server"]
    backends = "\n".join(
        f'[[backends]]\nname = "{name}"\nurl = "{url}"\nregion = "{name}"\ncredential = "key"\nca = "{pki.server_root}"'
        for name, url in upstreams.items()
    )
    models = "\n".join(
        f'[[models]]\nname = "{model}"\ndeployments = ['
        + ", ".join(
            f'{{ backend = "{name}", deployment = "{model}", priority = {index} }}'
            for index, name in enumerate(upstreams)
        )
        + "]"
        for model in gateway.models
    )
    return f"""
[listen]
address = "127.0.0.1:{ports.listen}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = {gateway.workers}
[listen.health]
address = "127.0.0.1:{ports.health}"
[listen.client_certificates]
mode = "required"
roots = ["{pki.client_root}"]
[admin]
address = "127.0.0.1:{ports.admin}"
{gateway.more}
[[clients]]
name = "turbine-7"
tenant = "power"
certificate = {{ issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }}
[[clients.grants]]
models = ["*"]
operations = ["chat.completions"]
[clients.limits]
requests_per_minute = 10_000_000
tokens_per_minute = 2_000_000_000
concurrent_requests = 100_000
[credentials.key]
kind = "api_key"
key = {{ env = "PENSTOCK_BENCH_KEY" }}
{backends}
{models}
"""


@contextlib.contextmanager
def penstock(folder: Path, pki: Pki, upstreams: dict[str, str], gateway: Gateway) -> Iterator[Running]:
    """The gateway: supervisor and workers, all on the same cores where it names some."""
    ports = Ports(*free_ports(3))
    text = gateway_config(pki, upstreams, gateway, ports)
    with penstock_of(folder, text, ports, gateway.cores, gateway.source) as pid:
        yield Running(pid=pid, access=mutual_tls(pki, ports.listen), folder=folder, admin=ports.admin_url)


@contextlib.contextmanager
def penstock_of(
    folder: Path, text: str, ports: Ports, cores: tuple[int, ...] = (), source: Path | None = None
) -> Iterator[int]:
    """The gateway with this configuration, `penstock.toml` in the folder; the supervisor's pid. Raises `BenchError`."""
    config = folder / "penstock.toml"
    config.write_text(text)
    log = folder / "penstock.log"
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    environment = {"PENSTOCK_BENCH_KEY": "bench"}
    if source is not None:
        environment |= {"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
    with process(command, log, cores=cores, environment=environment) as pid:
        await_ready(healthy(f"http://127.0.0.1:{ports.health}/readyz"), pid, log)
        yield pid


def _start(place: Place) -> contextlib.AbstractContextManager[Running]:
    gateway = Gateway(cores=place.cores, workers=place.workers)
    return penstock(place.folder, place.pki, place.upstreams, gateway)


def _version() -> str:
    return __version__


def _install(_progress: Progress) -> None:
    """It is what the bench is a part of."""


def _start_compiled(place: Place) -> contextlib.AbstractContextManager[Running]:
    _compiled_version()
    gateway = Gateway(cores=place.cores, workers=place.workers, source=_COMPILED)
    return penstock(place.folder, place.pki, place.upstreams, gateway)


def _compiled_version() -> str:
    if not any(_COMPILED.glob("proxy/**/*.so")):
        raise BenchError(f"{_COMPILED} has no compiled gateway; `python -m bench peers --install {_NAME}` makes it")
    return f"{__version__}, compiled"


def _compile(progress: Progress) -> None:
    """What was made of the same sources is left as it is."""
    if not _COMPILER.exists():
        raise BenchError(f"{_COMPILER}: not there; the gateway can be compiled from a checkout that has it")
    progress(f"{_NAME}: compiling")
    call([sys.executable, str(_COMPILER), str(_COMPILED)], _ROOT, "this needs a C compiler and the extra `dev`")


PENSTOCK = Peer(
    name="penstock",
    about="this gateway, every stage on",
    workers=(1, 2),
    version=_version,
    install=_install,
    start=_start,
)
PENSTOCK_COMPILED = Peer(
    name=_NAME,
    about="the same, its data plane compiled by mypyc",
    workers=(1, 2),
    version=_compiled_version,
    install=_compile,
    start=_start_compiled,
)
