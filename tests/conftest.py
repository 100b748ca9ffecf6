"""What all tests share: a PKI, a pump, and no deadline on hypothesis, whose clock says nothing on a shared machine."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from certs.pki import Pki, build
from proxy.wire.pump import Pump

settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """For tests that read it; who changes one makes their own."""
    return build(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def still() -> Iterator[Pump]:
    """A pump that turns only when told to."""
    pump = Pump()
    yield pump
    pump.close()
