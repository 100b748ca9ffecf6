"""A plan that is over in a moment."""

from typing import Any

from bench.plan.structs import Client, Latency, Mix, Plan, Provisioned, Service, Standard, Unit, Workload
from proxy.config.structs import Seconds

LATENCY = Latency(first=Seconds(0.2), between=Seconds(0.01), rises=((0.0, 1.0), (1.0, 2.0)))


def standard(name: str = "standard", tokens_per_minute: int = 0, **more: Any) -> Standard:
    return Standard(name=name, tokens_per_minute=tokens_per_minute, prompt=2.0, completion=8.0, latency=LATENCY, **more)


def tiny(
    *,
    requests_per_day: float = 86_400.0,
    mixes: tuple[Mix, ...] = (Mix(prompt=(500, 900), completion=(50, 90)),),
    clients: tuple[Client, ...] = (Client(name="web"),),
    workload: dict[str, Any] | None = None,
    **more: Any,
) -> Plan:
    """One request a second; a unit does about one in six seconds."""
    given: dict[str, Any] = {
        "title": "tiny",
        "months": 2,
        "units": {"m": Unit(tokens_per_minute=7_000, completion=3, minimum=2, step=2)},
        "provisioned": Provisioned(price_per_hour=0.5, latency=LATENCY),
        "standard": (standard(),),
        "service": Service(),
    }
    work: dict[str, Any] = {"model": "m", "growth": 0.1, "mixes": mixes, "requests_per_day": requests_per_day}
    return Plan(workload=Workload(**work | (workload or {})), clients=clients, **given | more)
