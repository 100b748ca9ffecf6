"""A gateway and a mock Azure of two regions, as subprocesses, for the tests of this folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.record.record import timestamp
from tests.e2e.gateway import Gateway, azure, config_text, gateway
from tests.e2e.pki import world


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def mock(pki: Pki) -> Iterator[MockProcess]:
    with mock_process(azure(pki)) as running:
        yield running


@pytest.fixture(scope="session")
def keyed_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One whose clients' authorities can still sign."""
    return build(tmp_path_factory.mktemp("keyed"), authorities=True)


@pytest.fixture(scope="session")
def keyed_mock(keyed_pki: Pki) -> Iterator[MockProcess]:
    """A mock Azure with that PKI's CRLs and OCSP responder."""
    with mock_process(world(keyed_pki)) as running:
        yield running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """One gateway for the tests that leave it as they found it."""
    with gateway(tmp_path_factory.mktemp("gateway"), pki, mock) as running:
        yield running


@pytest.fixture
def calm(mock: MockProcess, shared: Gateway) -> Iterator[Gateway]:
    """The shared gateway, with all faults off and nothing received."""
    mock.clear()
    mock.forget()
    shared.since = timestamp(time.time())
    yield shared
    mock.clear()


@pytest.fixture
def fresh(tmp_path: Path, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """A gateway of the test's own, whose breakers nobody else has tripped."""
    mock.clear()
    mock.forget()
    text = config_text(pki, mock, more='[routing.breaker]\nopen_for = "300ms"\nopen_at_most = "1s"')
    with gateway(tmp_path, pki, mock, text.replace("workers = 2", "workers = 1")) as running:
        yield running
    mock.clear()
