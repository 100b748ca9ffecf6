"""What is wrong with the models: their names, and the deployments that are to answer for them."""

from collections.abc import Iterator

from proxy.config.names import named, unique
from proxy.config.problem import Problem, one_of, quoted
from proxy.config.structs import Config
from proxy.metering.tokenizer import ENCODINGS


def problems(config: Config) -> Iterator[Problem]:
    backends = {backend.name for backend in config.backends}
    yield from unique("models", (model.name for model in config.models))
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
