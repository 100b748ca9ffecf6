"""The whole decision on a request, told: who that is, which rule decided, what limits apply, and which backends in
which order.

Made of the very functions that the gateway decides with, called in its order; nothing is decided here. What the answer
rests on comes in: the configuration, the principal or why there is none, and how deployments stand. Pure.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from proxy.config.structs import Client, Config
from proxy.identity.principal import Principal
from proxy.metering.estimate import Estimator
from proxy.policy.grants import Verdict, permissions
from proxy.policy.operations import OPERATIONS, Target, Targets
from proxy.policy.request import Request, limit_completion, read_json, requested_model
from proxy.refusal import Reason, Refused
from proxy.routing.breaker import Unavailable
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.reach import served_by
from proxy.routing.select import Router
from proxy.routing.shared import DeploymentTold
from proxy.routing.wanted import wanted
from proxy.routing.words import Words, never


class Asked(msgspec.Struct, frozen=True):
    """A request: its method and target, and its body if that is known."""

    method: str
    target: str
    body: bytes | None = None


class Present(msgspec.Struct, frozen=True):
    """How things are at the moment: why deployments are set aside, or what else there is to say of them, what workers
    are told of them, and what is used of the client's limits.
    """

    set_aside: Mapping[Key, str] = {}
    remarks: Mapping[Key, str] = {}
    used: Mapping[str, int] = {}
    told: tuple[DeploymentTold, ...] = ()


class Identity(msgspec.Struct, frozen=True):
    """Who that is. `fingerprint` is of the credential, and safe to show."""

    client: str
    tenant: str | None
    credential: str
    fingerprint: str
    user: str | None
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    groups: tuple[str, ...]


class GrantTold(msgspec.Struct, frozen=True):
    """How a grant took the request; if it did not allow it, the field that decided, and the fact."""

    grant: str
    allows: bool
    field: str | None = None
    found: str | None = None


class LimitTold(msgspec.Struct, frozen=True):
    """A budget of the client; `used` where it is known."""

    name: str
    limit: int
    used: int | None = None


class BackendTold(msgspec.Struct, frozen=True):
    """A deployment of the model. `turn` counts from 1; None: it is never asked, or not now, and `why` says so."""

    backend: str
    deployment: str
    region: str
    tier: str
    turn: int | None
    why: str


class Explanation(msgspec.Struct):
    """All of it, as far as it goes: what is refused early has nothing to say of what would come later."""

    decision: Literal["allowed", "refused"] = "allowed"
    status: int | None = None
    reason: str | None = None
    rule: str | None = None
    message: str | None = None
    operation: str | None = None
    model: str | None = None
    identity: Identity | None = None
    grants: tuple[GrantTold, ...] = ()
    sets: dict[str, int] = {}
    limits: tuple[LimitTold, ...] = ()
    backends: tuple[BackendTold, ...] = ()
    models: tuple[str, ...] | None = None
    notes: list[str] = []


_OWN = "what it names must be the client's own, and it goes to where that lies: neither is looked up here"


class Explainer:
    """Explains by one configuration. Deployments of one priority come in the order in which most requests ask them."""

    def __init__(self, config: Config) -> None:
        self.clients: dict[str, Client] = {client.name: client for client in config.clients}
        self._targets = Targets(config.forward.query)
        self._permissions = permissions(config.clients, config.models, config.backends)
        self._aliases = {alias: model.name for model in config.models for alias in model.aliases}
        self._router = Router(config.models, config.backends, config.routing, lambda: 0.0)
        self._estimator = Estimator()

    def explain(self, asked: Asked, who: Principal | Refused, present: Present | None = None) -> Explanation:
        """What becomes of a request from `who`; a `Refused` there is why nobody is known."""
        told = Explanation()
        try:
            self._stages(asked, who, present or Present(), told)
        except Refused as refused:
            told.decision = "refused"
            told.status = refused.reason.terms.status
            told.reason = refused.reason.value
            told.rule = refused.rule
            told.message = refused.message
        return told

    def _stages(self, asked: Asked, who: Principal | Refused, present: Present, told: Explanation) -> None:
        target = self._parse(asked)
        told.operation, told.model = target.operation.name, target.model
        if isinstance(who, Refused):
            raise who
        client = self.clients[who.client]
        told.identity = _identity(who)
        told.limits = tuple(_limits(client, present))
        granted = self._permissions[client.name]
        if target.operation.state is not None:
            told.rule = granted.allow(target.operation, who).name
            told.notes.append(_OWN)
            return
        if target.operation.body == "none":
            told.models = tuple(granted.models(who))
            return
        if target.model is not None:
            told.model = self._named(target.model)
            told.grants = _told(granted.verdicts(target.operation, told.model, who, None))
            granted.admit(target.operation, told.model, who)
        request = _read(asked, target, told, closely=True)
        asked_for = requested_model(target, request)
        told.model = model = self._named(asked_for)
        if model != asked_for:
            told.notes.append(f"{asked_for} is another name of {model}")
        if request is not None and request.state is not None and target.operation.stored is not None:
            target = msgspec.structs.replace(target, operation=OPERATIONS[target.operation.stored])
            told.operation = target.operation.name
            told.notes.append(_OWN)
        told.grants = _told(granted.verdicts(target.operation, model, who, request))
        rule = granted.authorize(target.operation, model, who, request)
        told.rule = rule.name
        if rule.max_tokens is not None and request is not None:
            told.sets = limit_completion(request, target, rule.max_tokens)
        served = served_by(client, model)
        if served != model:
            told.notes.append(f"this client's {model} is answered by {served}, by its routes")
        deployments = self._router.deployments(served)
        assert deployments is not None  # what is authorized is configured
        size = 0 if asked.body is None else len(asked.body)
        limit = None if request is None else request.completion_limit
        tokens = self._estimator.estimate(served, client.name, size, limit)
        self._route(wanted(deployments, client, who.user, target, request, tokens), present, told)

    def _named(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _parse(self, asked: Asked) -> Target:
        method = "GET" if asked.method == "HEAD" else asked.method
        try:
            return self._targets.parse(method.encode("ascii"), asked.target.encode("ascii"))
        except UnicodeEncodeError:
            raise Refused(Reason.BAD_TARGET, "not in origin form") from None

    def _route(self, requested: Wanted, present: Present, told: Explanation) -> None:
        self._router.told(present.told, 0.0)
        plan = self._router.order(requested, 0.0)
        drained = [found.key for found, why in plan.verdicts(0.0) if why is Unavailable.DRAINED]
        set_aside = dict.fromkeys(drained, "set aside: drained") | dict(present.set_aside)
        turns = [found for found in plan.candidates if found.key not in set_aside]
        why = Words(requested, plan, self._router.ranking(plan.eligible, 0.0), present.remarks)
        told.backends = (
            *(_backend(found, turn, why.of(found)) for turn, found in enumerate(turns, 1)),
            *(_backend(found, None, set_aside[found.key]) for found in plan.candidates if found.key in set_aside),
            *(
                _backend(seat.candidate, None, never(seat.candidate, n, requested))
                for seat, n in plan.eligible.excluded
            ),
        )
        if not plan.candidates:
            raise self._router.refusal(plan, 0.0)
        if not turns:
            told.notes.append("every deployment is set aside at present: until one is not, the answer is 429 or 503")


def _read(asked: Asked, target: Target, told: Explanation, *, closely: bool) -> Request | None:
    if target.operation.body == "multipart":
        if target.model is None:
            told.notes.append("the model is in a form, which is not read here: name the deployment in the target")
        return None
    if asked.body is None:
        told.notes.append("no body was given: the request is judged as if it asked for nothing in particular")
    return read_json(target.operation, b"{}" if asked.body is None else asked.body, closely)


def _identity(who: Principal) -> Identity:
    return Identity(
        who.client,
        who.tenant,
        who.kind,
        who.fingerprint,
        who.user,
        *(tuple(sorted(names)) for names in (who.scopes, who.roles, who.groups)),
    )


def _told(verdicts: tuple[Verdict, ...]) -> tuple[GrantTold, ...]:
    return tuple(
        GrantTold(verdict.grant, True)
        if verdict.miss is None
        else GrantTold(verdict.grant, False, verdict.miss.field, verdict.miss.found)
        for verdict in verdicts
    )


def _limits(client: Client, present: Present) -> list[LimitTold]:
    limits = client.limits
    names = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrent_requests")
    given = [(name, getattr(limits, name)) for name in names]
    return [LimitTold(name, limit, present.used.get(name)) for name, limit in given if limit is not None]


def _backend(candidate: Candidate, turn: int | None, why: str) -> BackendTold:
    return BackendTold(candidate.backend, candidate.deployment, candidate.region, candidate.tier, turn, why)
