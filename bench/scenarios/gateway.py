"""The gateway's configuration for a scenario: one model, a deployment of it on every backend, a key for each client."""

import hashlib

import msgspec

from bench.peers.penstock import Ports
from bench.scenarios.structs import ALONE, CHAT, Backend, Extras, Load, Scenario
from certs.pki import Pki


def key_of(client: str) -> str:
    """The client's key."""
    return f"key-of-{client}"


def configuration(scenario: Scenario, pki: Pki, urls: dict[str, str], ports: Ports, more: str | None = None) -> str:
    """The file. `more` replaces the scenario's own further tables."""
    server = pki.pairs["server"]
    bounds = "\n".join(f"{name} = {_value(value)}" for name, value in scenario.bounds.items())
    deployments = ",\n".join(f"  {{ {_pairs(_deployment(backend))} }}" for backend in scenario.backends)
    return f"""
[listen]
address = "127.0.0.1:{ports.listen}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = {scenario.workers}
[listen.health]
address = "127.0.0.1:{ports.health}"
[listen.bounds]
{bounds}
[admin]
address = "127.0.0.1:{ports.admin}"
[credentials.key]
kind = "api_key"
key = {{ env = "PENSTOCK_BENCH_KEY" }}
{"".join(map(_client, scenario.load))}
{"".join(_backend(backend, pki, urls) for backend in scenario.backends)}
[[models]]
name = "{CHAT}"
{"".join(f"{name} = {_value(value)}{chr(10)}" for name, value in scenario.model.items())}deployments = [
{deployments}
]
{scenario.configuration if more is None else more}
"""


def _client(load: Load) -> str:
    name = load.client or ALONE
    digest = hashlib.sha256(key_of(name).encode()).hexdigest()
    priority = f'priority = "{load.priority}"\n' if load.priority != "interactive" else ""
    return f"""
[[clients]]
name = "{name}"
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
        "deployment": CHAT,
        "priority": backend.priority,
        "weight": backend.weight,
        **backend.deployment,
    }


def _pairs(extras: Extras) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in extras.items())


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()  # strings, numbers and lists of them are the same in TOML
