"""A mock for the load to meet: two deployments, one that paces its events and one that does not."""

from collections.abc import Iterator

import pytest

from bench.load.engine import Target
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.config.structs import Seconds


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def mock(pki: Pki) -> Iterator[MockProcess]:
    pair = pki.pairs["mock"]
    deployments = (Deployment(name="gpt-4o"), Deployment(name="paced", between_tokens=Seconds(0.005)))
    config = MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=(Instance(name="swc", api_key="bench", deployments=deployments),),
    )
    with mock_process(config) as running:
        yield running


@pytest.fixture
def target(pki: Pki, mock: MockProcess) -> Target:
    return Target("localhost", int(mock.urls["swc"].rpartition(":")[2]), str(pki.server_root))
