"""A run as it is stored: everything that was measured, of whom, by what command, on what machine. JSON, by msgspec.

One file holds one call of `python -m bench run` or `… compare`. It is what reports are made from, and what a later run
is compared with.
"""

from pathlib import Path

import msgspec

from bench.failure import BenchError

OURS, DIRECT, CONTROL = "penstock", "direct", "control"
"""What it is all about; no proxy at all; a program that only holds connections (`bench.compare.control`)."""
NOISY = 0.10
"""The share of a core that others may take while something is measured."""

FORMAT = 1
_LARGEST = 1 << 28  # bytes of a file that is read


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it ran on. `cores` says who was bound to which, in words."""

    cpu: str
    cores: str
    kernel: str
    python: str
    openssl: str


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that was measured; `direct` is none at all. `lacks`: what it does not do of the job, in words."""

    name: str
    version: str
    about: str = ""
    lacks: tuple[str, ...] = ()


class Band(msgspec.Struct, frozen=True):
    """What happened from `since` to `until` (seconds from the measured part's start)."""

    what: str
    since: float
    until: float


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a run, by when requests were due. Latencies in milliseconds; None: none was seen.

    `more` has further figures by name, the unit at its end: of the proxy `cpu_share` (of a core), `memory_mb` and
    `descriptors`; `backend_NAME` is how many of the answers came from there.
    """

    at: int
    asked: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    broken: int = 0
    events: int = 0
    ttft_p50: float | None = None
    ttft_p99: float | None = None
    late_p99: float | None = None
    more: dict[str, float] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A bar, what was measured, and whether it holds; in words for people.

    `aim` is what is hoped for beyond the bar, empty where there is none, and `reached` says whether it is.
    """

    what: str
    measured: str
    bar: str
    holds: bool
    aim: str = ""
    reached: bool = False


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario, once, through one proxy.

    repeat      its number; those of the same number were measured one after the other
    story       what it is about, in a few sentences
    streams     at a time, 0 where it is about something else
    figures     by name; the unit is the name's end (`cpu_us_per_event`, `kb_per_stream`, `late_p99_ms`)
    histograms  by name (`ttft`, `first_byte`, `between_events`, `last_byte`, `late`, `handshake`), in microseconds:
                HdrHistogram's compressed V2 encoding, base64
    """

    scenario: str
    proxy: str
    repeat: int
    title: str = ""
    story: str = ""
    streams: int = 0
    workers: int = 1
    duration: float = 0.0
    figures: dict[str, float] = {}
    histograms: dict[str, str] = {}
    seconds: tuple[Second, ...] = ()
    bands: tuple[Band, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """`began` is RFC 3339. `verdicts` are those over all that was measured (ratios between proxies)."""

    command: str
    began: str
    commit: str
    machine: Machine
    proxies: tuple[Proxy, ...]
    measured: tuple[Measured, ...]
    verdicts: tuple[Verdict, ...] = ()
    format: int = FORMAT


def write(path: Path, stored: Stored) -> None:
    """All of it or nothing: whoever is ended meanwhile leaves the file as it was. Raises `BenchError`."""
    text = msgspec.json.format(msgspec.json.encode(stored), indent=1)
    try:
        if path.exists() and not path.is_file():  # a pipe, a terminal
            path.write_bytes(text)
            return
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(text)
        beside.replace(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written ({error.strerror}); name another file") from None


def read(path: Path) -> Stored:
    """Raises `BenchError`, which says what is wrong with the file."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise BenchError(f"{path}: has more than {_LARGEST >> 20} MiB; name a file that a run has stored")
        stored = msgspec.json.decode(text, type=Stored)
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a file that a run has stored") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: is no stored run: {error}") from None
    if stored.format != FORMAT:
        raise BenchError(f"{path}: is of format {stored.format}, this build reads {FORMAT}; run the bench anew")
    return stored
