"""One request's attempts, as far as it matters when they begin."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from proxy.config.structs import (
    Backend,
    Breaker,
    Deployment,
    Hedging,
    Limits,
    Model,
    Queueing,
    RetryBudget,
    Routing,
    Seconds,
)
from proxy.forwarding import Forwarding
from proxy.refusal import Reason, Refused
from proxy.routing.breakers import Breakers
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.hedge_budget import HedgeBudget
from proxy.routing.outcome import Outcome
from proxy.routing.retry_budget import RetryBudget as Retries
from proxy.routing.select import Router
from proxy.routing.shared import DeploymentTold
from proxy.waiting import Waiter, WaitingRoom

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

    def alive(self) -> bool:
        return True

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


TWO = Candidate("frc", "gpt-4o", "francecentral", "standard", 0, 1)


class Waiting(Forwarding):
    """One that waits for a deployment, and nothing else."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._released, self._answer_by = None, float("inf")
        client = SimpleNamespace(name="c", limits=Limits())
        self._exchange: Any = SimpleNamespace(
            record=SimpleNamespace(queued_ms=None, candidates=()), client=client, connection=_Connection()
        )


def _router() -> Router:
    backends = [
        Backend(name=one.backend, url="https://example.invalid", region=one.region, tier="standard", credential="none")
        for one in (ONE, TWO)
    ]
    deployments = tuple(Deployment(backend=one.backend, deployment=one.deployment) for one in (ONE, TWO))
    return Router([Model(name="gpt-4o", deployments=deployments)], backends, Routing(), lambda: 0.5)


@pytest.mark.parametrize(("other", "found"), [(0.05, TWO), (60.0, None)])
@pytest.mark.parametrize("drained", [False, True])
async def test_a_deployment_that_is_gone_when_its_turn_has_come_is_waited_for_again(
    *, drained: bool, other: float, found: Candidate | None
) -> None:
    router = _router()
    room = WaitingRoom(Queueing(wait=Seconds(10)), router.breakers, lambda *_: None, time.monotonic)
    worker = SimpleNamespace(router=router, room=room, tally=SimpleNamespace(skipped=lambda *_: None))
    now = time.monotonic()
    router.breakers.judge(ONE.key, Outcome.THROTTLED, now, 0.01, probe=False)
    router.breakers.judge(TWO.key, Outcome.THROTTLED, now, other, probe=False)
    real, turns = room.wait, []

    async def wait(waiter: Waiter) -> Key | None:
        """Its turn, and what it was for is gone at once, the first time."""
        turns.append(await real(waiter))
        if drained:
            router.told([DeploymentTold(*ONE.key, drained=True)], time.monotonic())
        else:
            router.breakers.judge(ONE.key, Outcome.THROTTLED, time.monotonic(), 60.0, probe=False)
        return turns[-1]

    room.wait = wait  # type: ignore[method-assign]
    asking = Waiting(worker)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.run)
        plan = router.order(Wanted("gpt-4o"), now)
        if found is None:
            with pytest.raises(Refused) as refused:
                await asking._wait(plan, set())
            assert refused.value.reason is Reason.BACKENDS_THROTTLED
        else:
            assert await asking._wait(plan, set()) == found
        nursery.cancel_scope.cancel()
    assert turns == [ONE.key] + [TWO.key] * (found is not None)
