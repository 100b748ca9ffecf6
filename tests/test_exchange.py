"""How a request ends that is not let finish, whatever it was doing."""

from typing import Any, cast

import pytest
import trio

from proxy.exchange import Exchange
from proxy.record.record import End
from proxy.refusal import Reason
from proxy.wire.http1 import RequestHead
from proxy.wire.server import RequestBody


class Connection:
    source = "10.0.0.1"
    withdrawn: Reason | None = None
    scope: trio.CancelScope

    def discard_body(self, head: RequestHead) -> bool:
        """What came after the body is long enough to be one."""
        return True


class Worker:
    view = None
    in_flight = 0

    def next_id(self) -> str:
        return "r-1"


class Waiting(Exchange):
    """One whose stages wait, in one task or in several, and which leaves its record."""

    tasks = 0

    async def _stages(self) -> None:
        if not self.tasks:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            for _ in range(self.tasks):
                nursery.start_soon(trio.sleep_forever)

    def _close(self) -> None:
        """Nothing was taken."""


@pytest.mark.parametrize("tasks", [0, 1, 2])
@pytest.mark.parametrize(
    ("withdrawn", "end", "reason"),
    [(None, End.DRAINED, "drained"), (Reason.CERTIFICATE_REVOKED, End.REFUSED, Reason.CERTIFICATE_REVOKED.value)],
)
async def test_what_is_cut_off_says_so(tasks: int, withdrawn: Reason | None, end: End, reason: str) -> None:
    connection: Any = Connection()
    exchange = Waiting(cast(Any, Worker()), connection, None)
    exchange.tasks = tasks
    with trio.CancelScope() as scope:
        connection.withdrawn = withdrawn
        scope.cancel()
        await exchange.run()
    assert scope.cancelled_caught
    assert (exchange.record.end, exchange.record.reason) == (end, reason)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_follows_a_body_that_was_passed_on_is_not_dropped_as_that_body(streamed: bool) -> None:
    head = RequestHead()
    head.length = 20
    exchange = Exchange(cast(Any, Worker()), cast(Any, Connection()), head)
    if streamed:
        exchange._streamed = RequestBody(head)
        exchange._streamed.left = 0
    assert exchange._body_is_behind() is not streamed
