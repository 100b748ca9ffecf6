"""The gateway's configuration for a timeline: one model, a deployment of it on every backend, a key for each client."""

import hashlib

import msgspec

from bench.peers.penstock import Ports
from bench.timelines.timeline import Backend, Extras, Load, Timeline
from certs.pki import Pki

MODEL = "gpt-4o"
API_KEY = "bench"
"""What the gateway shows the mock."""


def key_of(client: str) -> str:
    """The client's key."""
    return f"key-of-{client}"


def configuration(timeline: Timeline, pki: Pki, urls: dict[str, str], ports: Ports, more: str | None = None) -> str:
    """The file. `more` replaces the timeline's own further tables."""
    server = pki.pairs["server"]
    bounds = "\n".join(f"{name} = {_value(value)}" for name, value in timeline.bounds.items())
    deployments = ",\n".join(f"  {{ {_pairs(_deployment(backend))} }}" for backend in timeline.backends)
    return f"""
[listen]
address = "127.0.0.1:{ports.listen}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = {timeline.workers}
[listen.health]
address = "127.0.0.1:{ports.health}"
[listen.bounds]
{bounds}
[admin]
address = "127.0.0.1:{ports.admin}"
[credentials.key]
kind = "api_key"
key = {{ env = "PENSTOCK_BENCH_KEY" }}
{"".join(map(_client, timeline.load))}
{"".join(_backend(backend, pki, urls) for backend in timeline.backends)}
[[models]]
name = "{MODEL}"
{"".join(f"{name} = {_value(value)}{chr(10)}" for name, value in timeline.model.items())}deployments = [
{deployments}
]
{timeline.configuration if more is None else more}
"""


def _client(load: Load) -> str:
    digest = hashlib.sha256(key_of(load.client).encode()).hexdigest()
    priority = f'priority = "{load.priority}"\n' if load.priority != "interactive" else ""
    return f"""
[[clients]]
name = "{load.client}"
key_hashes = ["sha256:{digest}"]
regions = {_value(load.regions)}
[[clients.grants]]
models = ["*"]
operations = ["*"]
[clients.limits]
{priority}"""


def _backend(backend: Backend, pki: Pki, urls: dict[str, str]) -> str:
    return f"""
[[backends]]
name = "{backend.name}"
url = "{backend.url or urls[backend.name]}"
region = "{backend.region}"
tier = "{backend.tier}"
credential = "key"
ca = "{pki.server_root}"
"""


def _deployment(backend: Backend) -> Extras:
    return {
        "backend": backend.name,
        "deployment": MODEL,
        "priority": backend.priority,
        "weight": backend.weight,
        **backend.deployment,
    }


def _pairs(extras: Extras) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in extras.items())


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()  # strings, numbers and lists of them are the same in TOML
