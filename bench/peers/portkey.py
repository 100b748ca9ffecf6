"""Portkey's gateway: plain HTTP towards clients, as it has no other; verified TLS upstream; configured by its headers.

Its adapter for Node.js is held at a version that it works with: with later ones every stream fails ("TypeError:
immutable", https://github.com/Portkey-AI/gateway/issues/1389).
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.failure import BenchError
from bench.peers.install import cache, is_whole, missing, node_packages, once
from bench.peers.peer import Access, Peer, Place, Progress, Running
from bench.peers.process import await_ready, free_ports, listening, process

_NAME, _VERSION = "@portkey-ai/gateway", "1.15.2"
_MANIFEST = {
    "private": True,
    "dependencies": {_NAME: _VERSION},
    "overrides": {"@hono/node-server": "1.14.1"},
}
_READY_WITHIN = 60.0


def portkey_headers(place: Place, model: str = "gpt-4o") -> dict[str, str]:
    """What every request carries: the upstreams, which share the requests at random."""
    targets = [
        {
            "provider": "azure-openai",
            "custom_host": f"{url}/openai",
            "resource_name": name,
            "deployment_id": model,
            "api_version": "2024-10-21",
            "api_key": "bench",
            "weight": 1,
        }
        for name, url in place.upstreams.items()
    ]
    return {"x-portkey-config": json.dumps({"strategy": {"mode": "loadbalance"}, "targets": targets})}


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    (port,) = free_ports(1)
    log = place.folder / "portkey.log"
    told = {"NODE_ENV": "production", "NODE_EXTRA_CA_CERTS": str(place.pki.server_root)}
    command = [_node(), str(_package() / "build" / "start-server.js"), "--headless", f"--port={port}"]
    access = Access(url=f"http://localhost:{port}", headers=portkey_headers(place), path="/v1/chat/completions")
    with process(command, log, cores=place.cores, environment=told) as pid:
        await_ready(listening(port), pid, log, _READY_WITHIN)
        yield Running(pid=pid, access=access, folder=place.folder)


def _folder() -> Path:
    return cache() / f"portkey-{_VERSION}"


def _package() -> Path:
    if not is_whole(_folder()):
        raise missing("portkey")
    return _folder() / "node_modules" / _NAME


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise BenchError("portkey needs Node.js (20 or later), which is not on PATH; install it")
    return found


def _version() -> str:
    manifest = json.loads((_package() / "package.json").read_text())
    return str(manifest["version"])


def _install(progress: Progress) -> None:
    once(_folder(), _make, progress)


def _make(folder: Path, progress: Progress) -> None:
    node_packages(folder, json.dumps(_MANIFEST, indent=2), progress)


PORTKEY = Peer(
    name="portkey",
    about="Portkey's gateway, in TypeScript on Node.js; no cache, no guardrails",
    lacks=(
        "TLS towards clients",
        "client certificates",
        "any credential of a client's own (clients send the backend's)",
        "limits",
        "metering",
        "audit",
        "an access log",
    ),
    version=_version,
    install=_install,
    start=_start,
)
