"""Connections opened ahead of need, over real TLS."""

from collections.abc import AsyncIterator

import pytest
import trio

from certs.pki import Pki
from proxy.config.structs import Backend
from proxy.wire import warm
from proxy.wire.pool import Pool
from proxy.wire.pump import Pump
from proxy.wire.tls import backend_context
from tests.wire.test_pool import BackendHost
from tests.wire.world import WITHIN, Leaving, World, until


class Kept:
    """A pool of two warm connections that somebody keeps warm. `shunned`: its backend is left in peace."""

    def __init__(self, pump: Pump, host: BackendHost, pki: Pki) -> None:
        self.host = host
        backend = Backend(name="swc", url=host.url(), region="swedencentral", credential="c")
        self.pool = Pool(pump, backend, backend_context(pki.server_root.read_bytes()), warm=2)
        self.shunned = False

    @property
    def idle(self) -> int:
        return int(repr(self.pool).partition("idle=")[2].rstrip(">"))


@pytest.fixture
async def kept(world: World, pump: Pump, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    monkeypatch.setattr(warm, "LOOK_EVERY", 0.005)
    made = Kept(pump, BackendHost(world.far_backend()), pki)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.host.run)
        nursery.start_soon(warm.keep, lambda: [made.pool], lambda name: made.shunned and name == "swc")
        yield made
        nursery.cancel_scope.cancel()
    made.pool.close()
    made.host.close()


async def some_looks() -> None:
    """Time enough for whoever keeps pools warm to see what there is to see."""
    await trio.sleep(0.1)


async def test_they_are_there_before_anybody_needs_them_and_no_more_of_them(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    await some_looks()
    assert kept.host.accepted == 2


async def test_one_that_is_taken_is_made_up_for(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    link = kept.pool.idle()
    assert link is not None
    await until(lambda: kept.idle == 2)
    kept.pool.give_back(link)
    await some_looks()
    assert (kept.idle, kept.host.accepted) == (3, 3)


async def test_the_second_resumes_the_session_of_the_first(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    link = kept.pool.idle()
    assert link is not None
    assert link.sock.session_reused
    link.close()


async def test_what_a_backend_closes_is_opened_again_but_not_in_a_hurry(kept: Kept) -> None:
    await until(lambda: kept.idle == 2 and len(kept.host.opened) == 2)
    for far in kept.host.opened:
        far.leave(Leaving.CLEANLY)
    await until(lambda: kept.idle == 0)
    await some_looks()
    assert kept.host.accepted == 2, "a backend that closes what was just opened is not asked again at once"
    kept.pool.warmth.answered()
    await until(lambda: kept.idle == 2)


async def test_a_backend_that_answers_a_request_is_worth_connecting_to(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    first, second = kept.pool.idle(), kept.pool.idle()
    assert first is not None
    assert second is not None
    kept.pool.warmth.failed(1e12)
    second.close()
    kept.pool.give_back(first)
    await until(lambda: kept.idle == 2)


async def test_a_backend_where_we_are_misconfigured_is_left_in_peace(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    kept.shunned = True
    while (link := kept.pool.idle()) is not None:
        link.close()
    await some_looks()
    assert (kept.idle, kept.host.accepted) == (0, 2)
    kept.shunned = False
    await until(lambda: kept.idle == 2)


async def test_nothing_is_opened_for_a_pool_that_is_closed(kept: Kept) -> None:
    await until(lambda: kept.idle == 2)
    kept.pool.close()
    await some_looks()
    assert (kept.idle, kept.host.accepted) == (0, 2)


async def test_addresses_are_refreshed_for_those_who_used_old_ones(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    await until(lambda: kept.idle == 2)
    monkeypatch.setattr("proxy.wire.resolve.FRESH_FOR", 0.0)
    (await kept.pool.connect(WITHIN)).close()
    monkeypatch.setattr("proxy.wire.resolve.FRESH_FOR", 60.0)
    await until(lambda: not kept.pool.addresses.is_stale())
