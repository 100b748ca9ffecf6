"""What is wrong with where a client's requests go: regions, backends, tiers, and routes that lead nowhere."""

from collections.abc import Iterator

from proxy.config.problem import Problem, one_of, quoted, within
from proxy.config.structs import Client, Config
from proxy.routing.reach import reachable


def problems(key: str, client: Client, config: Config) -> Iterator[Problem]:
    """Everything that is wrong with the routing of the client at path `key`."""
    backends = {backend.name: backend for backend in config.backends}
    regions = {backend.region for backend in config.backends}
    for region in client.regions:
        if region not in regions:
            yield Problem(f"{key}.regions", f"no backend is in {quoted(region)}", one_of(regions))
    for name in client.backends:
        if name not in backends:
            yield Problem(f"{key}.backends", f"{quoted(name)} is not defined", one_of(backends))
    tiers = {backend.tier for backend in config.backends}
    for tier in client.tiers:
        if tier not in tiers:
            yield Problem(f"{key}.tiers", f"no backend is {quoted(tier)}", one_of(tiers))
    yield from _routes(f"{key}.routes", client, config)


def _routes(key: str, client: Client, config: Config) -> Iterator[Problem]:
    models = {model.name: model for model in config.models}
    backends = {backend.name: backend for backend in config.backends}
    for asked, answered in client.routes.items():
        at = within(key, asked)
        for name in (asked, answered):
            if name not in models:
                yield Problem(at, f"{quoted(name)} is no model's name", one_of(models))
        if asked == answered:
            yield Problem(at, "leads to itself", "leave it out")
        elif answered in models and not reachable(client, models[answered], backends):
            yield Problem(
                at,
                f"{quoted(answered)} has no deployment that the client may be sent to",
                "deploy one there, or widen the client's regions, backends or tiers",
            )
