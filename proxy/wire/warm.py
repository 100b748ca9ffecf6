"""Connections opened before anybody needs them: after a start, a reload or a break, a few to each backend."""

import time
from collections.abc import Callable, Iterable

import trio

from proxy.wire.pool import ConnectFailed, Pool

LOOK_EVERY = 0.25  # s, and so one connection to a backend in that time at most
_CONNECT_WITHIN = 5.0  # s


async def keep(pools: Callable[[], Iterable[Pool]], shunned: Callable[[str], bool]) -> None:
    """Keep all pools warm, and their addresses fresh, for ever. `shunned` names backends that are left in peace."""
    async with trio.open_nursery() as nursery:
        while True:
            for pool in pools():
                if pool.addresses.is_stale():
                    nursery.start_soon(pool.addresses.refresh)
                if pool.wants_another(time.monotonic()) and not shunned(pool.name):
                    pool.warmth.opening = True
                    nursery.start_soon(_open, pool)
            await trio.sleep(LOOK_EVERY)


async def _open(pool: Pool) -> None:
    warmth = pool.warmth
    try:
        link = await pool.connect(_CONNECT_WITHIN)
    except ConnectFailed:
        warmth.failed(time.monotonic())
    else:
        pool.keep(link)
    finally:
        warmth.opening = False
