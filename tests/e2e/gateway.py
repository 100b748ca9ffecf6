"""A gateway as a subprocess, and the ways tests speak to it."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.config.structs import Seconds

KEY = "test-key-of-the-first-client"
OTHER_KEY = "test-key-of-the-second-client"
WITHIN = 45.0  # s; generous, since a machine may be busy with other things
COMPILED = {"PYTHONPATH": os.environ["COMPILED"], "PYTHONSAFEPATH": "1"} if "COMPILED" in os.environ else {}
"""Where a folder that `scripts/compile` made is named, the gateway is the one in it."""


def azure(pki: Pki, first: float = 0.005, between: float = 0.002) -> MockConfig:
    """Two regions with the same deployments, quick ones and one that takes its time."""
    deployments = (
        Deployment(name="gpt-4o", first_token=Seconds(first), between_tokens=Seconds(between)),
        Deployment(name="slow", first_token=Seconds(0.02), between_tokens=Seconds(0.05)),
        Deployment(name="embed"),
        Deployment(name="chunky", framing="chunked"),
        Deployment(name="closing", framing="close"),
    )
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=(
            Instance(name="swc", region="Sweden Central", tier="provisioned", deployments=deployments),
            Instance(name="frc", region="France Central", deployments=deployments),
        ),
    )


def config_text(pki: Pki, mock: MockProcess, *, listen: str = "", clients: str = "", more: str = "") -> str:
    """A configuration with two clients; `{}`-free, so that tests can replace parts of it.

    Failures to authenticate are answered at once: all tests come from one address.
    """
    if "[listen.bounds]" not in listen:
        listen += "\n[listen.bounds]"
    listen = listen.replace("[listen.bounds]", '[listen.bounds]\nfailure_delay = "0s"')
    server = pki.pairs["server"]
    models = "\n".join(
        f"""[[models]]
name = "{name}"
deployments = [
  {{ backend = "swc", deployment = "{name}", priority = 0 }},
  {{ backend = "frc", deployment = "{name}", priority = 1 }},
]"""
        for name in ("gpt-4o", "slow", "embed", "chunky", "closing")
    )
    backends = "\n".join(
        f"""[[backends]]
name = "{name}"
url = "{mock.urls[name]}"
region = "{region}"
credential = "gateway"
ca = "{pki.server_root}"
"""
        for name, region in (("swc", "swedencentral"), ("frc", "francecentral"))
    )
    return f"""
[listen]
address = "127.0.0.1:{free_port()}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = 2
{listen}
[listen.health]
address = "127.0.0.1:{free_port()}"
[listen.client_certificates]
mode = "optional"
roots = ["{pki.client_root}"]
[admin]
address = "127.0.0.1:{free_port()}"
[[clients]]
name = "first"
tenant = "power"
certificate = {{ issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }}
key_hashes = ["{hashed(KEY)}"]
[[clients.grants]]
models = ["*"]
operations = ["*"]
[[clients]]
name = "second"
key_hashes = ["{hashed(OTHER_KEY)}"]
regions = ["francecentral"]
[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions"]
[clients.limits]
tokens_per_minute = 1_000_000
{clients}
[credentials.gateway]
kind = "managed_identity"
{backends}
{models}
[routing.probes]
every = "0s"
{more}
"""


def hashed(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


_given: set[int] = set()


def free_port() -> int:
    """A port that is free now, and that no other caller has been given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


class Gateway:
    """A running gateway."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, pki: Pki, text: str) -> None:
        self.process = process
        self.folder = folder
        self.pki = pki
        self.config = folder / "penstock.toml"
        self.port = int(_value(text, "[listen]").rpartition(":")[2])
        self.health = f"http://{_value(text, '[listen.health]')}"
        self.admin = f"http://{_value(text, '[admin]')}"
        self.since = ""  # the time of a record: those of requests before it are another test's

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def context(self, certificate: str | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.pki.server_root)
        if certificate is not None:
            pair = self.pki.pairs[certificate]
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def connect(self, certificate: str | None = None) -> ssl.SSLSocket:
        """A raw TLS connection."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN)
        return self.context(certificate).wrap_socket(sock, server_hostname="localhost")

    def client(self, key: str | None = KEY, certificate: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"api-key": key}
        return httpx.Client(base_url=self.url, verify=self.context(certificate), headers=headers, timeout=WITHIN)

    def raw(self, data: bytes, certificate: str | None = None) -> bytes:
        """Send bytes, and read what comes until the gateway closes."""
        with self.connect(certificate) as sock:
            received = b""
            with contextlib.suppress(OSError, ssl.SSLError):
                sock.sendall(data)
                while chunk := sock.recv(65536):
                    received += chunk
            return received

    def api(self, method: str, path: str, json: Any = None) -> httpx.Response:
        token = (self.folder / "state" / "admin.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return httpx.request(method, self.admin + path, headers=headers, json=json, timeout=WITHIN)

    def records(self) -> list[dict[str, Any]]:
        try:
            text = (self.folder / "log" / "audit.jsonl").read_text()
        except FileNotFoundError:
            return []
        # A record that is being written as we read has no line end yet.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def record(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The newest record that matches, of requests since `since`; waits for it."""
        return wait_for(
            lambda: next((r for r in reversed(self.records()) if r["time"] >= self.since and matches(r)), None)
        )

    def record_of(self, request_id: str) -> dict[str, Any]:
        return self.record(lambda record: record["request_id"] == request_id)


T = TypeVar("T")


def wait_for(get: Callable[[], T | None], within: float = WITHIN) -> T:
    """What `get` gives once it gives something; bounded."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        found = get()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("did not come about in time")


@contextlib.contextmanager
def gateway(
    folder: Path, pki: Pki, mock: MockProcess, text: str | None = None, *, ready: bool = True
) -> Iterator[Gateway]:
    """Run the gateway in a folder for as long as the context lasts; it must drain cleanly at the end.

    `ready` false: wait only until it accepts connections.
    """
    text = config_text(pki, mock) if text is None else text
    config = folder / "penstock.toml"
    config.write_text(text)
    environment = os.environ | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": mock.identity} | COMPILED
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            running = Gateway(process, folder, pki, text)
            is_up = _is_ready if ready else _accepts
            wait_for(lambda: process.poll() is not None or is_up(running))
            assert process.poll() is None, running.log
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise


def _accepts(running: Gateway) -> bool:
    with contextlib.suppress(OSError), running.connect():
        return True
    return False


def _is_ready(running: Gateway) -> bool:
    try:
        return httpx.get(running.health + "/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def _value(text: str, table: str) -> str:
    """The address in a table of the configuration."""
    return text.partition(table + "\n")[2].partition('address = "')[2].partition('"')[0]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
