"""Which deployments a client's requests for a model may go to at all, by the client's own restrictions. Pure."""

from collections.abc import Mapping

from proxy.config.structs import Backend, Client, Deployment, Model


def served_by(client: Client, model: str) -> str:
    """The model whose deployments answer a client's requests for one."""
    return client.routes.get(model, model)


def reachable(client: Client, model: Model, backends: Mapping[str, Backend]) -> list[Deployment]:
    """Those of a model's deployments that a client is not kept from."""
    return [deployment for deployment in model.deployments if _allowed(client, backends.get(deployment.backend))]


def _allowed(client: Client, backend: Backend | None) -> bool:
    return (
        backend is not None
        and (not client.regions or backend.region in client.regions)
        and (not client.backends or backend.name in client.backends)
        and (not client.tiers or backend.tier in client.tiers)
    )
