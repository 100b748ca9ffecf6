"""What a client's grants cannot mean: names that lead nowhere, bounds that contradict, grants that never decide."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Client, Config, Grant
from proxy.policy.operations import OPERATIONS, Operation
from proxy.policy.rule import operations_of
from proxy.policy.shadow import shadowed
from proxy.routing.reach import reachable, served_by

_TOKENS_ONLY = ("scopes", "roles", "groups", "users")


def problems(key: str, client: Client, config: Config) -> Iterator[Problem]:
    """Everything that is wrong with the grants of the client at path `key`."""
    for number, grant in enumerate(client.grants):
        at = f"{key}.grants[{number}]"
        yield from _names(at, grant, client, config)
        yield from _requirements(at, grant, client)
        yield from _bounds(at, grant)
    for first, second in shadowed(client.grants):
        yield Problem(
            f"{key}.grants[{second}]",
            f"never decides: grants[{first}] allows all that it does, and comes first",
            "leave it out, put it first, or narrow the other",
        )


def _names(key: str, grant: Grant, client: Client, config: Config) -> Iterator[Problem]:
    for field in ("models", "operations"):
        if not getattr(grant, field):
            yield Problem(f"{key}.{field}", "empty", "a grant without it allows nothing: name what it allows")
    for operation in grant.operations:
        if operation != "*" and not operations_of((operation,)):
            yield Problem(f"{key}.operations", f"{quoted(operation)} is no operation", one_of([*OPERATIONS, '"*"']))
    backends = {backend.name: backend for backend in config.backends}
    models = {model.name: model for model in config.models}
    for pattern in grant.models:
        matched = [model for model in config.models if fnmatchcase(model.name, pattern)]
        if not matched:
            names = [model.name for model in config.models]
            yield Problem(f"{key}.models", f"no model matches {quoted(pattern)}", one_of(names))
        elif (client.regions or client.backends or client.tiers) and not any(
            answering is not None and reachable(client, answering, backends)
            for answering in (models.get(served_by(client, model.name)) for model in matched)
        ):
            bounds = " and ".join(name for name in ("regions", "backends", "tiers") if getattr(client, name))
            yield Problem(
                f"{key}.models",
                f"no model that {quoted(pattern)} matches is deployed in the client's {bounds}",
                f"deploy one there, or widen the client's {bounds}",
            )


def _requirements(key: str, grant: Grant, client: Client) -> Iterator[Problem]:
    for field in _TOKENS_ONLY:
        if getattr(grant, field) and client.token is None:
            yield Problem(
                f"{key}.{field}",
                "set, while the client has no token",
                "only a token can meet it: give the client a token, or leave it out",
            )
        if "" in getattr(grant, field):
            yield Problem(f"{key}.{field}", "has an empty name", "leave that one out")


def _bounds(key: str, grant: Grant) -> Iterator[Problem]:
    """Bounds without an operation that they could bound, and with one that could never meet them."""
    named = [OPERATIONS[name] for name in grant.operations if name in OPERATIONS]
    every = [OPERATIONS[name] for name in operations_of(grant.operations)]
    for field in _given(grant):
        if every and not any(_concerns(field, operation) for operation in every):
            yield Problem(f"{key}.{field}", "set, while no operation of the grant has that", "leave it out")
        for operation in named:
            why = _impossible(field, grant, operation)
            if why is not None:
                yield Problem(f"{key}.{field}", f"{operation.name} {why}", "give that operation a grant of its own")
    if grant.tools == "forbidden" and "server_tools" in grant.features:
        yield Problem(f"{key}.tools", 'forbidden, while features name "server_tools"', "leave one of the two out")
    if grant.images == "forbidden" and "remote_images" in grant.features:
        yield Problem(f"{key}.images", 'forbidden, while features name "remote_images"', "leave one of the two out")


def _given(grant: Grant) -> list[str]:
    given = [field for field in ("max_tokens", "max_choices", "streaming") if getattr(grant, field) is not None]
    return given + [kind for kind in ("tools", "images", "audio") if getattr(grant, kind) == "forbidden"]


def _concerns(field: str, operation: Operation) -> bool:
    match field:
        case "max_tokens":
            return bool(operation.limits)
        case "max_choices":
            return bool(operation.choices)
        case "streaming":
            return operation.streams
        case "tools":
            return operation.name in ("chat.completions", "responses")
        case _:
            return operation.name in ("chat.completions", "responses") or field in operation.inputs


def _impossible(field: str, grant: Grant, operation: Operation) -> str | None:
    """Why an operation could never be allowed by a grant with this bound, if so."""
    if field in operation.inputs:
        return f"is made of {field}"
    if field == "streaming" and grant.streaming == "required" and not operation.streams:
        return "cannot stream"
    if operation.body == "multipart" and field in ("streaming", "max_choices") and _concerns(field, operation):
        return "is a form, which is not read for it"
    return None
