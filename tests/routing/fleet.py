"""A model and its backends, made in a line, for the tests of this folder."""

import random
from typing import Any

from proxy.config.structs import Backend, Deployment, Model, Routing, Seconds
from proxy.routing.candidate import Wanted
from proxy.routing.load import Load
from proxy.routing.select import Plan, Router

NOW = 1_000.0


def fleet(*deployments: dict[str, Any], seed: int = 0, slow_start: float = 10.0, **model: Any) -> Router:
    """A router for the model "m": each deployment "d" is at a backend of its own, named by its letter unless given."""
    backends, found = [], []
    for letter, given in zip("abcdefghijklmnopqrstuvwxyz", deployments, strict=False):
        rest = {key: value for key, value in given.items() if key not in ("region", "tier")}
        backends.append(
            Backend(
                name=letter,
                url="https://x.example",
                region=given.get("region", "here"),
                tier=given.get("tier", "standard"),
                credential="g",
            )
        )
        found.append(Deployment(backend=letter, deployment="d", **rest))
    models = (Model(name="m", deployments=tuple(found), **model),)
    return Router(models, backends, Routing(slow_start=Seconds(slow_start)), random.Random(seed).random)


def load(router: Router, backend: str) -> Load:
    found = router.load((backend, "d"))
    assert found is not None
    return found


def order(plan: Plan) -> str:
    """The backends of a plan, in order."""
    return "".join(candidate.backend for candidate in plan.candidates)


def first(router: Router, now: float = NOW, **wanted: Any) -> str:
    """The backend that is asked first."""
    found = router.order(Wanted("m", **wanted), now).next(now, set())
    assert found is not None
    return found.backend


def skipped(plan: Plan) -> dict[str, str | None]:
    return {considered.backend: considered.skipped for considered in plan.considered()}
