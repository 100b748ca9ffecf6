"""`python -m bench load`: load on any address, measured and checked; prints JSON, and each second on stderr.

The address must lead to the mock, directly or through proxies: its answers are what every byte is compared with.
"""

import contextlib
import json
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from bench.failure import BenchError
from bench.load.generate import Generating, generating
from bench.load.job import Arrivals, Identity, Job, Mix
from bench.load.outcome import Outcome
from bench.load.roster import identities
from bench.load.show import Lines

Kind: TypeAlias = Literal["stream", "plain", "embeddings", "handshake"]
Pattern: TypeAlias = Literal["closed", "constant", "poisson", "ramp", "step", "replay"]
KINDS: dict[str, Kind] = {"plain": "plain", "streams": "stream", "embeddings": "embeddings", "handshakes": "handshake"}
"""What is asked for, by the names that people use."""
PATTERNS: tuple[Pattern, ...] = ("closed", "constant", "poisson", "ramp", "step")
_AWAY = 3600.0  # seconds that who never reads is there


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `mix`: shares by kind. Sizes are (least, most), the prompt's in bytes; times are in seconds.
    `rate` 0, and no other word on arrivals: closed loop.
    """

    url: str
    root: Path | None
    mix: tuple[tuple[str, float], ...]
    certificate: Path | None = None
    key: Path | None = None
    api_key: str | None = None
    token: str | None = None
    identities: Path | None = None
    model: str = "gpt-4o"
    arrivals: Pattern | None = None
    connections: int = 16
    rate: float = 0.0
    to: float = 0.0
    replay: Path | None = None
    speed: float = 1.0
    seconds: float = 10.0
    warm: float = 1.0
    ramp: float = 1.0
    prompt: tuple[int, int] = (228, 228)
    tokens: tuple[int, int] = (16, 16)
    interval: float = 0.0
    leave_share: float = 0.0
    leave_after: int = 10
    slow_share: float = 0.0
    slow_rate: float = 4000.0
    never_read: int = 0
    processes: int = 1
    seed: int = 0


def run(options: Options) -> int:
    """Run the load and print what it measured; 1 if anything went wrong in it. Raises `BenchError`."""
    raise_descriptor_limit()
    job = job_of(options)
    with _beside(options, job) as beside, generating(job, Lines(sys.stderr)) as load:
        load.warm()
        load.run_until(load.began + job.duration)
        if job.arrivals.kind != "closed":
            load.finish()
        outcome = load.outcome()
        errors = outcome.results.errors + (Counter() if beside is None else beside.outcome().results.errors)
    print(json.dumps(figures(outcome) | {"errors": dict(errors)}, indent=2))
    return 1 if errors else 0


def raise_descriptor_limit() -> None:
    """Every connection is a descriptor: as many as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def figures(outcome: Outcome) -> dict[str, object]:
    """What is printed. `cpu_us_each`: the generator's own, for each event or, where there are none, each answer."""
    own = outcome.own
    each = own.cpu_us_per_event or own.cpu_us_per_request
    return {
        "seconds": round(outcome.seconds, 3),
        **outcome.results.summary(),
        "unfinished": outcome.unfinished,
        "per_second": msgspec.to_builtins(outcome.rates),
        "generator": {"cpu_us_each": each, **msgspec.to_builtins(own)},
    }


def job_of(options: Options) -> Job:
    """Raises `BenchError`."""
    return Job(
        url=options.url,
        root=str(options.root) if options.root is not None else None,
        identities=_identities(options),
        mixes=tuple(_mixes(options)),
        arrivals=_arrivals(options),
        duration=options.seconds,
        warm_up=options.warm + options.ramp if _pattern(options) == "closed" else options.warm,
        connections=options.connections,
        processes=options.processes,
        seed=options.seed,
    )


def _pattern(options: Options) -> Pattern:
    if options.replay is not None:
        return "replay"
    return options.arrivals or ("constant" if options.rate else "closed")


def _arrivals(options: Options) -> Arrivals:
    return Arrivals(
        kind=_pattern(options),
        clients=options.connections,
        ramp=options.ramp,
        rate=options.rate,
        to=options.to,
        log=str(options.replay) if options.replay is not None else None,
        speed=options.speed,
    )


def _identities(options: Options) -> tuple[Identity, ...]:
    if options.identities is not None:
        return identities(options.identities)
    if (options.certificate is None) != (options.key is None):
        raise BenchError("a client certificate needs both --certificate and --key")
    one = Identity(
        client="bench",
        certificate=str(options.certificate) if options.certificate is not None else None,
        private_key=str(options.key) if options.key is not None else None,
        api_key=options.api_key,
        token=options.token,
    )
    return (one,)


def _mixes(options: Options) -> Iterator[Mix]:
    """Of each kind, those who read at once and those who read slowly."""
    for name, share in options.mix:
        mix = Mix(
            kind=KINDS[name],
            share=share * (1 - options.slow_share),
            model=options.model,
            prompt=options.prompt,
            tokens=options.tokens,
            interval=options.interval,
            leaves=options.leave_share if name == "streams" else 0.0,
            leave_after=options.leave_after,
        )
        yield mix
        if options.slow_share and name != "handshakes":
            slow = {"share": share * options.slow_share, "reads": options.slow_rate, "interval": 0.0}
            yield msgspec.structs.replace(mix, **slow)


@contextlib.contextmanager
def _beside(options: Options, job: Job) -> Iterator[Generating | None]:
    """Those who never read, in a process of their own: there before the others come."""
    if not options.never_read:
        yield None
        return
    mix = Mix(kind="stream", model=options.model, prompt=options.prompt, tokens=options.tokens, reads="never")
    away = msgspec.structs.replace(
        job,
        mixes=(mix,),
        arrivals=Arrivals(kind="closed", clients=options.never_read, ramp=options.ramp),
        duration=_AWAY,
        processes=1,
    )
    with generating(away, apart=True) as load:
        yield load
