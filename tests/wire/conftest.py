"""A pump that a task drives, and connections on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from certs.pki import Pki, build
from proxy.wire.clock import drive
from proxy.wire.pump import Pump
from tests.wire.world import World


@pytest.fixture(scope="session")
def other_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Authorities that nobody trusts."""
    folder: Path = tmp_path_factory.mktemp("other-pki")
    return build(folder)


@pytest.fixture
async def pump(still: Pump) -> AsyncIterator[Pump]:
    """A pump that a task drives."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, still)
        yield still
        nursery.cancel_scope.cancel()


@pytest.fixture
async def world(pump: Pump, pki: Pki) -> AsyncIterator[World]:
    made = World(pump, pki)
    yield made
    made.close()
