"""What runs while the demo does: the mock Azure OpenAI, and the gateway in front of it by a configuration on file."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.demo.failure import DemoFailed
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess
from bench.mock.revocation import AuthorityFiles
from bench.peers.process import free_ports
from certs.pki import Pki
from proxy.config.structs import Seconds

_READY_WITHIN = 30.0
_END_WITHIN = 15.0


class Place(NamedTuple):
    """Where a gateway is: its folder, its port, and those of its admin and health addresses."""

    folder: Path
    port: int
    admin: int
    health: int

    @property
    def config(self) -> Path:
        return self.folder / "penstock.toml"


def new_place(folder: Path) -> Place:
    """A place at ports that are free now."""
    folder.mkdir(parents=True, exist_ok=True)
    return Place(folder, *free_ports(3))


def azure(pki: Pki) -> MockConfig:
    """Two regions with the same deployments, and the clients' authorities."""
    deployments = tuple(
        Deployment(name=name, first_token=Seconds(0.2), between_tokens=Seconds(0.04))
        for name in ("gpt-4o", "gpt-4o-mini")
    )
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        authorities=(
            AuthorityFiles(name="root", certificate=str(pki.client_root), private_key=str(pki.client_root_key)),
            AuthorityFiles(
                name="devices", certificate=str(pki.client_intermediate), private_key=str(pki.client_intermediate_key)
            ),
        ),
        instances=(
            Instance(name="sweden", region="Sweden Central", tier="provisioned", deployments=deployments),
            Instance(name="france", region="France Central", deployments=deployments),
        ),
    )


def configuration(pki: Pki, mock: MockProcess, place: Place, settings: str) -> str:
    """The gateway's whole configuration, around a scenario's own settings."""
    server = pki.pairs["server"]
    models = "\n".join(
        f"""[[models]]
name = "{name}"
tokenizer = "o200k_base"
deployments = [
  {{ backend = "sweden", deployment = "{name}", priority = 0 }},
  {{ backend = "france", deployment = "{name}", priority = 1 }},
]
"""
        for name in ("gpt-4o", "gpt-4o-mini")
    )
    return f"""[listen]
address = "127.0.0.1:{place.port}"
certificate = "{server.certificate}"
private_key = "{server.key}"

[listen.health]
address = "127.0.0.1:{place.health}"

[admin]
address = "127.0.0.1:{place.admin}"

{settings}
[credentials.gateway]
kind = "managed_identity"                 # of the mock's metadata endpoint

[[backends]]
name = "sweden"
url = "{mock.urls["sweden"]}"
region = "swedencentral"
tier = "provisioned"
credential = "gateway"
ca = "{pki.server_root}"

[[backends]]
name = "france"
url = "{mock.urls["france"]}"
region = "francecentral"
credential = "gateway"
ca = "{pki.server_root}"

{models}"""


@contextlib.contextmanager
def gateway(place: Place, mock: MockProcess) -> Iterator[None]:
    """Run the gateway by the configuration that is there. Raises `DemoFailed` if it does not start."""
    environment = os.environ | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": mock.identity}
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(place.config)]
    log = place.folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            up = wait(lambda: process.poll() is not None or _ready(place.health))
            if not up or process.poll() is not None:
                raise DemoFailed(f"the gateway did not start:\n{log.read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(_END_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait(is_so: Callable[[], bool]) -> bool:
    """Whether it came about within half a minute."""
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def _ready(health: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
