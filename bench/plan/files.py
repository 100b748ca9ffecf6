"""Plans by name or file, and what is wrong with one that its types cannot say. Files are read by `load` alone."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from bench import files
from bench.plan.structs import Client, Latency, Plan, Workload
from proxy.config.problem import Problem, one_of, quoted, within

_FOLDER = Path(__file__).parent / "examples"
_MONTHS, _CLIENTS, _WORKERS = 120, 64, 16
_RATE = 1_000_000_000  # requests a day


def known() -> dict[str, Path]:
    """The examples that come with the bench, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load(name: str) -> Plan:
    """A plan by an example's name, or by a path that ends in `.toml`. Raises `BenchError`: file, key, what is wrong."""
    path = files.found(name, known())
    plan = files.read(path, Plan, problems)
    recorded = plan.workload.recorded
    if recorded is not None:
        placed = msgspec.structs.replace(plan.workload, recorded=str(path.parent.resolve() / recorded))
        plan = msgspec.structs.replace(plan, workload=placed)
    return plan


def problems(plan: Plan) -> Iterator[Problem]:
    for key, value, most in (("months", plan.months, _MONTHS), ("workers", plan.workers, _WORKERS)):
        if not 1 <= value <= most:
            yield Problem(key, "out of range", f"from 1 to {most}")
    yield from _of_workload(plan.workload, plan)
    yield from _of_clients(plan.clients)
    yield from _of_capacity(plan)
    service = plan.service
    for key, share in (("refused_at_most", service.refused_at_most), ("spilled_at_most", service.spilled_at_most)):
        if not 0 <= share <= 1:
            yield Problem(f"service.{key}", "is no share", "from 0 to 1")


def _of_workload(workload: Workload, plan: Plan) -> Iterator[Problem]:
    names = [client.name for client in plan.clients]
    if workload.recorded is None:
        if not 0 < workload.requests_per_day <= _RATE:
            yield Problem("workload.requests_per_day", "out of range", "give some, or name an audit log as `recorded`")
        if not plan.clients:
            yield Problem("clients", "there is none", "give one at least")
        for client in names:
            if not any(client in mix.clients or not mix.clients for mix in workload.mixes):
                yield Problem("workload.mixes", f"none is of {quoted(client)}", "give it one, or one without clients")
    elif workload.mixes or workload.requests_per_day or workload.bursts is not None:
        yield Problem("workload", "is recorded, and made up as well", "leave out mixes, bursts and requests_per_day")
    if workload.model not in plan.units:
        yield Problem("workload.model", quoted(workload.model), f"one of `units`: {one_of(plan.units)}")
    if not -0.9 <= workload.growth <= 3:
        yield Problem("workload.growth", "out of range", "a share of the month before, from -0.9 to 3")
    yield from _of_curves(workload, "workload")
    if (bursts := workload.bursts) is not None:
        busy = bursts.per_hour * bursts.lasts
        if not (bursts.per_hour > 0 and bursts.lasts > 0 and bursts.times >= 1 and busy <= 1800):
            yield Problem("workload.bursts", "out of range", "half of each hour at most, and `times` of 1 or more")
    for number, mix in enumerate(workload.mixes):
        at = f"workload.mixes[{number}]"
        if mix.share <= 0:
            yield Problem(f"{at}.share", "is nothing", "give a share")
        for key, (median, most) in (("prompt", mix.prompt), ("completion", mix.completion)):
            if not 0 <= median <= most <= 10_000_000:
                yield Problem(f"{at}.{key}", "out of range", "the median, and what 95 % are within, in tokens")
        for key, share in (("cached", mix.cached), ("streams", mix.streams)):
            if not 0 <= share <= 1:
                yield Problem(f"{at}.{key}", "is no share", "from 0 to 1")
        for client in mix.clients:
            if client not in names:
                yield Problem(f"{at}.clients", quoted(client), f"one of `clients`: {one_of(names)}")


def _of_curves(having: Workload | Client, at: str) -> Iterator[Problem]:
    for key, curve, lengths in (
        ("day", having.day, (24,) if isinstance(having, Workload) else (0, 24)),
        ("weekend", having.weekend, (0, 24)),
        ("week", having.week, (7,) if isinstance(having, Workload) else (0, 7)),
    ):
        if len(curve) not in lengths or any(not 0 <= value < 1e9 for value in curve) or (curve and not any(curve)):
            yield Problem(f"{at}.{key}", "is no curve", f"give {lengths[-1]} numbers that are not all 0")


def _of_clients(clients: Sequence[Client]) -> Iterator[Problem]:
    names = [client.name for client in clients]
    if len(set(names)) < len(names):
        yield Problem("clients", "two have the same name", "give each its own")
    if len(names) > _CLIENTS:
        yield Problem("clients", f"there are {len(names)}", f"{_CLIENTS} at most; join those that are alike")
    for number, client in enumerate(clients):
        at = f"clients[{number}]"
        if client.share <= 0:
            yield Problem(f"{at}.share", "is nothing", "give a share")
        if client.limits.tokens_per_day is not None:
            yield Problem(f"{at}.limits.tokens_per_day", "is not modelled", "leave it out")
        for tier in client.tiers:
            if tier not in ("provisioned", "standard"):
                yield Problem(f"{at}.tiers", quoted(tier), 'of "provisioned" and "standard"')
        yield from _of_curves(client, at)


def _of_capacity(plan: Plan) -> Iterator[Problem]:
    for model, unit in plan.units.items():
        at = within("units", model)
        if unit.tokens_per_minute <= 0 or unit.completion < 0:
            yield Problem(at, "does nothing", "give tokens_per_minute, and what a completion token counts as")
        if unit.minimum < 1 or unit.step < 1:
            yield Problem(at, "no units", "minimum and step are 1 or more")
    provisioned = plan.provisioned
    if provisioned.burst <= 0:
        yield Problem("provisioned.burst", "is nothing", 'give a time, such as "10s"')
    yield from _of_latency(provisioned.latency, "provisioned")
    names = [provisioned.name, *(standard.name for standard in plan.standard)]
    if len(set(names)) < len(names):
        yield Problem("standard", "two deployments have the same name", "give each its own")
    for number, standard in enumerate(plan.standard):
        yield from _of_latency(standard.latency, f"standard[{number}]")
        if standard.priority < 1:
            yield Problem(f"standard[{number}].priority", "is before the provisioned units", "1 or more")
        if min(standard.prompt, standard.completion, standard.cached or 0.0) < 0:
            yield Problem(f"standard[{number}]", "a price below 0", "give prices of a million tokens")
    if min(provisioned.price_per_hour, provisioned.reservation_per_month or 0.0) < 0:
        yield Problem("provisioned", "a price below 0", "give a unit's price")


def _of_latency(latency: Latency, at: str) -> Iterator[Problem]:
    if latency.spread < 1:
        yield Problem(f"{at}.latency.spread", "is less than 1", "half of all are within so many times the median")
    rises = latency.rises
    if any(later[0] <= earlier[0] for earlier, later in pairwise(rises)):
        yield Problem(f"{at}.latency.rises", "is out of order", "pairs of utilisation and factor, ascending")
    if any(factor < 1 for _, factor in rises):
        yield Problem(f"{at}.latency.rises", "falls below 1", "factors of 1 or more")
