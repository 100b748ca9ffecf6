"""What the name of a figure says: its title, its unit, which way is better, and whether it follows the machine's speed.

Names are made of words, with the unit among them (`cpu_us_per_event`, `late_p99_ms`, `kb_per_stream`); a name that is
not known is still read that way.
"""

from enum import Enum

import msgspec


class Better(Enum):
    """Which way is better, or neither."""

    LESS = "less"
    MORE = "more"
    NEITHER = "neither"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure by its name.

    factor     from what is stored to what is shown
    floor      differences below it, in what is stored, are none
    of_speed   it follows the machine's speed, so that only ratios between proxies hold on another day
    worse, improved   a change either way, in a word
    """

    name: str
    title: str
    unit: str = ""
    better: Better = Better.NEITHER
    factor: float = 1.0
    floor: float = 1.0
    of_speed: bool = False
    worse: str = "worse"
    improved: str = "better"


class _Unit(msgspec.Struct, frozen=True):
    unit: str
    floor: float
    better: Better
    factor: float = 1.0
    of_speed: bool = False
    worse: str = "worse"
    improved: str = "better"


def _time(unit: str, floor: float, better: Better = Better.LESS) -> _Unit:
    return _Unit(unit, floor, better, of_speed=True, worse="slower", improved="faster")


def _size(unit: str) -> _Unit:
    return _Unit(unit, 0.5, Better.LESS, worse="larger", improved="smaller")


_UNITS = {"us": _time("µs", 0.1), "ms": _time("ms", 0.02), "kb": _size("KB"), "mb": _size("MB")}
_RATE = _time("a second", 0.5, Better.MORE)
_SECONDS = _Unit("s", 0.001, Better.NEITHER)
_SHARE = _Unit("%", 0.005, Better.NEITHER, factor=100.0)
_COUNT = _Unit("", 1.0, Better.NEITHER)

_WRONGS = frozenset("errors failed broken wrong lost corrupted untold unfinished growth descriptors".split())
_NOT_JUDGED = frozenset("asked rate direct".split())  # what was asked for, and what is no proxy's
_WORDS = {
    "cpu": "CPU", "ttft": "time to first token", "late": "lateness of events", "first": "first", "idle": "idle",
    "p50": "p50", "mb": "", "kb": "", "us": "", "ms": "",
}  # fmt: skip
_TITLES = {
    "cpu_us_per_event": "CPU per SSE event",
    "cpu_us_per_request": "CPU per plain request",
    "queued_cpu_us_per_request": "CPU per plain request, always queued",
    "cpu_us_per_handshake": "CPU per full TLS handshake",
    "kb_per_stream": "memory a stream",
    "idle_mb": "memory, idle",
    "worker_idle_mb": "memory of an idle worker",
    "memory_mb": "memory",
    "memory_growth_mb": "growth of memory",
    "descriptor_growth": "growth of descriptors",
    "added_p50_ms": "added latency over direct, p50",
    "added_p99_ms": "added latency over direct, p99",
    "p50_ms": "latency, p50",
    "p99_ms": "latency, p99",
    "direct_p50_ms": "latency without it, p50",
    "direct_p99_ms": "latency without it, p99",
    "late_max_ms": "lateness of events, most",
    "streams_least": "streams open, least",
    "took_s": "took",
    "first_event_p50_ms": "time to first event, p50",
    "first_event_p99_ms": "time to first event, p99",
    "streams_lost_or_corrupted": "streams lost or corrupted",
    "share_of_proxy": "of a core: the proxy",
    "share_of_mock_and_load": "of a core: mock and load",
    "share_of_others": "of a core: others",
    "share_of_rate": "of the rate that was asked for",
    "untold": "refused without a time to come back",
    "open_least": "connections open, least",
    "share_of_capacity": "load, of what its core can carry",
}
_FIRST = (
    *("cpu_us_per_event", "cpu_us_per_request", "queued_cpu_us_per_request", "cpu_us_per_handshake", "added_p50_ms"),
    *("added_p99_ms", "kb_per_stream"),
)


def figure(name: str) -> Figure:
    """What this name says."""
    words = name.split("_")
    unit = _unit(name, words)
    better = unit.better
    if _WRONGS & set(words):
        better = Better.LESS
    elif _NOT_JUDGED & set(words) or words[0] == "share":
        better = Better.NEITHER
    return Figure(
        name=name,
        title=_TITLES.get(name) or _title(words),
        unit=unit.unit,
        better=better,
        factor=unit.factor,
        floor=unit.floor,
        of_speed=unit.of_speed,
        worse=unit.worse,
        improved=unit.improved,
    )


def order(name: str) -> tuple[int, int, str]:
    """To sort by: the costs that count most, what else is better one way, the rest."""
    if name in _FIRST:
        return 0, _FIRST.index(name), ""
    return (1 if figure(name).better is not Better.NEITHER else 2), 0, ""


def _unit(name: str, words: list[str]) -> _Unit:
    if name.endswith(("_per_second", "_per_s")):
        return _RATE
    if "share" in words:
        return _SHARE
    for word, unit in _UNITS.items():
        if word in words:
            return unit
    return _SECONDS if words[-1] == "s" else _COUNT


def _title(words: list[str]) -> str:
    said = [_WORDS.get(word, word) for word in words]
    if words[-2:] in (["per", "second"], ["per", "s"]):
        said = said[:-2]
    elif words[-1] == "s":
        said = said[:-1]
    percentile = next((word for word in said if word[:1] == "p" and word[1:].isdigit()), "")
    plain = " ".join(word for word in said if word and word != percentile)
    return f"{plain}, {percentile}" if percentile and plain else plain or percentile or "_".join(words)
