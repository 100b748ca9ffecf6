"""What is wrong with the models: their names, and the deployments that are to answer for them."""

import re
from collections.abc import Iterator
from datetime import date

from proxy.config.names import named, unique
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Config, Deployment, Model
from proxy.metering.tokenizer import ENCODINGS
from proxy.policy.operations import OPERATIONS

_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-preview)?")


def problems(config: Config) -> Iterator[Problem]:
    backends = {backend.name for backend in config.backends}
    yield from unique("models", (model.name for model in config.models))
    yield from _aliases(config)
    for index, model in enumerate(config.models):
        key = f"models[{index}]"
        yield from named(f"{key}.name", model.name)
        if not model.deployments:
            yield Problem(f"{key}.deployments", "empty", "name at least one")
        if model.tokenizer is not None and model.tokenizer not in ENCODINGS:
            yield Problem(f"{key}.tokenizer", quoted(model.tokenizer), one_of(ENCODINGS))
        yield from unique(f"{key}.deployments", (f"{d.backend}/{d.deployment}" for d in model.deployments))
        for number, deployment in enumerate(model.deployments):
            at = f"{key}.deployments[{number}]"
            if deployment.backend not in backends:
                yield Problem(f"{at}.backend", f"{quoted(deployment.backend)} is not defined", one_of(backends))
            yield from named(f"{at}.deployment", deployment.deployment)
            yield from _deployment(at, deployment, model)
        yield from _canaries(key, model)


def _aliases(config: Config) -> Iterator[Problem]:
    """An alias is a name like any other: whoever asks for it must get one model."""
    taken = {model.name: f"the name of models[{index}]" for index, model in enumerate(config.models)}
    for index, model in enumerate(config.models):
        for number, alias in enumerate(model.aliases):
            key = f"models[{index}].aliases[{number}]"
            yield from named(key, alias)
            if alias in taken:
                yield Problem(key, f"{quoted(alias)} is {taken[alias]}, too", "give each its own name")
            taken.setdefault(alias, f"an alias of models[{index}]")


def _deployment(key: str, deployment: Deployment, model: Model) -> Iterator[Problem]:
    for operation in deployment.operations:
        if operation not in OPERATIONS:
            yield Problem(f"{key}.operations", f"{quoted(operation)} is no operation", one_of(OPERATIONS))
    yield from _versions(f"{key}.api_versions", deployment)
    if deployment.spill_at is None:
        return
    if deployment.spill_at > 1:
        yield Problem(f"{key}.spill_at", f"{deployment.spill_at:g}", "give a share of 1, such as 0.85")
    if not any(other.priority > deployment.priority for other in model.deployments):
        yield Problem(
            f"{key}.spill_at", "set, while no deployment comes after", "give another a higher priority number"
        )


def _versions(key: str, deployment: Deployment) -> Iterator[Problem]:
    bounds = deployment.api_versions or ()
    for bound in bounds:
        if not _is_dated(bound):
            yield Problem(key, quoted(bound), 'give the dates of the first and the last, such as "2024-10-21"')
            return
    if bounds and bounds[0][:10] > bounds[1][:10]:
        yield Problem(key, f"{quoted(bounds[0])} is after {quoted(bounds[1])}", "give the first one first")


def _is_dated(version: str) -> bool:
    match = _VERSION.fullmatch(version)
    try:
        return match is not None and bool(date.fromisoformat(match[1]))
    except ValueError:
        return False


def _canaries(key: str, model: Model) -> Iterator[Problem]:
    shares = {n: d.canary for n, d in enumerate(model.deployments) if d.canary is not None}
    for number, share in shares.items():
        if share > 1:
            yield Problem(f"{key}.deployments[{number}].canary", f"{share:g}", "give a share of 1, such as 0.05")
    if shares and len(shares) == len(model.deployments):
        yield Problem(f"{key}.deployments", "all are canaries", "give one that answers all others")
    elif sum(shares.values()) > 1 and max(shares.values()) <= 1:
        yield Problem(f"{key}.deployments", "the canaries' shares are more than 1 together", "give them less")
