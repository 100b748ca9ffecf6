"""Backends at private endpoints, and backends that ask who connects: the gateway as a process before the mock."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki
from tests.e2e.gateway import KEY, Gateway, free_port, gateway, hashed, port_of, wait_for

CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
PRIVATE = "mock.localhost"  # where this name leads to, nobody listens at its port


@pytest.fixture(scope="module")
def azure(pki: Pki) -> Iterator[MockProcess]:
    """An instance that anyone may connect to, and one that wants to be shown a certificate."""
    pair, deployments = pki.pairs["mock"], (Deployment(name="gpt-4o"),)
    config = MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=(
            Instance(name="open", deployments=deployments),
            Instance(name="closed", deployments=deployments, client_root=str(pki.client_root)),
        ),
    )
    with mock_process(config) as running:
        yield running


def text(pki: Pki, azure: MockProcess, folder: Path) -> str:
    """Models by the names of what is special about their backends."""
    turbine, server = pki.pairs["turbine-7"], pki.pairs["server"]
    (folder / "both.pem").write_bytes(turbine.certificate.read_bytes() + turbine.key.read_bytes())
    opened, closed = port_of(azure.urls["open"]), azure.urls["closed"]
    backends = {
        "private": f'url = "https://{PRIVATE}"\nconnect_to = "127.0.0.1:{opened}"',
        "misnamed": f'url = "https://aoai.example"\nconnect_to = "127.0.0.1:{opened}"',
        "shown": f'url = "{closed}"\nclient_certificate = "{turbine.certificate}"\nclient_key = "{turbine.key}"',
        "together": f'url = "{closed}"\nclient_certificate = "both.pem"',
        "nothing": f'url = "{closed}"',
    }
    tables = [
        f'[[backends]]\nname = "{name}"\nregion = "swedencentral"\ncredential = "gateway"\n'
        f'ca = "{pki.server_root}"\n{keys}\n'
        f'[[models]]\nname = "{name}"\ndeployments = [{{ backend = "{name}", deployment = "gpt-4o" }}]\n'
        for name, keys in backends.items()
    ]
    return f"""
[listen]
address = "127.0.0.1:{free_port()}"
certificate = "{server.certificate}"
private_key = "{server.key}"
workers = 1
[listen.health]
address = "127.0.0.1:{free_port()}"
[admin]
address = "127.0.0.1:{free_port()}"
[[clients]]
name = "first"
key_hashes = ["{hashed(KEY)}"]
[[clients.grants]]
models = ["*"]
operations = ["*"]
[credentials.gateway]
kind = "managed_identity"
{"".join(tables)}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, azure: MockProcess) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("backends")
    with gateway(folder, pki, azure, text(pki, azure, folder)) as made:
        yield made


def ask(running: Gateway, model: str) -> httpx.Response:
    with running.client() as http:
        return http.post(CHAT.format(model), json=BODY)


def test_a_backend_at_a_private_endpoint_is_called_by_its_own_name(running: Gateway, azure: MockProcess) -> None:
    azure.forget()
    for _ in range(2):
        assert ask(running, "private").status_code == 200
    assert [dict(entry["headers"])["host"] for entry in azure.received("open")] == [PRIVATE, PRIVATE]


def test_a_private_endpoint_that_cannot_prove_the_name_is_no_backend(running: Gateway, azure: MockProcess) -> None:
    azure.forget()
    assert ask(running, "misnamed").status_code == 502
    assert azure.received("open") == []


@pytest.mark.parametrize("model", ["shown", "together"])
def test_a_backend_that_asks_is_shown_a_certificate(running: Gateway, model: str) -> None:
    assert ask(running, model).status_code == 200


def test_a_backend_that_is_shown_nothing_answers_nothing(running: Gateway, azure: MockProcess) -> None:
    azure.forget()
    assert ask(running, "nothing").status_code == 502
    assert azure.received("closed") == []


def test_a_certificate_that_is_replaced_is_shown_from_then_on(running: Gateway, pki: Pki) -> None:
    """By one the backend does not trust, and back."""
    shown = running.folder / "both.pem"
    good = shown.read_bytes()
    stranger = pki.pairs["untrusted"]
    shown.write_bytes(stranger.certificate.read_bytes() + stranger.key.read_bytes())
    wait_for(lambda: ask(running, "together").status_code == 502)
    shown.write_bytes(good)
    wait_for(lambda: ask(running, "together").status_code == 200, within=60.0)
    key = pki.pairs["turbine-7"].key.read_text().splitlines()[1]
    assert key not in running.log
