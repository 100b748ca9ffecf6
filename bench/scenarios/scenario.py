"""Scenarios by name or file, and what others need of one: the load generator's job, the mock's configuration.

Files are read by `load` alone; all else is pure.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import files
from bench.load.job import Arrivals, Identity, Job, Mix
from bench.mock.config import Deployment, Instance, MockConfig
from bench.peers.peer import Access
from bench.scenarios.problems import problems
from bench.scenarios.structs import CHAT, EMBEDDINGS, Load, Scenario, clients_of, even_interval, models, named
from certs.pki import Pki

LOADS, FAILURES = "loads", "failures"
"""The families that come with the bench; each is a folder beside this file."""
API_KEY = "bench"
"""What a proxy shows the mock."""

_FOLDER = Path(__file__).parent
_CONNECTIONS = 2_000  # of a load at a constant rate
_REMEMBERED = 1_000  # requests; what was asked is counted, not looked up


def known(family: str | None = None) -> dict[str, Path]:
    """The scenarios that come with the bench, by name; of one family, or all."""
    families = (LOADS, FAILURES) if family is None else (family,)
    return {path.stem: path for one in families for path in sorted((_FOLDER / one).glob("*.toml"))}


def load(name: str | Path) -> Scenario:
    """A scenario by its name, or by a path that ends in `.toml`. Raises `BenchError`: file, key, what is wrong."""
    path = found(name)
    scenario = files.read(path, Scenario, problems)
    return _placed(scenario, path)


def found(name: str | Path) -> Path:
    """The file of a scenario. Raises `BenchError` for a name that there is none of."""
    return name if isinstance(name, Path) else files.found(name, known())


def _placed(scenario: Scenario, path: Path) -> Scenario:
    """With the path of a log made absolute."""
    arrivals = scenario.arrivals
    if arrivals is None or arrivals.log is None:
        return scenario
    log = str(path.parent.resolve() / arrivals.log)
    return msgspec.structs.replace(scenario, arrivals=msgspec.structs.replace(arrivals, log=log))


def job(scenario: Scenario, target: Access, identities: Sequence[Identity]) -> Job:
    """The scenario's load as the generator takes it, on this target, with these who ask."""
    given = scenario.arrivals
    if given is None:
        total = sum(load.rate or 0.0 for load in scenario.load)
        arrivals, connections = Arrivals(kind="constant", rate=total), _CONNECTIONS
    else:
        arrivals = Arrivals(
            kind=given.kind,
            clients=given.clients,
            ramp=float(given.ramp),
            rate=given.rate,
            to=given.to,
            log=given.log,
            speed=given.speed,
        )
        connections = given.connections
    return Job(
        url=target.url,
        root=target.root,
        identities=tuple(identities),
        mixes=tuple(mix for load in scenario.load for mix in _mixes(scenario, load, identities)),
        arrivals=arrivals,
        duration=float(scenario.duration),
        warm_up=float(scenario.warm_up),
        connections=connections,
        processes=scenario.processes,
        headers=target.headers,
        path=target.path,
        check=target.check,
        grain=scenario.grain,
        apart=named(scenario),
    )


def _mixes(scenario: Scenario, load: Load, identities: Sequence[Identity]) -> Iterator[Mix]:
    """What one load is to the generator: its streams, and the rest."""
    weight = load.rate or load.share or 1.0
    asked = Mix(
        kind="plain",
        model=EMBEDDINGS if load.kind == "embeddings" else CHAT,
        prompt=_range(load.prompt),
        tokens=_range(load.tokens),
        reads=load.reads,
        identities=_who(scenario, load, identities),
    )
    if load.kind != "chat":
        yield msgspec.structs.replace(asked, kind=load.kind, share=weight)
        return
    if load.streams:
        yield msgspec.structs.replace(
            asked,
            kind="stream",
            share=weight * load.streams,
            interval=even_interval(scenario),
            leaves=load.leaves,
            leave_after=load.leave_after,
        )
    if load.streams < 1:
        yield msgspec.structs.replace(asked, share=weight * (1 - load.streams))


def _range(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _who(scenario: Scenario, load: Load, identities: Sequence[Identity]) -> tuple[str, ...]:
    """Which of those who are there ask this. None of those it names are: everyone, such as the one client of a peer."""
    wanted = clients_of(scenario, load)
    there = tuple(identity.client for identity in identities if identity.client in wanted)
    return () if len(there) == len(identities) else there


def mock_config(scenario: Scenario, pki: Pki) -> MockConfig:
    """The mock of its backends, each an instance of its own with the api-key `API_KEY`."""
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        remember=_REMEMBERED,
        instances=tuple(
            Instance(
                name=backend.name,
                region=backend.region,
                tier=backend.tier,
                api_key=API_KEY,
                deployments=tuple(
                    Deployment(
                        name=model,
                        first_token=backend.first_token,
                        between_tokens=backend.between_tokens,
                        jitter=backend.jitter,
                        capacity=backend.capacity,
                        tokens_per_minute=backend.tokens_per_minute,
                    )
                    for model in models(scenario)
                ),
            )
            for backend in scenario.backends
        ),
    )
