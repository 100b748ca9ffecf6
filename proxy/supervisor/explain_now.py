"""What becomes of a request at this moment: explained by the running configuration, with what workers have told."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from proxy.admin.backends import DeploymentStatus
from proxy.admin.explain import Question
from proxy.config.structs import Config
from proxy.identity.principal import Principal
from proxy.policy.explain import Asked, Explainer, Explanation, Present
from proxy.routing.candidate import Key
from proxy.routing.shared import DeploymentTold
from proxy.supervisor.backends.live import keys_of
from proxy.supervisor.backends.status import deployments

if TYPE_CHECKING:
    from proxy.supervisor.main import Supervisor


class ExplainNow:
    """Answers the admin address from the supervisor's own state."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._config: Config | None = None
        self._explainer: Explainer

    def __call__(self, question: Question) -> Explanation | None:
        """None for a client that is not configured."""
        config = self._supervisor.config
        if config is not self._config:
            self._explainer, self._config = Explainer(config), config
        client = self._explainer.clients.get(question.client)
        if client is None:
            return None
        token = question.user is not None or question.scopes or question.roles or question.groups
        who = Principal(
            client.name,
            client.tenant,
            "token" if token else "none",
            "",
            question.user,
            question.scopes,
            question.roles,
            question.groups,
        )
        body = None if question.body is None else msgspec.json.encode(question.body)
        return self._explainer.explain(Asked(question.method, question.target, body), who, self._present(client.name))

    def _present(self, client: str) -> Present:
        usage = self._supervisor.budgets.usage(client, time.monotonic())
        aside, remarks = self._aside()
        return Present(
            set_aside=aside,
            remarks=remarks,
            used={
                "requests_per_minute": usage.requests,
                "tokens_per_minute": usage.tokens,
                "concurrent_requests": usage.concurrent,
            },
            told=tuple(self._told()),
        )

    def _told(self) -> Iterator[DeploymentTold]:
        """How deployments stand over all workers."""
        live, now = self._supervisor.live, time.monotonic()
        for key in keys_of(self._supervisor.config):
            yield DeploymentTold(
                *key,
                drained=key in live.overrides.drained,
                weight=live.overrides.weight(key, now),
                utilisation=live.figures(key).utilisation,
            )

    def _aside(self) -> tuple[dict[Key, str], dict[Key, str]]:
        """Deployments that no worker asks at present, and those that only some do not ask; each with why."""
        now, workers = time.monotonic(), len(self._supervisor.workers)
        aside: dict[Key, str] = {}
        remarks: dict[Key, str] = {}
        for key, by_worker in self._supervisor.breakers.by_key.items():
            seen = [breaker for breaker in by_worker.values() if breaker.until > now]
            if not seen:
                continue
            first = min(seen, key=lambda breaker: breaker.until)
            text = f"set aside ({first.state}: {first.reason}) for {first.until - now:.0f} s"
            if len(seen) == workers:
                aside[key] = text
            else:
                remarks[key] = f"{text} at {len(seen)} of {workers} workers"
        for status in deployments(self._supervisor):
            key = status.backend, status.deployment
            by_hand = _by_hand(status)
            if by_hand is not None:
                aside[key] = by_hand
            elif key not in aside:
                remarks[key] = ", ".join([*([remarks[key]] if key in remarks else []), *_load(status)])
        return aside, remarks


def _by_hand(status: DeploymentStatus) -> str | None:
    """Why a person keeps requests from a deployment; None: nobody does."""
    if status.drained is not None:
        return f"{status.drained}: somebody has drained it, nothing new is sent there"
    if status.held and status.until is not None:
        return f"set aside by hand for {status.until - time.time():.0f} s"
    return "its weight was set to 0 by hand" if status.weight == 0 else None


def _load(status: DeploymentStatus) -> list[str]:
    said = [f"{status.in_flight} in flight"]
    if status.utilisation is not None:
        said.append(f"{status.utilisation:.0%} utilised")
    if status.weight_set:
        said.append(f"weight {status.weight:g} set by hand")
    return said
