"""Whose the things are that a request names, where they lie, and where something new may lie."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.policy.references import Name
from proxy.policy.stored_operations import UNNAMED
from proxy.refusal import Reason, Refused
from proxy.routing.candidate import Wanted
from proxy.stored.entry import Entry
from proxy.stored.places import affinity, common

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_PLACE = b"x-penstock-backend"


def named_by_path(exchange: "Exchange") -> list[Name]:
    return [(kind, one) for kind, one in exchange.target.ids if kind not in UNNAMED]


async def owned(exchange: "Exchange", names: Sequence[Name]) -> list[Entry]:
    """The things that a request names. Raises `Refused`: NOT_FOUND, unless all of them are its client's."""
    exchange.charged = 0  # whether they are or not, it has been asked
    entries = await exchange.worker.stored.owned(exchange.client, exchange.view.clients, names) if names else []
    exchange.charged = None
    return entries


def place_of(exchange: "Exchange", entries: Sequence[Entry]) -> str | None:
    """The one resource where the things of a request lie; None if it names none.

    Raises `Refused`: TWO_RESOURCES, RESOURCE_GONE.
    """
    place = common(entries, exchange.view.resources)
    if place is None:
        return None
    backend = exchange.view.backends.get(place)
    if backend is None:
        raise Refused(Reason.RESOURCE_GONE, f"{place} is not configured")
    regions = exchange.client.regions
    if regions and backend.region not in regions and exchange.target.operation.method == "POST":
        raise Refused(Reason.RESOURCE_GONE, f"{place} is outside the client's regions")
    return place


def places_for(exchange: "Exchange", models: Sequence[str] = ()) -> list[str]:
    """The resources that may hold something new of the client's, in the order to ask them.

    Those that serve a model it may use, in its regions: by the priority of the deployments there, those that are set
    aside last. Within a priority a client always has the same one first, for what is to be used together must lie
    together. A header may name the one. Raises `Refused`: NO_BACKEND, UNJUDGED.
    """
    found = _ranked(exchange, models or exchange.view.permissions[exchange.client.name].models(exchange.principal))
    assert exchange.head is not None
    asked = next((value for name, value in exchange.head.headers if name == _PLACE), None)
    if asked is not None:
        place = asked.decode("latin-1")
        if place not in found:
            raise Refused(Reason.UNJUDGED, "place", message="x-penstock-backend names none that this may lie at.")
        return [place]
    if not found:
        raise Refused(Reason.NO_BACKEND, "no deployment in the client's regions")
    client, resources = exchange.client, exchange.view.resources
    owner = client.tenant if client.share_state == "tenant" else None
    key = f"tenant {owner}" if owner is not None else f"client {client.name}"
    return sorted(found, key=lambda place: (found[place], affinity(key, resources[place][0])))


def _ranked(exchange: "Exchange", models: Sequence[str]) -> dict[str, tuple[bool, int]]:
    """Whether a resource is set aside, and its priority."""
    router, client, now = exchange.worker.router, exchange.client, time.monotonic()
    found: dict[str, tuple[bool, int]] = {}
    for model in models:
        wanted = Wanted(client.routes.get(model, model), client.regions, client.backends, client.tiers)
        for candidate, unavailable in router.order(wanted, now).verdicts(now):
            if candidate.backend in exchange.view.backends:  # the router may know of a later configuration
                rank = (unavailable is not None, candidate.priority)
                found[candidate.backend] = min(rank, found.get(candidate.backend, rank))
    return found
