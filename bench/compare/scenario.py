"""A scenario as a phase of a comparison: the same load, backends and faults, through one proxy after the other.

A proxy knows one client here, whose certificate all requests show: what it does for many is the gateway's own affair,
and `python -m bench run` measures that. What is done to the gateway itself has no like in others, and is refused.
"""

from functools import partial

import msgspec

from bench.compare.measure import Account, Case, Found, Scene, account, found
from bench.compare.phases import Besides, Phase
from bench.failure import BenchError
from bench.load.generate import generating
from bench.load.job import Identity
from bench.load.outcome import Outcome
from bench.mock.client import ControlFailed, MockControl
from bench.peers.peer import Access
from bench.report.stored import Band
from bench.scenarios.scenario import job, load, mock_config
from bench.scenarios.schedule import Step, bands, lasting, steps
from bench.scenarios.structs import Scenario

_SHOWN = (
    "ttft_p50_ms", "ttft_p99_ms", "last_byte_p50_ms", "last_byte_p99_ms", "late_p50_ms", "late_p99_ms",
    "handshake_p99_ms", "refused", "broken", "unfinished",
)  # fmt: skip


def phase_of(name: str, seconds: float | None) -> Phase:
    """A scenario by its name or file; `seconds`: how long it takes instead of as it says. Raises `BenchError`."""
    scenario = load(name)
    if any(event.gateway for event in scenario.events):
        raise BenchError(f"{name}: does things to the gateway itself, which others have no like of; play it with `run`")
    if seconds is not None:
        scenario = lasting(scenario, seconds)
    case = Case(
        measure=partial(_played, scenario),
        seconds=float(scenario.duration),
        streams=_streams(scenario),
        mock=partial(mock_config, scenario),
    )
    return Phase(title=scenario.title, cases=(case,), besides=Besides.PEERS_AND_DIRECT)


def _streams(scenario: Scenario) -> int:
    """At a time, where it says so: clients that read one stream after the other."""
    if scenario.arrivals is None or scenario.arrivals.kind != "closed":
        return 0
    return scenario.arrivals.clients if all(one.streams == 1 and one.kind == "chat" for one in scenario.load) else 0


def _played(scenario: Scenario, scene: Scene, _case: Case) -> Found:
    wanted = job(scenario, scene.access, (_client(scene.access),))
    with generating(msgspec.structs.replace(wanted, processes=1, apart=())) as running:
        running.run(wanted.warm_up)
        running.fresh()
        before = account(scene)
        for step in steps(scenario):
            running.run_until(running.began + step.at)
            _happen(scene.mock, step)
        running.run_until(running.began + wanted.duration)
        used = account(scene).since(before)
        running.finish()
        return _found(scenario, running.outcome(), used)


def _client(access: Access) -> Identity:
    certificate, key = access.certificate or (None, None)
    return Identity(certificate=certificate, private_key=key)


def _happen(mock: MockControl, step: Step) -> None:
    event = step.event
    try:
        if step.off:
            mock.clear(instance=event.backend, kind=event.fault)
        else:
            fault = event.asked()
            mock.fault(fault.kind, **{name: getattr(fault, name) for name in fault.__struct_fields__ if name != "kind"})
    except (OSError, ControlFailed) as error:
        raise BenchError(f"at {step.at:g} s, {step.what}: {error}") from None


def _found(scenario: Scenario, outcome: Outcome, used: Account) -> Found:
    """Costs of all that was done, by what the scenario is about, and no costs where it is about several things."""
    rates = {"event": outcome.rates.events, "request": outcome.rates.answers, "handshake": outcome.rates.handshakes}
    counts = {name: round(rate * outcome.seconds) for name, rate in rates.items()}
    counted = costs_of(scenario)
    shown = outcome.figures()
    if not any(counts.values()):
        raise BenchError("nothing came through")
    if counted:
        figures = used.each(counts[counted], counted, outcome.results)
    else:
        several = {f"{name}s_per_second": rate for name, rate in rates.items() if rate}
        figures = several | used.shares() | {"errors": float(outcome.results.failed)}
    figures |= {each: shown[each] for each in _SHOWN if shown.get(each)}
    return msgspec.structs.replace(
        found(figures, outcome.results),
        seconds=outcome.timeline,
        bands=tuple(Band(band.what, band.since, band.until) for band in bands(scenario)),
    )


def costs_of(scenario: Scenario) -> str:
    """What CPU is divided by: the same for every proxy. Of several things in an open loop, by requests, which are the
    same for all; empty for several in a closed one, where each proxy does as much of either as it can.
    """
    kinds = {"event" if one.kind == "chat" and one.streams == 1 else one.kind for one in scenario.load}
    if kinds in ({"event"}, {"handshake"}):
        return kinds.pop()
    plain = all(one.kind == "embeddings" or (one.kind == "chat" and one.streams == 0) for one in scenario.load)
    open_loop = scenario.arrivals is None or scenario.arrivals.kind != "closed"
    return "request" if plain or open_loop else ""
