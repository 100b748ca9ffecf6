"""The proxies that are compared: each with its best honest configuration for the same job, TLS on both sides.

Each is started bound to one core with all its processes, and ended for certain.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from bench.compare.cpu import family, pin
from bench.failure import BenchError
from bench.load.engine import Target
from certs.pki import Pki
from proxy import __version__

_READY_WITHIN = 20.0
_LEAVE_WITHIN = 8.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Running(msgspec.Struct):
    """A proxy at work. `pid` is the first of its processes; `target` is where it listens, with a client certificate.

    `folder` holds what it writes; `admin` is the gateway's admin address.
    """

    pid: int
    target: Target
    folder: Path
    admin: str = ""

    @property
    def processes(self) -> list[int]:
        return family(self.pid)


class Ports(NamedTuple):
    """Where a gateway listens, on 127.0.0.1."""

    listen: int
    admin: int
    health: int

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


def free_ports(count: int) -> list[int]:
    """Different ones, free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _target(pki: Pki, port: int) -> Target:
    pair = pki.pairs["turbine-7"]
    return Target("localhost", port, str(pki.server_root), (str(pair.certificate), str(pair.key)))


@contextlib.contextmanager
def _process(command: list[str], core: int | None, log: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run a proxy, and end it with all its processes, whatever happens; should the bench be killed, it ends as well."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if core is not None:
            pin(core)

    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | environment,
            start_new_session=True,
            preexec_fn=prepare,
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LEAVE_WITHIN)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(ready: Callable[[], bool], pid: int, log: Path) -> None:
    """Raises `BenchError`, with the end of the proxy's log, if it does not get ready."""
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if ready():
                return
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.05)
    raise BenchError(f"a proxy did not start; its log ends with:\n{log.read_text(errors='replace')[-2000:]}")


def _listening(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True

    return ready


def _healthy(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)

    return ready


def version(name: str) -> str:
    """Raises `BenchError` for a peer that is not installed, and says how to get it."""
    if name == "penstock":
        return __version__
    found = subprocess.run([_nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    return found.strip().rpartition("/")[2]


def _nginx() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchError("nginx is not installed: apt-get install nginx-light, or your system's package of it")
    return path


def nginx_config(folder: Path, pki: Pki, upstreams: list[str], port: int) -> str:
    """One worker, client certificates verified, no buffering, kept-alive and verified TLS upstream, an access log."""
    servers = "\n".join(f"        server {address};" for address in upstreams)
    server = pki.pairs["server"]
    return f"""
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 20000; }}
http {{
    access_log {folder}/nginx-access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream azure {{
{servers}
        keepalive 2048;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        ssl_client_certificate {pki.client_root};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_verify_client on;
        ssl_verify_depth 3;
        ssl_session_tickets off;
        ssl_session_cache off;
        location / {{
            proxy_pass https://azure;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header api-key bench;
            proxy_buffering off;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {pki.server_root};
            proxy_ssl_verify_depth 3;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, pki: Pki, upstreams: dict[str, str], core: int) -> Iterator[Running]:
    """nginx, its master and its one worker on the one core."""
    (port,) = free_ports(1)
    config = folder / "nginx.conf"
    addresses = [f"127.0.0.1:{urlsplit(url).port}" for url in upstreams.values()]
    config.write_text(nginx_config(folder, pki, addresses, port))
    log = folder / "nginx.log"
    with _process([_nginx(), "-p", str(folder), "-c", str(config)], core, log, {}) as pid:
        _await(_listening(port), pid, log)
        yield Running(pid, _target(pki, port), folder)


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the gateways that the bench runs. `core` None: on any."""

    core: int | None = None
    workers: int = 1
    models: tuple[str, ...] = ("gpt-4o",)
    more: str = ""  # further tables of the configuration


def gateway_config(pki: Pki, upstreams: dict[str, str], gateway: Gateway, *, port: int, admin: int, health: int) -> str:
    """Penstock with every stage on: certificates, grants, limits that are never met, breakers, metering, audit."""
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
address = "127.0.0.1:{port}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = {gateway.workers}
[listen.health]
address = "127.0.0.1:{health}"
[listen.client_certificates]
mode = "required"
roots = ["{pki.client_root}"]
[admin]
address = "127.0.0.1:{admin}"
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
    """The gateway: supervisor and workers, all on the one core where it names one."""
    ports = Ports(*free_ports(3))
    text = gateway_config(pki, upstreams, gateway, port=ports.listen, admin=ports.admin, health=ports.health)
    with penstock_of(folder, text, ports, gateway.core) as pid:
        yield Running(pid, _target(pki, ports.listen), folder, ports.admin_url)


@contextlib.contextmanager
def penstock_of(folder: Path, text: str, ports: Ports, core: int | None = None) -> Iterator[int]:
    """The gateway with this configuration, `penstock.toml` in the folder; the supervisor's pid. Raises `BenchError`."""
    config = folder / "penstock.toml"
    config.write_text(text)
    log = folder / "penstock.log"
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with _process(command, core, log, {"PENSTOCK_BENCH_KEY": "bench"}) as pid:
        _await(_healthy(ports.health), pid, log)
        yield pid


def pinned_penstock(
    folder: Path, pki: Pki, upstreams: dict[str, str], core: int
) -> contextlib.AbstractContextManager[Running]:
    """The gateway as it is compared: one worker, everything on one core."""
    return penstock(folder, pki, upstreams, Gateway(core=core))


Start = Callable[[Path, Pki, dict[str, str], int], contextlib.AbstractContextManager[Running]]
PROXIES: dict[str, Start] = {"penstock": pinned_penstock, "nginx": nginx}
