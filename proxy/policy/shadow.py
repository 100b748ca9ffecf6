"""Grants that can never decide, since an earlier one of the same client allows all that they do. Pure.

Asked of the rules themselves: for each operation, the requests at the edge of what the later grant allows are shown to
the earlier one. Bounds only ever cut off one side, so whoever allows the edge allows what is within.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product

from proxy.config.structs import Grant
from proxy.identity.principal import Principal
from proxy.policy.operations import OPERATIONS, Operation
from proxy.policy.request import Request
from proxy.policy.rule import Rule

_UNBOUNDED = (1 << 31) - 1
_OTHER = "\0"
"""A character that no pattern names."""
_WILDCARDS = 6
"""Patterns with more are compared by their text."""


def shadowed(grants: Sequence[Grant]) -> Iterator[tuple[int, int]]:
    """Each grant that never decides, as `(first, second)`: the earlier one that does in its place, and itself."""
    rules = [Rule(index, grant) for index, grant in enumerate(grants)]
    for second, grant in enumerate(grants):
        for first in range(second):
            within = bool(grant.models) and covers(grants[first].models, grant.models)
            if within and _allows_all(rules[first], grant, rules[second]):
                yield first, second
                break


def covers(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Whether each of the narrow patterns is within one of the wide ones, whatever models there will be."""
    return all(any(_within(inner, outer) for outer in wide) for inner in narrow)


def _within(inner: str, outer: str) -> bool:
    """Tried with the shortest and a long stand-in for each `*`, of a character that only a wildcard matches."""
    if inner == outer or outer == "*":
        return True
    stars = inner.count("*")
    if "[" in inner or stars > _WILDCARDS:
        return False
    pieces = inner.replace("?", _OTHER).split("*")
    for fills in product(("", _OTHER * (len(outer) + 1)), repeat=stars):
        name = pieces[0] + "".join(fill + piece for fill, piece in zip(fills, pieces[1:], strict=True))
        if not fnmatchcase(name, outer):
            return False
    return True


def _allows_all(earlier: Rule, grant: Grant, later: Rule) -> bool:
    """Whether everything that `later`, made from `grant`, allows is allowed by `earlier`; false if that is nothing."""
    found = False
    principals = list(_principals(grant))
    for name in later.operations():
        operation = OPERATIONS.get(name)
        if operation is None:
            continue
        for request in _edges(grant, operation):
            if later.exceeded(operation, request) is not None:
                continue
            found = True
            if name not in earlier.operations() or earlier.exceeded(operation, request) is not None:
                return False
    return found and all(earlier.unmet(principal) is None for principal in principals)


def _edges(grant: Grant, operation: Operation) -> Iterator[Request]:
    """The most that a grant allows, streamed or not."""
    uses = frozenset(kind for kind in ("tools", "images", "audio") if getattr(grant, kind) == "allowed")
    for stream in (False, True) if operation.streams else (False,):
        yield Request(
            {},
            None,
            stream=stream,
            completion_limit=grant.max_tokens or _UNBOUNDED if operation.limits else None,
            features=frozenset(grant.features),
            uses=uses if operation.body == "json" else frozenset(),
            choices=grant.max_choices or _UNBOUNDED if operation.choices and operation.body == "json" else 1,
        )


def _principals(grant: Grant) -> Iterator[Principal]:
    """Those who meet a grant with as little as can be: one kind after another, each way to meet it."""
    least = {field: getattr(grant, field)[:1] for field in ("scopes", "roles", "groups", "users")}
    for field in least:
        for name in getattr(grant, field) or ("",):
            held = {**least, field: (name,) if name else ()}
            yield Principal(
                "",
                None,
                "token",
                "",
                user=held["users"][0] if held["users"] else None,
                scopes=frozenset(held["scopes"]),
                roles=frozenset(held["roles"]),
                groups=frozenset(held["groups"]),
            )
