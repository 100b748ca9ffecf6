"""One mock for all of these tests, as forgetful and as well before each as at its start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.config.structs import Seconds

KEY = "a-key-of-the-tests"
DEPLOYMENTS = (
    Deployment(name="gpt-4o"),
    Deployment(name="paced", first_token=Seconds(0.02), between_tokens=Seconds(0.01), jitter=Seconds(0.002)),
    Deployment(name="endless", between_tokens=Seconds(0.005), default_tokens=100_000),
    Deployment(name="chunked", framing="chunked"),
    Deployment(name="close", framing="close"),
    Deployment(name="small", tokens_per_minute=100),
    Deployment(name="one-at-a-time", capacity=1, between_tokens=Seconds(0.005), default_tokens=100_000),
)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def config(pki: Pki) -> MockConfig:
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        client_ids=("6f1c0000-0000-0000-0000-000000000001",),
        client_secret="the-secret",
        instances=(
            Instance(name="swc", tier="provisioned", api_key=KEY, deployments=DEPLOYMENTS),
            Instance(name="frc", region="France Central", api_key=KEY, deployments=(Deployment(name="gpt-4o"),)),
        ),
    )


@pytest.fixture(scope="session")
def running(config: MockConfig) -> Iterator[MockProcess]:
    with mock_process(config) as process:
        yield process


@pytest.fixture
def mock(running: MockProcess) -> MockProcess:
    running.clear()
    running.tokens(life=3600.0, revoke=True)
    running.forget()
    return running


@pytest.fixture(scope="session")
def root(pki: Pki) -> Path:
    return pki.server_root
