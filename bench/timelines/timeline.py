"""A timeline's file, as types: one struct a table, a field's comment is its documentation. Times count from the end of
the warm-up.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bench.failure import BenchError
from bench.mock.faults import Fault, Kind
from proxy.config.problem import ConfigError, Problem, one_of, quoted
from proxy.config.shape import misfits
from proxy.config.structs import Seconds, Table
from proxy.config.units import parse_duration

FOLDER = Path(__file__).parent
"""Where the timelines are that come with the bench."""

Extras = dict[str, str | int | float]
Metric = Literal[
    "failed", "broken", "refused", "answered", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "share", "attempts",
    "attempts_per_request", "told_s", "untold",
]  # fmt: skip
"""What a bar is about; `bench.timelines.measure` says how each is measured."""

_OF_BACKENDS = frozenset(("share", "attempts"))


class Backend(Table, frozen=True, kw_only=True):
    """A backend: an instance of the mock, and how the gateway is told of it."""

    name: str
    region: str
    tier: Literal["provisioned", "standard"] = "standard"
    first_token: Seconds = Seconds(0.04)
    between_tokens: Seconds = Seconds(0.01)
    jitter: Seconds = Seconds(0.01)
    capacity: int = 0  # requests at a time, 0: any
    tokens_per_minute: int = 0  # 0: any
    priority: int = 0
    weight: int = 1
    deployment: Extras = msgspec.field(default_factory=dict)  # further keys of it in the gateway
    url: str | None = None  # absent: that of the mock's instance


class Load(Table, frozen=True, kw_only=True):
    """What one client asks for, all the time."""

    client: str = "turbines"
    rate: float  # requests a second
    streams: float = 0.5  # the share of them that are streams
    tokens: int = 16
    priority: Literal["interactive", "batch"] = "interactive"
    regions: tuple[str, ...] = ()


class Event(Table, frozen=True, kw_only=True):
    """What happens: a fault of the mock, or something that is done to the gateway."""

    at: Seconds
    until: Seconds | None = None  # a fault is over then; absent: it stays
    on: Seconds | None = None  # the fault comes and goes: so long it is there,
    off: Seconds | None = None  # and so long not
    fault: str | None = None  # a kind of `bench.mock.faults`
    backend: str | None = None  # whose; absent: all
    status: int | None = None
    code: str | None = None
    probability: float | None = None
    after: int | None = None
    delay: Seconds | None = None
    retry_after: float | None = None
    retry_after_ms: int | None = None
    gateway: Literal["reload", "kill_worker"] | None = None
    configuration: str | None = None  # for a reload: what replaces the timeline's own

    @property
    def what(self) -> str:
        """In a few words."""
        return f"{self.backend or 'all'}: {self.fault}" if self.fault else str(self.gateway)

    def asked(self) -> Fault:
        """What the mock is told. Raises `msgspec.ValidationError`."""
        names = ("status", "code", "probability", "after", "delay", "retry_after", "retry_after_ms")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.delay is not None:
            given["delay"] = float(self.delay)
        return msgspec.convert({"kind": self.fault, "instance": self.backend, **given}, Fault)


class Bar(Table, frozen=True, kw_only=True):
    """What must hold from `since` to `until`: by when a request was due. One of the three limits."""

    says: str
    metric: Metric
    backend: str | None = None
    client: str | None = None  # absent: all
    since: Seconds = Seconds(0.0)
    until: Seconds | None = None  # absent: the end
    at_most: float | None = None
    at_least: float | None = None
    times_before: float | None = None  # at most so many times what it was before the first event,
    slack: float = 0.0  # or so much more, whichever is more: what this machine's own noise is


class Timeline(Table, frozen=True, kw_only=True):
    title: str
    story: str
    duration: Seconds
    warm_up: Seconds = Seconds(2.0)  # at least; then until a second goes by in which every request is answered
    workers: int = 2
    bounds: dict[str, str] = msgspec.field(default_factory=dict)  # `listen.bounds` of the gateway
    model: Extras = msgspec.field(default_factory=dict)  # further keys of it in the gateway
    configuration: str = ""  # further tables of it, as TOML
    backends: tuple[Backend, ...]
    load: tuple[Load, ...]
    events: tuple[Event, ...] = ()
    bars: tuple[Bar, ...] = ()

    @property
    def calm_until(self) -> float:
        """When the first event is."""
        return min((float(event.at) for event in self.events), default=float(self.duration))


class Step(NamedTuple):
    """One thing to do at one time. `off`: the event's fault is over."""

    at: float
    event: Event
    off: bool


