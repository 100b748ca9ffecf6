"""One request's attempts, as far as it matters when they begin."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from proxy.config.structs import Breaker, Hedging, RetryBudget, Seconds
from proxy.forwarding import Forwarding
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Candidate, Wanted
from proxy.routing.hedge_budget import HedgeBudget
from proxy.routing.outcome import Outcome
from proxy.routing.retry_budget import RetryBudget as Retries

ONE = Candidate("swc", "gpt-4o", "swedencentral", "standard", 0, 1)


class Plan:
    """Of one deployment, where it may be asked."""

    passed: Sequence[Any] = ()

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def next(self, now: float, _tried: object) -> Candidate | None:
        return ONE if self._breakers.unavailable(ONE.key, now) is None else None

    def considered(self) -> tuple[object, ...]:
        return ()


class Asking(Forwarding):
    """One that says whether it asks or waits, and goes no further."""

    def __init__(self, worker: Any, hedging: Hedging | None, told: list[str]) -> None:
        self._worker, self._hedging, self._told = worker, hedging, told
        view = SimpleNamespace(routing=SimpleNamespace(attempts=3))
        exchange = SimpleNamespace(record=SimpleNamespace(), view=view, connection=_Connection())
        self._exchange: Any = exchange
        self._attempts, self._side, self.answered = 0, None, False

    def _wanted(self, _router: object) -> Wanted:
        return Wanted("gpt-4o")

    async def _wait(self, _plan: object, _tried: object) -> Candidate:
        self._told.append("waits")
        return await trio.sleep_forever()

    async def _attempt(self, _candidate: Candidate) -> Outcome:
        self._told.append("probes" if self._probe else "asks")
        return await trio.sleep_forever()


class _Connection:
    gone = False

    def await_on(self, _awaited: object) -> None:
        """Nobody leaves."""


@pytest.mark.parametrize("hedging", [None, Hedging(after=Seconds(60))])
async def test_of_requests_that_come_together_one_is_the_probe(hedging: Hedging | None) -> None:
    breakers = Breakers([ONE.key], Breaker(), lambda: 0.5)
    breakers.told(ONE.key, "open", "backend_error", 0.0, 0.0)  # its time is over
    router = SimpleNamespace(
        order=lambda _wanted, _now: Plan(breakers), breakers=breakers, started=lambda one: breakers.begin(one.key)
    )
    worker = SimpleNamespace(
        router=router, retries=Retries(RetryBudget()), room=None, hedges=HedgeBudget(), announce=lambda _change: None
    )
    told: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(Asking(worker, hedging, told).run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(told) == ["probes", "waits", "waits", "waits", "waits"]
