"""Every scenario's gateway has a configuration that it takes, with every client in it."""

from pathlib import Path

import pytest

from bench.peers.penstock import Ports
from bench.scenarios.gateway import Around, configuration
from bench.scenarios.scenario import known, load
from bench.scenarios.structs import named, pool
from certs.pki import Pki
from proxy.config.load import parse


@pytest.mark.parametrize("name", known())
def test_the_gateway_takes_it(name: str, pki: Pki, tmp_path: Path) -> None:
    scenario = load(name)
    urls = {backend.name: "https://localhost:1" for backend in scenario.backends}
    path = tmp_path / "penstock.toml"
    path.write_text(configuration(scenario, Around(pki, urls, "https://localhost:2/clients", Ports(3, 4, 5))))
    config = parse(path)
    clients = {client.name for client in config.clients}
    assert clients == set(named(scenario)).union(*pool(scenario).values())
    assert len(config.backends) == len(scenario.backends)
