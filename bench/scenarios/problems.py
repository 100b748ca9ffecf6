"""What is wrong with a scenario that its types cannot say. Pure."""

import math
from collections.abc import Iterator

import msgspec

from bench.mock.faults import Kind
from bench.scenarios.structs import (
    OF_BACKENDS,
    OF_CLIENTS,
    OF_THE_WHOLE,
    Arrivals,
    Bar,
    Event,
    Load,
    Scenario,
    even_interval,
    named,
)
from proxy.config.problem import Problem, one_of, quoted

_PROCESSES = 64
_CLIENTS = 20_000
_POOL = 10_000
_RATE = 1_000_000
_WORKERS = 64
_TOKENS, _PROMPT = 100_000, 1 << 20  # of one answer; bytes
_BLINK = 0.05  # seconds: faults that come and go faster than that are not kept pace with
_NAMED = 16  # clients that are accounted for one by one


def problems(scenario: Scenario) -> Iterator[Problem]:
    names = [backend.name for backend in scenario.backends]
    for key, entries in (("backends", scenario.backends), ("load", scenario.load)):
        if not entries:
            yield Problem(key, "there is none", "give one at least")
    if len(set(names)) < len(names):
        yield Problem("backends", "two have the same name", "give each its own")
    if scenario.duration <= 0:
        yield Problem("duration", "is nothing", 'give a time, such as "30s"')
    if not 1 <= scenario.processes <= _PROCESSES:
        yield Problem("processes", "out of range", f"from 1 to {_PROCESSES}")
    if not 1 <= scenario.workers <= _WORKERS:
        yield Problem("workers", "out of range", f"from 1 to {_WORKERS}")
    for kind in ("certificates", "keys", "tokens"):
        if not 0 <= getattr(scenario.identities, kind) <= _POOL:
            yield Problem(f"identities.{kind}", "out of range", f"from 0 to {_POOL}")
    if len(named(scenario)) > _NAMED:
        yield Problem("load", f"more than {_NAMED} clients by name", "have [identities] make a pool of them")
    if scenario.arrivals is not None:
        yield from _of_arrivals(scenario.arrivals)
    for index, load in enumerate(scenario.load):
        yield from _of_load(f"load[{index}]", load, scenario)
    for index, event in enumerate(scenario.events):
        yield from _of_event(f"events[{index}]", event, names, scenario)
    for index, bar in enumerate(scenario.bars):
        yield from _of_bar(f"bars[{index}]", bar, names, scenario)


def _of_arrivals(arrivals: Arrivals) -> Iterator[Problem]:
    kind = arrivals.kind
    if kind == "closed" and not 1 <= arrivals.clients <= _CLIENTS:
        yield Problem("arrivals.clients", "out of range", f"from 1 to {_CLIENTS}")
    if kind in ("constant", "poisson", "ramp", "step") and not 0 < arrivals.rate <= _RATE:
        yield Problem("arrivals.rate", "out of range", f"requests a second: more than 0, up to {_RATE}")
    if kind in ("ramp", "step") and not 0 < arrivals.to <= _RATE:
        yield Problem("arrivals.to", "out of range", f"the rate at the end: more than 0, up to {_RATE}")
    if (kind == "replay") != (arrivals.log is not None):
        yield Problem("arrivals.log", f"does not go with kind {quoted(kind)}", 'a file, and kind = "replay"')
    if arrivals.speed <= 0:
        yield Problem("arrivals.speed", "out of range", "more than 0")
    if not 1 <= arrivals.connections <= 65_000:
        yield Problem("arrivals.connections", "out of range", "from 1 to 65000")


