"""LiteLLM's proxy: TLS by its own server, verified TLS upstream, no database, no callbacks, its access log.

It reads every answer and writes it anew, so what answers say is compared and not their bytes. It does not start without
a key that clients show, so they show one. Models' prices are those that come with it: none are fetched.
"""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.peers.install import cache, is_whole, missing, once, python_packages, said
from bench.peers.peer import Access, Peer, Place, Progress, Running
from bench.peers.process import await_ready, free_ports, listening, process

_PACKAGE = "litellm[proxy]==1.108.7"
_READY_WITHIN = 180.0  # it imports for a while


def litellm_config(place: Place, models: tuple[str, ...] = ("gpt-4o",)) -> str:
    """A deployment of each model on every upstream, taken at random. JSON, which is YAML."""
    deployments = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"azure/{model}",
                "api_base": url,
                "api_key": "bench",
                "api_version": "2024-10-21",
            },
        }
        for model in models
        for url in place.upstreams.values()
    ]
    config = {
        "model_list": deployments,
        "router_settings": {"routing_strategy": "simple-shuffle", "num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"request_timeout": 3600, "num_retries": 0, "callbacks": []},
        "general_settings": {"disable_spend_logs": True},
    }
    return msgspec.json.format(msgspec.json.encode(config).decode())


def litellm_environment(place: Place, key: str) -> dict[str, str]:
    """The key, its connections upstream, and what it would fetch or report."""
    return {
        "LITELLM_MASTER_KEY": key,
        "SSL_CERT_FILE": str(place.pki.server_root),
        "AIOHTTP_CONNECTOR_LIMIT": "8192",
        "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "8192",
        "AIOHTTP_KEEPALIVE_TIMEOUT": "3600",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "NO_DOCS": "True",
    }


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    (port,) = free_ports(1)
    config = place.folder / "litellm.json"
    config.write_text(litellm_config(place))
    log = place.folder / "litellm.log"
    server = place.pki.pairs["server"]
    command = [
        *(str(_python()), str(_folder() / "bin" / "litellm"), "--config", str(config)),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", str(place.workers)),
        *("--ssl_certfile_path", str(server.certificate), "--ssl_keyfile_path", str(server.key)),
        *("--keepalive_timeout", "3600", "--telemetry", "False"),
    ]
    key = f"sk-{secrets.token_hex(32)}"
    access = Access(
        url=f"https://localhost:{port}",
        root=str(place.pki.server_root),
        headers={"authorization": f"Bearer {key}"},
        check="text",
    )
    with process(command, log, cores=place.cores, environment=litellm_environment(place, key)) as pid:
        await_ready(listening(port), pid, log, _READY_WITHIN)
        yield Running(pid=pid, access=access, folder=place.folder)


def _folder() -> Path:
    return cache() / _PACKAGE.replace("[proxy]==", "-")


def _python() -> Path:
    if not is_whole(_folder()):
        raise missing("litellm")
    return _folder() / "bin" / "python"


def _version() -> str:
    return said([str(_python()), "-c", "from importlib.metadata import version; print(version('litellm'))"])


def _install(progress: Progress) -> None:
    once(_folder(), _make, progress)


def _make(folder: Path, progress: Progress) -> None:
    python_packages(folder, (_PACKAGE,), progress)


LITELLM = Peer(
    name="litellm",
    about="LiteLLM's proxy, in Python; no database, no callbacks",
    lacks=(
        "client certificates",
        "keys, limits and spend of each client (they need a database)",
        "audit",
        "the backend's bytes (answers are written anew, and compared by what they say)",
    ),
    workers=(1, 2),
    version=_version,
    install=_install,
    start=_start,
)
