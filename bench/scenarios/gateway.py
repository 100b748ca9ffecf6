"""The gateway's configuration for a scenario: every model of it on every backend, and every client with its
credential.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.peers.penstock import Ports
from bench.scenarios.identities import ISSUER, key_of, uri_of
from bench.scenarios.structs import Backend, Extras, Load, Scenario, clients_of, models, pool
from certs.pki import Pki


class Around(msgspec.Struct, frozen=True):
    """What a gateway stands between: the PKI, the backends' URLs by name, the tokens' issuer. And where it listens."""

    pki: Pki
    urls: dict[str, str]
    issuer: str
    ports: Ports


def configuration(scenario: Scenario, around: Around, more: str | None = None) -> str:
    """The file. `more` replaces the scenario's own further tables."""
    pki, ports = around.pki, around.ports
    server = pki.pairs["server"]
    bounds = "\n".join(f"{name} = {_value(value)}" for name, value in scenario.bounds.items())
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
{_trust(scenario, around)}
[admin]
address = "127.0.0.1:{ports.admin}"
[credentials.key]
kind = "api_key"
key = {{ env = "PENSTOCK_BENCH_KEY" }}
{"".join(_clients(scenario))}
{"".join(_backend(backend, pki.server_root, around.urls) for backend in scenario.backends)}
{"".join(_model(scenario, model) for model in models(scenario))}
{scenario.configuration if more is None else more}
"""


def _trust(scenario: Scenario, around: Around) -> str:
    """Who vouches for clients."""
    there = pool(scenario)
    mode = "required" if scenario.needs == {"certificates"} else "optional"
    certificates = f'[listen.client_certificates]\nmode = "{mode}"\nroots = ["{around.pki.client_root}"]\n'
    tokens = (
        f'[[issuers]]\nname = "{ISSUER}"\nissuer = "{around.issuer}"\naudiences = ["api://penstock"]\n'
        f'ca = "{around.pki.server_root}"\n'
    )
    return f"{certificates if there['certificates'] else ''}{tokens if there['tokens'] else ''}"


def _clients(scenario: Scenario) -> Iterator[str]:
    """Each once, by the first load that it has a part in."""
    there = pool(scenario)
    seen: set[str] = set()
    for load in scenario.load:
        for name in sorted(clients_of(scenario, load) - seen):
            seen.add(name)
            yield _client(load, name, _shows(name, there["certificates"], there["tokens"]))


def _shows(name: str, certificates: tuple[str, ...], tokens: tuple[str, ...]) -> str:
    """What the client is known by."""
    if name in certificates:
        return f'certificate = {{ issuer = "CN=Devices CA,O=Contoso", san_uri = ["{uri_of(name)}"] }}'
    if name in tokens:
        return f'token = {{ issuer = "{ISSUER}", client = "{name}" }}'
    return f'key_hashes = ["sha256:{hashlib.sha256(key_of(name).encode()).hexdigest()}"]'


def _client(load: Load, name: str, shows: str) -> str:
    priority = f'priority = "{load.priority}"\n' if load.priority != "interactive" else ""
    return f"""
[[clients]]
name = "{name}"
{shows}
regions = {_value(load.regions)}
[[clients.grants]]
models = ["*"]
operations = ["*"]
[clients.limits]
{priority}"""


def _backend(backend: Backend, root: Path, urls: dict[str, str]) -> str:
    return f"""
[[backends]]
name = "{backend.name}"
url = "{backend.url or urls[backend.name]}"
region = "{backend.region}"
tier = "{backend.tier}"
credential = "key"
ca = "{root}"
"""


def _model(scenario: Scenario, model: str) -> str:
    further = "".join(f"{name} = {_value(value)}\n" for name, value in scenario.model.items())
    deployments = ",\n".join(f"  {{ {_pairs(_deployment(backend, model))} }}" for backend in scenario.backends)
    return f'[[models]]\nname = "{model}"\n{further}deployments = [\n{deployments}\n]\n'


def _deployment(backend: Backend, model: str) -> Extras:
    return {
        "backend": backend.name,
        "deployment": model,
        "priority": backend.priority,
        "weight": backend.weight,
        **backend.deployment,
    }


def _pairs(extras: Extras) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in extras.items())


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()  # strings, numbers and lists of them are the same in TOML
