"""What routing has to know of a request, gathered: for the gateway and for who explains it. Pure."""

from proxy.config.structs import Client
from proxy.policy.operations import Target
from proxy.policy.request import Request
from proxy.routing.affinity import affinity
from proxy.routing.candidate import Wanted
from proxy.routing.eligible import Deployments

_NOTHING: frozenset[str] = frozenset()


def wanted(
    deployments: Deployments, client: Client, user: str | None, target: Target, request: Request | None, tokens: int
) -> Wanted:
    """`tokens` is the estimate of what it will use."""
    model = deployments.model.name
    if len(deployments.seats) == 1 and deployments.plain:  # there is nothing to choose
        return Wanted(model, client.regions, client.backends, client.tiers)
    sticky = ""
    if deployments.sticky is not None:
        sticky = client.name if deployments.sticky == "client" or user is None else f"{client.name}\0{user}"
    return Wanted(
        model,
        client.regions,
        client.backends,
        client.tiers,
        target.operation.name,
        target.api_version,
        (request.uses if request is not None else _NOTHING) | target.operation.inputs,
        tokens,
        sticky,
        affinity(deployments.affinity, client, request),
        request is not None and request.stream,
    )
