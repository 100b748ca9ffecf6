"""What a client may do: default deny, and a grant by grant reason why.

Pure: a client's grants are data, the first that allows decides, and when none does the answer names the one that came
nearest and what it failed at.
"""

from collections.abc import Iterable, Mapping, Sequence

from proxy.config.structs import Backend, Client, Model
from proxy.frozen import Frozen
from proxy.identity.principal import Principal
from proxy.policy.operations import Operation
from proxy.policy.request import Request
from proxy.policy.rule import Miss, Rule
from proxy.refusal import Reason, Refused
from proxy.routing.reach import reachable, served_by

_NO_FEATURES: frozenset[str] = frozenset()
_NONE: Mapping[str, Sequence[str]] = {}


_NOT_NAMED = "This client may not use this operation: a grant must name it."


class Verdict(Frozen, frozen=True):
    """How one grant took a request. `miss` is None if it allows it."""

    grant: str
    miss: Miss | None


class Permissions:
    """One client's grants. `models` are all there are, `aliases` their other names; `served` are those that the
    client's requests can go to, if not all.

    Which grants cover an operation with a model is remembered: there are as many answers as models times operations.
    """

    def __init__(
        self,
        client: Client,
        models: frozenset[str],
        served: frozenset[str] | None = None,
        aliases: Mapping[str, Sequence[str]] = _NONE,
    ) -> None:
        self._rules = tuple(Rule(index, grant) for index, grant in enumerate(client.grants))
        self._models = models
        self._served = models if served is None else served
        self._aliases = aliases
        self._covering: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self.closely = any(rule.closely for rule in self._rules)
        """Whether bodies have to be read closely."""

    def admit(self, operation: Operation, model: str, principal: Principal) -> None:
        """Let a request's body be read, if there is a body that would be allowed, as far as its head can tell.

        Raises `Refused` as `authorize` does.
        """
        rules = self._covering.get((operation.name, model))
        for rule in self._cover(operation, model) if rules is None else rules:
            if rule.anyone or rule.unmet(principal) is None:
                return
        raise self._refused(operation, model, principal, None)

    def authorize(self, operation: Operation, model: str, principal: Principal, request: Request | None) -> Rule:
        """The rule that allows this.

        Raises `Refused`: UNKNOWN_MODEL, NOT_GRANTED, USER_NOT_GRANTED, GROUP_MISSING, ROLE_MISSING, SCOPE_MISSING,
        FEATURE_NOT_GRANTED, PARAMETER_NOT_GRANTED.
        """
        rules = self._covering.get((operation.name, model))
        features = _NO_FEATURES if request is None else request.features
        for rule in self._cover(operation, model) if rules is None else rules:
            if rule.plain:  # nothing but the features to look at: most requests end here
                if features <= rule.features:
                    return rule
            elif rule.unmet(principal) is None and rule.exceeded(operation, request) is None:
                return rule
        raise self._refused(operation, model, principal, request)

    def allow(self, operation: Operation, principal: Principal, request: Request | None = None) -> Rule:
        """The rule that allows an operation that names no model. Raises `Refused` as `authorize` does."""
        misses = []
        for rule in self._rules:
            if operation.name not in rule.operations():
                continue
            miss = rule.unmet(principal) or rule.exceeded(operation, request)
            if miss is None:
                return rule
            misses.append((rule.name, miss))
        if not misses:
            raise Refused(Reason.NOT_GRANTED, f"no grant names {operation.name}", message=_NOT_NAMED)
        name, miss = max(misses, key=lambda named: named[1].depth)
        raise Refused(miss.reason, f"{name}.{miss.field}: {miss.found}", message=miss.message)

    def allow_base(self, operation: Operation, model: str, principal: Principal) -> Rule:
        """The rule that allows an operation with a model that need not be deployed. Raises `Refused`."""
        for rule in self._rules:
            if rule.uncovered(operation.name, model) is None and rule.unmet(principal) is None:
                return rule
        raise Refused(Reason.NOT_GRANTED, f"no grant names {operation.name} with this model")

    def verdicts(
        self, operation: Operation, model: str, principal: Principal, request: Request | None
    ) -> tuple[Verdict, ...]:
        """How every grant takes a request, in order. The first that allows it is the one that `authorize` gives."""
        return tuple(Verdict(rule.name, rule.judge(operation, model, principal, request)) for rule in self._rules)

    def models(self, principal: Principal) -> list[str]:
        """The models of which the principal may use anything at all, by all of their names, sorted."""
        rules = [rule for rule in self._rules if rule.unmet(principal) is None]
        granted = [model for model in self._served if any(rule.names(model) for rule in rules)]
        return sorted(name for model in granted for name in (model, *self._aliases.get(model, ())))

    def _cover(self, operation: Operation, model: str) -> tuple[Rule, ...]:
        if model not in self._models:
            raise Refused(Reason.UNKNOWN_MODEL, "models")
        covering = tuple(rule for rule in self._rules if rule.uncovered(operation.name, model) is None)
        self._covering[operation.name, model] = covering
        return covering

    def _refused(self, operation: Operation, model: str, principal: Principal, request: Request | None) -> Refused:
        misses = [(v.grant, v.miss) for v in self.verdicts(operation, model, principal, request) if v.miss is not None]
        if not misses:
            return Refused(Reason.NOT_GRANTED, "no grants")
        name, miss = max(misses, key=lambda named: named[1].depth)  # of several, the first
        return Refused(miss.reason, f"{name}.{miss.field}: {miss.found}", message=miss.message)


def permissions(
    clients: Iterable[Client], models: Sequence[Model], backends: Iterable[Backend]
) -> dict[str, Permissions]:
    """Those of all clients, by name."""
    aliases = {model.name: model.aliases for model in models}
    by_name = {model.name: model for model in models}
    known = {backend.name: backend for backend in backends}
    names = frozenset(by_name)
    return {client.name: Permissions(client, names, _served(client, by_name, known), aliases) for client in clients}


def _served(client: Client, models: Mapping[str, Model], backends: Mapping[str, Backend]) -> frozenset[str]:
    """The models with a deployment where the client's requests may go."""
    return frozenset(name for name in models if reachable(client, models[served_by(client, name)], backends))
