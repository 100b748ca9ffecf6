"""What people do to backends while the gateway runs, over the admin address: judged, done, recorded, announced."""

import math
import time
from typing import TYPE_CHECKING, Literal

from proxy.admin.backends import BackendsStatus, SetBreaker, SetWeight, Which
from proxy.admin.body import Cannot
from proxy.config.problem import one_of, quoted
from proxy.config.units import parse_duration
from proxy.routing.candidate import Key
from proxy.supervisor.backends.status import deployments, weights_of
from proxy.supervisor.events.events import Event
from proxy.supervisor.records.acts import Act

if TYPE_CHECKING:
    from proxy.supervisor.main import Supervisor

_OPEN_FOR = 300.0
_LONGEST = 7 * 86_400.0
_HEAVIEST = 1_000_000


class BackendControl:
    """Answers the admin address, as `proxy.admin.backends.Backends`."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor

    def listing(self) -> BackendsStatus:
        return BackendsStatus(time=time.time(), deployments=deployments(self._supervisor))

    def drain(self, backend: str, wanted: Which) -> BackendsStatus:
        with self._supervisor.acts.recorded("admin.backends.drain") as act:
            keys = self._keys(backend, wanted.deployment, act)
            self._supervisor.live.drain(keys)
            return self._done(act, keys, "drained: nothing new is sent there", "backend_drained", "warning")

    def undrain(self, backend: str, wanted: Which) -> BackendsStatus:
        with self._supervisor.acts.recorded("admin.backends.undrain") as act:
            keys = self._keys(backend, wanted.deployment, act)
            self._supervisor.live.undrain(keys)
            return self._done(act, keys, "used again, drained no more", "backend_undrained", "info")

    def set_breaker(self, backend: str, wanted: SetBreaker) -> BackendsStatus:
        opens = wanted.state == "open"
        with self._supervisor.acts.recorded(f"admin.backends.{'open' if opens else 'close'}") as act:
            keys = self._keys(backend, wanted.deployment, act)
            if opens:
                seconds = _OPEN_FOR if wanted.lasting is None else _duration(wanted.lasting)
                self._supervisor.live.open_breakers(keys, seconds)
                return self._done(act, keys, f"set aside by hand for {seconds:g} s", "breaker_opened", "warning")
            self._supervisor.live.close_breakers(keys)
            for key in keys:
                self._supervisor.breakers.forget(key)
            return self._done(act, keys, "closed by hand", "breaker_closed", "info")

    def set_weight(self, backend: str, wanted: SetWeight) -> BackendsStatus:
        with self._supervisor.acts.recorded("admin.backends.weight") as act:
            keys = self._keys(backend, wanted.deployment, act)
            goal, over = wanted.weight, 0.0 if wanted.over is None else _duration(wanted.over)
            if goal is not None and not (math.isfinite(goal) and 0 <= goal <= _HEAVIEST):
                raise Cannot(400, "BadRequest", f"A weight is a number from 0 to {_HEAVIEST:,}.")
            configured = max(weights_of(self._supervisor.config)[keys[0]].values())
            self._supervisor.live.weigh(keys[0], configured, goal, over)
            what = "has the configured weight again" if goal is None else f"gets the weight {goal:g}"
            return self._done(act, keys, what + (f" within {over:g} s" if over else ""), "backend_weight", "info")

    def _keys(self, backend: str, deployment: str | None, act: Act) -> list[Key]:
        """The deployments that are meant. Raises `Cannot` where there are none."""
        known = [key for key in weights_of(self._supervisor.config) if key[0] == backend]
        if not known:
            names = (backend.name for backend in self._supervisor.config.backends)
            raise Cannot(404, "UnknownBackend", f"No model uses a backend named {_quoted(backend)}: {one_of(names)}.")
        act.backend = backend
        if deployment is None:
            return known
        if (backend, deployment) not in known:
            names = (key[1] for key in known)
            text = f"Backend {quoted(backend)} has no deployment {_quoted(deployment)}: {one_of(names)}."
            raise Cannot(404, "UnknownDeployment", text)
        act.deployment = deployment
        return [(backend, deployment)]

    def _done(
        self, act: Act, keys: list[Key], what: str, kind: str, severity: Literal["info", "warning"]
    ) -> BackendsStatus:
        names = ", ".join(f"{backend}/{deployment}" for backend, deployment in keys)
        act.what = f"{names} {what}"
        facts: dict[str, str | int | float] = {"backend": keys[0][0], "deployments": ", ".join(key[1] for key in keys)}
        self._supervisor.events.announce(Event(kind, severity, act.what, facts))
        chosen = tuple(each for each in deployments(self._supervisor) if (each.backend, each.deployment) in keys)
        return BackendsStatus(time=time.time(), deployments=chosen)


def _quoted(text: str) -> str:
    """Who asks may have written anything."""
    return quoted("".join(c if c.isprintable() else " " for c in text[:100]))


def _duration(text: str) -> float:
    """Raises `Cannot`."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Cannot(400, "BadRequest", f"{error}.") from None
    if not 0 < seconds <= _LONGEST:
        raise Cannot(400, "BadRequest", 'A duration here is more than nothing and at most 7 days, such as "5m".')
    return seconds
