"""Penstock itself, with every stage on: certificates, grants, limits that are never met, breakers, metering, audit."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.peers.peer import Peer, Place, Progress, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, healthy, process
from certs.pki import Pki
from proxy import __version__


class Ports(NamedTuple):
    """Where a gateway listens, on 127.0.0.1."""

    listen: int
    admin: int
    health: int

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the gateways that the bench runs. No cores: any."""

    cores: tuple[int, ...] = ()
    workers: int = 1
    models: tuple[str, ...] = ("gpt-4o",)
    more: str = ""  # further tables of the configuration


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
    with penstock_of(folder, gateway_config(pki, upstreams, gateway, ports), ports, gateway.cores) as pid:
        yield Running(pid=pid, access=mutual_tls(pki, ports.listen), folder=folder, admin=ports.admin_url)


@contextlib.contextmanager
def penstock_of(folder: Path, text: str, ports: Ports, cores: tuple[int, ...] = ()) -> Iterator[int]:
    """The gateway with this configuration, `penstock.toml` in the folder; the supervisor's pid. Raises `BenchError`."""
    config = folder / "penstock.toml"
    config.write_text(text)
    log = folder / "penstock.log"
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with process(command, log, cores=cores, environment={"PENSTOCK_BENCH_KEY": "bench"}) as pid:
        await_ready(healthy(f"http://127.0.0.1:{ports.health}/readyz"), pid, log)
        yield pid


def _start(place: Place) -> contextlib.AbstractContextManager[Running]:
    gateway = Gateway(cores=place.cores, workers=place.workers)
    return penstock(place.folder, place.pki, place.upstreams, gateway)


def _version() -> str:
    return __version__


def _install(_progress: Progress) -> None:
    """It is what the bench is a part of."""


PENSTOCK = Peer(
    name="penstock",
    about="this gateway, every stage on",
    workers=(1, 2),
    version=_version,
    install=_install,
    start=_start,
)