def _of_load(key: str, load: Load, scenario: Scenario) -> Iterator[Problem]:
    if scenario.arrivals is None and load.rate is None:
        yield Problem(f"{key}.rate", "missing", "give requests a second, or [arrivals] and a share")
    if scenario.arrivals is not None and load.rate is not None:
        yield Problem(f"{key}.rate", "the rate is that of [arrivals]", "give a share instead")
    if scenario.arrivals is None and load.share is not None:
        yield Problem(f"{key}.share", "there are no [arrivals]", "give a rate instead")
    tokens, prompt = (value if isinstance(value, tuple) else (value, value) for value in (load.tokens, load.prompt))
    if (
        not 0 < (1.0 if load.rate is None else load.rate) <= _RATE
        or not 0 < (1.0 if load.share is None else load.share) <= _RATE
        or not 0 <= load.streams <= 1
        or not 0 <= load.leaves <= 1
        or not 1 <= tokens[0] <= tokens[1] <= _TOKENS
        or not 1 <= prompt[0] <= prompt[1] <= _PROMPT
        or load.leave_after < 1
        or (load.reads != "never" and not 0 <= load.reads < math.inf)
    ):
        yield Problem(
            key,
            "out of range",
            f"rate: up to {_RATE}; streams and leaves: from 0 to 1; tokens: 1 to {_TOKENS}; prompt: 1 to {_PROMPT}; "
            "leave_after: 1 and more",
        )
    if load.client is not None and load.by is not None:
        yield Problem(f"{key}.by", "a client and some of the pool", "give one of them")
    if load.by is not None and not getattr(scenario.identities, load.by):
        yield Problem(f"{key}.by", f"there are no {load.by} in the pool", f"give identities.{load.by}")


def _of_event(key: str, event: Event, names: list[str], scenario: Scenario) -> Iterator[Problem]:
    if (event.fault is None) == (event.gateway is None):
        yield Problem(key, "neither or both of fault and gateway", "give one of them")
    if event.fault is not None and event.fault not in {kind.value for kind in Kind}:
        yield Problem(f"{key}.fault", f"{quoted(event.fault)} is unknown", one_of(kind.value for kind in Kind))
    elif event.fault is not None:
        try:
            event.asked()
        except msgspec.ValidationError as error:
            yield Problem(key, str(error), "see `bench.mock.faults`")
    if event.backend is not None and event.backend not in names:
        yield Problem(f"{key}.backend", f"{quoted(event.backend)} is not defined", one_of(names))
    if event.at >= scenario.duration or (event.until is not None and not event.at < event.until <= scenario.duration):
        yield Problem(key, "is not within the scenario", "at, then until, then duration")
    if (event.on is None) != (event.off is None):
        yield Problem(key, "on and off go together", 'give both, such as on = "2s", off = "2s"')
    elif min(event.on or 0.0, event.off or 0.0) < _BLINK and event.on is not None:
        yield Problem(key, "comes and goes too fast", f"on and off: {_BLINK:g} s and more")
    if event.configuration is not None and event.gateway != "reload":
        yield Problem(f"{key}.configuration", "nothing is reloaded", 'give gateway = "reload"')


def _of_bar(key: str, bar: Bar, names: list[str], scenario: Scenario) -> Iterator[Problem]:
    limits = [limit for limit in (bar.at_most, bar.at_least, bar.times_before) if limit is not None]
    if not all(math.isfinite(limit) for limit in (*limits, bar.slack)):
        yield Problem(key, "its limit is no number", "give one")
    if len(limits) != 1:
        yield Problem(key, f"{len(limits)} limits", "give one of at_most, at_least, times_before")
    if bar.metric in OF_BACKENDS and bar.backend not in names:
        yield Problem(f"{key}.backend", f"{bar.metric} is of one backend", one_of(names))
    if bar.client is not None and bar.client not in named(scenario):
        yield Problem(f"{key}.client", f"{quoted(bar.client)} asks for nothing", one_of(named(scenario)))
    elif bar.client is not None and bar.metric not in OF_CLIENTS:
        yield Problem(f"{key}.client", f"{bar.metric} is of all clients", "leave it out")
    if bar.since >= (scenario.duration if bar.until is None else bar.until) or (bar.until or 0.0) > scenario.duration:
        yield Problem(key, "is not within the scenario", "since, then until, then duration")
    elif bar.metric in OF_THE_WHOLE and (bar.since or bar.until is not None or bar.times_before is not None):
        yield Problem(key, f"{bar.metric} is of the whole scenario", "leave since, until and times_before out")
    for name in ("since", "until"):
        parts = (getattr(bar, name) or 0.0) / scenario.grain
        if abs(parts - round(parts)) > 1e-6:
            yield Problem(f"{key}.{name}", "is between two moments that are counted", f"whole {scenario.grain:g} s")
    if bar.metric.startswith("late_") and not even_interval(scenario):
        yield Problem(f"{key}.metric", "backends that jitter have no schedule", 'jitter = "0s", one between_tokens')
