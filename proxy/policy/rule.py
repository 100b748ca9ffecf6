"""One grant as a rule: what it covers, whom it is for, what it bounds, and, where it does not allow, exactly why not.

Of the fields that are given all must be met, and of a list any one. They are looked at in the order of `FIELDS`, so the
field that a grant failed at says how near it came. Pure.
"""

from fnmatch import fnmatchcase

from proxy.config.structs import Grant
from proxy.frozen import Frozen
from proxy.identity.principal import Principal
from proxy.policy.operations import OPERATIONS, STATELESS, Operation
from proxy.policy.request import Request
from proxy.refusal import Reason

FIELDS = (
    ("operations", "models", "users", "groups", "roles", "scopes", "features", "tools", "images", "audio")
    + ("streaming", "max_choices", "max_tokens")
)  # fmt: skip

_KINDS = ("tools", "images", "audio")
_SHOWN = 200


class Miss(Frozen, frozen=True):
    """Why a grant does not allow a request.

    `field` is the grant's key that decided. `found` is the exact fact, for records and explanations. `message` tells an
    honest client what to change; without one the reason's own does.
    """

    field: str
    found: str
    reason: Reason
    message: str | None = None

    @property
    def depth(self) -> int:
        """How many fields were met before."""
        return FIELDS.index(self.field)


def operations_of(names: tuple[str, ...]) -> frozenset[str]:
    """What a grant's `operations` stand for: `*` is all stateless ones, `files.*` all on stored state that begin so."""
    found = set(names)
    if "*" in found:
        found |= STATELESS
    for name in names:
        if name.endswith(".*"):
            found |= {own for own in OPERATIONS if own.startswith(name[:-1]) and own not in STATELESS}
    return frozenset(found & OPERATIONS.keys())


class Rule:
    """A grant, made ready to judge with. `name` is how records call it, `grants[0]` for a client's first."""

    __slots__ = (
        "_bounded", "_forbidden", "_max_choices", "_models", "_operations", "_required", "_streaming", "anyone",
        "closely", "features", "max_tokens", "name", "plain",
    )  # fmt: skip

    def __init__(self, index: int, grant: Grant) -> None:
        self.name = f"grants[{index}]"
        self._models = grant.models
        self._operations = operations_of(grant.operations)
        self._required = tuple(
            (field, frozenset(names), reason)
            for field, names, reason in (
                ("users", grant.users, Reason.USER_NOT_GRANTED),
                ("groups", grant.groups, Reason.GROUP_MISSING),
                ("roles", grant.roles, Reason.ROLE_MISSING),
                ("scopes", grant.scopes, Reason.SCOPE_MISSING),
            )
            if names
        )
        self.anyone = not self._required
        """Whoever the client lets in."""
        self.features = frozenset(grant.features)
        self._forbidden = tuple(kind for kind in _KINDS if getattr(grant, kind) == "forbidden")
        self._streaming = grant.streaming
        self._max_choices = grant.max_choices
        self.max_tokens = grant.max_tokens
        self.closely = bool(self._forbidden) or self._max_choices is not None
        """Whether bodies have to be read closely to judge them by this."""
        self._bounded = self.closely or self._streaming is not None or self.max_tokens is not None
        self.plain = self.anyone and not self._bounded
        """Neither the principal nor, beside its features, the body matters."""

    def __repr__(self) -> str:
        return f"<Rule {self.name}>"

    def operations(self) -> frozenset[str]:
        return self._operations

    def names(self, model: str) -> bool:
        """Whether one of its patterns is for this model."""
        return any(fnmatchcase(model, pattern) for pattern in self._models)

    def uncovered(self, operation: str, model: str) -> Miss | None:
        """Why it says nothing of an operation with a model, if so."""
        if operation not in self._operations:
            return Miss("operations", f"{operation} is not among them", Reason.NOT_GRANTED)
        if not self.names(model):
            return Miss("models", f"none matches {model}", Reason.NOT_GRANTED)
        return None

    def unmet(self, principal: Principal) -> Miss | None:
        """Why it is not for a principal, if so."""
        for field, wanted, reason in self._required:
            held = frozenset((principal.user,)) if field == "users" else getattr(principal, field)
            if wanted.isdisjoint(held):
                return Miss(field, f"none of {_listed(wanted)}", reason)
        return None

    def exceeded(self, operation: Operation, request: Request | None) -> Miss | None:
        """Why a body goes beyond it, if so. `request` is None for a body that is no JSON."""
        asked = _NOTHING if request is None else request
        if not asked.features <= self.features:
            missing = min(asked.features - self.features)
            return Miss("features", missing, Reason.FEATURE_NOT_GRANTED, f"This client may not use {missing}.")
        return self._beyond(operation, asked) if self._bounded else None

    def _beyond(self, operation: Operation, asked: Request) -> Miss | None:
        for kind in self._forbidden:
            if kind in asked.uses or kind in operation.inputs:
                return _parameter(kind, "forbidden", f"This client may not send {_SENT[kind]}.")
        form = operation.body == "multipart"
        if self._streaming == "required" and not (asked.stream and operation.streams):
            return _parameter("streaming", "required", "This client may only ask for streams: set 'stream' to true.")
        if self._streaming == "forbidden" and (asked.stream or (form and operation.streams)):
            return _parameter("streaming", "forbidden", "This client may not ask for streams.")
        most = self._max_choices
        if most is not None and (asked.choices > most or (form and operation.choices)):
            found = f"{asked.choices} > {most}" if asked.choices > most else "not read in a form"
            return _parameter("max_choices", found, f"This client may ask for at most {most} answers to a request.")
        limit, most = asked.completion_limit, self.max_tokens
        if most is not None and limit is not None and limit > most:
            return _parameter("max_tokens", f"{limit} > {most}", f"This client may ask for at most {most} tokens.")
        return None

    def judge(self, operation: Operation, model: str, principal: Principal, request: Request | None) -> Miss | None:
        """Why it does not allow a request, if so."""
        return self.uncovered(operation.name, model) or self.unmet(principal) or self.exceeded(operation, request)


def described(grant: Grant) -> str:
    """A grant in one line, for people."""
    parts = [f"{', '.join(grant.operations)} on {', '.join(grant.models)}"]
    required = [(field, getattr(grant, field)) for field in ("users", "groups", "roles", "scopes")]
    parts += [f"{field}: {' or '.join(names)}" for field, names in required if names]
    if grant.features:
        parts.append(f"with {', '.join(grant.features)}")
    bounds = [(field, getattr(grant, field)) for field in ("max_tokens", "max_choices", "streaming")]
    parts += [f"{field} {bound}" for field, bound in bounds if bound is not None]
    parts += [f"{kind} forbidden" for kind in _KINDS if getattr(grant, kind) == "forbidden"]
    return "; ".join(parts)


_NOTHING = Request({}, None)
_SENT = {"tools": "tools", "images": "images or files", "audio": "audio"}


def _parameter(field: str, found: str, message: str) -> Miss:
    return Miss(field, found, Reason.PARAMETER_NOT_GRANTED, message)


def _listed(names: frozenset[str]) -> str:
    text = ", ".join(sorted(names))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
