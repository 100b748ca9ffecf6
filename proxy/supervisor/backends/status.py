"""The deployments as people see them: the configuration, what workers report, and what people have set, in one."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy.admin.backends import BreakerAtWorker, BreakerState, DeploymentError, DeploymentStatus, FirstByte
from proxy.config.structs import Config
from proxy.record.metrics import (
    BACKEND_DRAINED,
    BACKEND_IN_FLIGHT,
    BACKEND_REMAINING_TOKENS,
    BACKEND_STATE,
    BACKEND_UTILISATION,
    BACKEND_WEIGHT,
)
from proxy.routing.breaker import BY_HAND
from proxy.routing.candidate import Key

if TYPE_CHECKING:
    from proxy.supervisor.backends.breakers import BreakerSeen
    from proxy.supervisor.main import Supervisor

_STATES: dict[str, BreakerState] = {"closed": "closed", "half_open": "half_open"}
_SEVERITY = ("closed", "half_open", "open")


def deployments(supervisor: "Supervisor") -> tuple[DeploymentStatus, ...]:
    """Every one that is configured; its state is the worst that any worker has seen and not seen the end of."""
    return tuple(_shown(supervisor, key, weights) for key, weights in weights_of(supervisor.config).items())


def weights_of(config: Config) -> dict[Key, dict[str, int]]:
    """Every deployment, and its configured weight for each model."""
    weights: dict[Key, dict[str, int]] = {}
    for model in config.models:
        for deployment in model.deployments:
            weights.setdefault((deployment.backend, deployment.deployment), {})[model.name] = deployment.weight
    return weights


def gauges(shown: Iterable[DeploymentStatus]) -> dict[str, dict[tuple[str, ...], float]]:
    """The metrics of deployments, by the metric's name; what is not known has no value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for each in shown:
        values = {
            BACKEND_STATE: _SEVERITY.index(each.state),
            BACKEND_IN_FLIGHT: each.in_flight,
            BACKEND_UTILISATION: each.utilisation,
            BACKEND_REMAINING_TOKENS: each.remaining_tokens,
            BACKEND_DRAINED: 0 if each.drained is None else 1,
            BACKEND_WEIGHT: each.weight,
        }
        for name, value in values.items():
            of_all = found.setdefault(name, {})
            if value is not None:
                of_all[each.backend, each.deployment] = value
    return found


def _shown(supervisor: "Supervisor", key: Key, weights: dict[str, int]) -> DeploymentStatus:
    mono, wall = time.monotonic(), time.time()
    overrides, figures = supervisor.live.overrides, supervisor.live.figures(key)
    backend = next(backend for backend in supervisor.config.backends if backend.name == key[0])
    seen = {w: b for w, b in supervisor.breakers.by_key.get(key, {}).items() if not _over(b, mono)}
    worst = max(seen.values(), key=lambda b: (_SEVERITY.index(_state(b)), b.until), default=None)
    held_until = overrides.held_until(key, mono)
    state: BreakerState = "closed" if worst is None else _state(worst)
    reason, until = (None, 0.0) if worst is None else (worst.reason, worst.until)
    if held_until is not None:
        state, reason, until = "open", BY_HAND, max(held_until, until)
    weighing, drained_since = overrides.weights.get(key), overrides.drained.get(key)
    return DeploymentStatus(
        models=tuple(weights),
        backend=backend.name,
        region=backend.region,
        tier=backend.tier,
        deployment=key[1],
        state=state,
        reason=reason if state != "closed" else None,
        until=wall + until - mono if until > mono else None,
        held=held_until is not None,
        breakers=tuple(
            BreakerAtWorker(
                worker=worker,
                state=b.state,
                reason=b.reason,
                until=wall + b.until - mono if b.until > mono else None,
            )
            for worker, b in sorted(seen.items())
            if b.state != "closed"
        ),
        drained=None if drained_since is None else "draining" if figures.in_flight else "drained",
        drained_since=None if drained_since is None else wall + drained_since - mono,
        weight=max(weights.values()) if weighing is None else weighing.at(mono),
        weights=weights,
        weight_set=weighing is not None,
        weight_goal=weighing.goal if weighing is not None and mono < weighing.ends else None,
        in_flight=figures.in_flight,
        requests_per_second=round(figures.requests_per_second, 2),
        tokens_per_minute=figures.tokens,
        error_share=figures.error_share,
        throttled_share=figures.throttled_share,
        remaining_tokens=figures.remaining_tokens,
        remaining_requests=figures.remaining_requests,
        utilisation=figures.utilisation,
        first_byte=None
        if figures.first_byte is None
        else FirstByte(p50=figures.first_byte.p50, p90=figures.first_byte.p90, p99=figures.first_byte.p99),
        errors=tuple(
            DeploymentError(text=error.text, count=error.count, time=wall + error.time - mono)
            for error in figures.errors
        ),
    )


def _state(seen: "BreakerSeen") -> BreakerState:
    return _STATES.get(seen.state, "open")


def _over(seen: "BreakerSeen", now: float) -> bool:
    """Set aside until a time that has passed: nobody announces that. A breaker stays open until a probe closes it."""
    return seen.state not in _SEVERITY and seen.until <= now