class Band(NamedTuple):
    """From when to when a fault was there; a moment where it is none."""

    what: str
    since: float
    until: float


def steps(timeline: Timeline) -> list[Step]:
    """Everything that happens, in order."""
    found: list[Step] = []
    for event in timeline.events:
        for since, until in _spells(event, float(timeline.duration)):
            found.append(Step(since, event, off=False))
            if event.fault and until < timeline.duration:
                found.append(Step(until, event, off=True))
    return sorted(found, key=lambda step: step.at)


def bands(timeline: Timeline) -> list[Band]:
    """Every event as it is drawn."""
    end = float(timeline.duration)
    return [
        Band(event.what, since, until if event.fault else since)
        for event in timeline.events
        for since, until in _spells(event, end)
    ]


def _spells(event: Event, end: float) -> Iterator[tuple[float, float]]:
    until = end if event.until is None else float(event.until)
    if event.on is None or event.off is None:
        yield float(event.at), until
        return
    since = float(event.at)
    while since < until:
        yield since, min(since + event.on, until)
        since += event.on + event.off


def load(path: Path) -> Timeline:
    """The timeline in a file. Raises `BenchError`, which names the file, the key, and what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: is not valid TOML: {error}; mend the syntax there") from None
    try:
        timeline = msgspec.convert(raw, Timeline, dec_hook=_convert, strict=True)
    except msgspec.ValidationError as error:
        found = list(misfits(raw, Timeline)) or [Problem("", str(error), "see `bench.timelines.timeline`")]
        raise BenchError(str(ConfigError(path, found))) from None
    problems = list(_problems(timeline))
    if problems:
        raise BenchError(str(ConfigError(path, problems)))
    return timeline


def known() -> dict[str, Path]:
    """The timelines that come with the bench, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    raise ValueError("not of the right type")


def _problems(timeline: Timeline) -> Iterator[Problem]:
    """What the types cannot say."""
    names = [backend.name for backend in timeline.backends]
    for key, entries in (("backends", timeline.backends), ("load", timeline.load)):
        if not entries:
            yield Problem(key, "there is none", "give one at least")
    if len(set(names)) < len(names):
        yield Problem("backends", "two have the same name", "give each its own")
    for index, one in enumerate(timeline.load):
        if not 0 < one.rate <= 1000 or not 0 <= one.streams <= 1 or one.tokens < 1:
            yield Problem(
                f"load[{index}]", "out of range", "rate: up to 1000; streams: from 0 to 1; tokens: 1 and more"
            )
    for index, event in enumerate(timeline.events):
        yield from _of_event(f"events[{index}]", event, names, timeline.duration)
    for index, bar in enumerate(timeline.bars):
        yield from _of_bar(f"bars[{index}]", bar, names, timeline)


def _of_event(key: str, event: Event, names: list[str], duration: float) -> Iterator[Problem]:
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
    if event.at >= duration or (event.until is not None and not event.at < event.until <= duration):
        yield Problem(key, "is not within the timeline", "at, then until, then duration")
    if (event.on is None) != (event.off is None) or 0.0 in (event.on, event.off):
        yield Problem(key, "on and off go together", 'give both, such as on = "2s", off = "2s"')
    if event.configuration is not None and event.gateway != "reload":
        yield Problem(f"{key}.configuration", "nothing is reloaded", 'give gateway = "reload"')


def _of_bar(key: str, bar: Bar, names: list[str], timeline: Timeline) -> Iterator[Problem]:
    limits = [limit for limit in (bar.at_most, bar.at_least, bar.times_before) if limit is not None]
    if len(limits) != 1:
        yield Problem(key, f"{len(limits)} limits", "give one of at_most, at_least, times_before")
    if bar.metric in _OF_BACKENDS and bar.backend not in names:
        yield Problem(f"{key}.backend", f"{bar.metric} is of one backend", one_of(names))
    if bar.client is not None and bar.client not in {one.client for one in timeline.load}:
        yield Problem(
            f"{key}.client", f"{quoted(bar.client)} asks for nothing", one_of(o.client for o in timeline.load)
        )
    if bar.since >= (timeline.duration if bar.until is None else bar.until) or (bar.until or 0.0) > timeline.duration:
        yield Problem(key, "is not within the timeline", "since, then until, then duration")
