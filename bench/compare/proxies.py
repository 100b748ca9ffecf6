"""The proxies that are compared: each with its best honest configuration for the same job, TLS on both sides.

Each is started bound to one core with all its processes, and ended for certain.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.compare.cpu import family, pin
from bench.load.engine import Target
from certs.pki import Pki

_READY_WITHIN = 20.0


class BenchError(Exception):
    """Something the person at the keyboard can put right; the message says how."""


class Running(msgspec.Struct):
    """A proxy at work. `pid` is the first of its processes; `target` is where it listens, with a client certificate."""

    name: str
    pid: int
    target: Target
    audit: Path | None = None
    admin: str | None = None
    folder: Path | None = None

    @property
    def processes(self) -> list[int]:
        return family(self.pid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _target(pki: Pki, port: int) -> Target:
    pair = pki.pairs["turbine-7"]
    return Target("localhost", port, str(pki.server_root), (str(pair.certificate), str(pair.key)))


@contextlib.contextmanager
def _process(command: list[str], core: int | None, log: Path, environment: dict[str, str]) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=os.environ | environment,
            start_new_session=True,
            preexec_fn=None if core is None else (lambda: pin(core)),
        )
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _await_port(port: int, log: Path) -> None:
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise BenchError(f"a proxy did not start:\n{log.read_text()[-2000:]}")


def nginx_version() -> str:
    """Raises `BenchError` where there is none, and says how to get one."""
    path = _nginx()
    return subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]


def _nginx() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchError("nginx is not installed: apt-get install nginx-light, or your system's package of it")
    return path


@contextlib.contextmanager
def nginx(folder: Path, pki: Pki, upstreams: list[str], core: int) -> Iterator[Running]:
    """One worker, client certificates verified, no buffering, kept-alive TLS upstream, an access log."""
    port = free_port()
    servers = "\n".join(f"        server 127.0.0.1:{urlsplit(url).port};" for url in upstreams)
    server = pki.pairs["server"]
    config = folder / "nginx.conf"
    config.write_text(f"""
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
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {pki.server_root};
            proxy_ssl_verify_depth 3;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
        }}
    }}
}}
""")
    log = folder / "nginx.log"
    with _process([_nginx(), "-p", str(folder), "-c", str(config)], core, log, {}) as pid:
        _await_port(port, log)
        yield Running("nginx", pid, _target(pki, port))


def gateway_config(pki: Pki, upstreams: list[str], port: int, admin: int, health: int, workers: int) -> str:
    """Penstock with every stage on: certificates, grants, limits that are never met, breakers, metering, audit."""
    server = pki.pairs["server"]
    names = [f"region-{index}" for index in range(len(upstreams))]
    backends = "\n".join(
        f'[[backends]]\nname = "{name}"\nurl = "{url}"\nregion = "{name}"\ncredential = "key"\nca = "{pki.server_root}"'
        for name, url in zip(names, upstreams, strict=True)
    )
    deployments = ", ".join(
        f'{{ backend = "{name}", deployment = "gpt-4o", priority = {index} }}' for index, name in enumerate(names)
    )
    return f"""
[listen]
address = "127.0.0.1:{port}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = {workers}
[listen.health]
address = "127.0.0.1:{health}"
[listen.client_certificates]
mode = "required"
roots = ["{pki.client_root}"]
[admin]
address = "127.0.0.1:{admin}"
[[clients]]
name = "turbine-7"
tenant = "power"
certificate = {{ issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }}
[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions"]
[clients.limits]
requests_per_minute = 10_000_000
tokens_per_minute = 2_000_000_000
concurrent_requests = 100_000
[credentials.key]
kind = "api_key"
key = {{ env = "PENSTOCK_BENCH_KEY" }}
{backends}
[[models]]
name = "gpt-4o"
deployments = [{deployments}]
"""


@contextlib.contextmanager
def penstock(folder: Path, pki: Pki, upstreams: list[str], core: int | None, workers: int = 1) -> Iterator[Running]:
    """The gateway: supervisor and workers, all on the one core, or unpinned."""
    port, admin, health = free_port(), free_port(), free_port()
    config = folder / "penstock.toml"
    config.write_text(gateway_config(pki, upstreams, port, admin, health, workers))
    log = folder / "penstock.log"
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with _process(command, core, log, {"PENSTOCK_BENCH_KEY": "bench"}) as pid:
        _await_port(port, log)
        time.sleep(1.0)
        yield Running(
            "penstock",
            pid,
            _target(pki, port),
            audit=folder / "log" / "audit.jsonl",
            admin=f"http://127.0.0.1:{admin}",
            folder=folder,
        )


Start = Callable[[Path, Pki, list[str], int], contextlib.AbstractContextManager[Running]]
PROXIES: dict[str, Start] = {"penstock": penstock, "nginx": nginx}
