"""What a run measured: counts, and histograms of every time that a client can feel. Adds up over seconds and processes.

Memory is bounded: kinds of errors by number, histograms by their buckets, seconds by whoever takes results away.
"""

from collections import Counter
from collections.abc import Mapping

import msgspec

from bench.load.histogram import Histogram

HISTOGRAMS = ("handshake", "first_byte", "ttft", "between_events", "last_byte", "late", "waited")
_COUNTS = ("answers", "events", "beside", "handshakes", "asked", "refused", "broken", "left", "turned_out", "untold")
_KINDS = 64
_ROUNDING = 1e-9
OTHER = "other"
"""What all kinds of errors count as that come after the first 64."""


class Moments(msgspec.Struct, frozen=True):
    """By what requests are counted: moments of `grain` seconds, and in each the clients `apart`, and all others. Every
    one of these has a place, by number.
    """

    grain: float = 1.0
    apart: tuple[str, ...] = ()

    def place(self, time: float, client: str) -> int:
        """Of a request of a client that was due at a time."""
        which = self.apart.index(client) + 1 if client in self.apart else 0
        return int(time / self.grain + _ROUNDING) * (len(self.apart) + 1) + which

    def within(self, second: int) -> range:
        """The places of a second."""
        every = len(self.apart) + 1
        return range(round(second / self.grain) * every, round((second + 1) / self.grain) * every)

    def of(self, place: int) -> tuple[int, str]:
        """The moment's number, and the client; empty: all others."""
        moment, which = divmod(place, len(self.apart) + 1)
        return moment, self.apart[which - 1] if which else ""


class Tally(msgspec.Struct):
    """The requests that were due in one moment, and what has become of them so far; `ttft` in buckets, as counts.

    `by`: answers by the backend that the gateway names. Of refusals, `told` is the longest `retry-after` in seconds,
    and `untold` how many had none.
    """

    asked: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    broken: int = 0
    left: int = 0
    untold: int = 0
    told: float = 0.0
    by: dict[str, int] = {}
    ttft: dict[int, int] = {}

    @property
    def over(self) -> int:
        """How many have an end."""
        return self.answered + self.refused + self.failed + self.broken + self.left

    def add(self, other: "Tally") -> None:
        """Add another's counts."""
        self.asked += other.asked
        self.answered += other.answered
        self.refused += other.refused
        self.failed += other.failed
        self.broken += other.broken
        self.left += other.left
        self.untold += other.untold
        self.told = max(self.told, other.told)
        for backend, count in other.by.items():
            self.by[backend] = self.by.get(backend, 0) + count


Tallies = Mapping[tuple[int, str], tuple[Tally, Histogram]]
"""By a moment's number and a client, counts and times to the first event, or to all of an answer."""


class Packed(msgspec.Struct):
    """Results on their way from one process to another."""

    counts: dict[str, int]
    errors: dict[str, int]
    histograms: dict[str, dict[int, int]]
    tallies: dict[int, Tally]
    tls: str


class Results:
    """`errors` by kind. Histograms are in seconds; those of requests count from when one was due (closed loop: sent).

    handshake       from a connection's start to the end of its TLS handshake
    waited          until the request was sent
    first_byte      until the first byte of the answer's head
    ttft            until the first event of a stream was whole
    between_events  from one event to the next; those that one read brought came at once
    last_byte       until the end of an answer, streamed or not
    late            how far an event came behind its stream's schedule, which is set by the earliest of its events

    `refused` are answers 429 and 503, of which `untold` did not say when to come again; `broken`, those that went wrong
    after their first byte; `left`, streams that their clients left; `turned_out`, clients that the server had waited
    long enough for to read. `beside`: tokens that were no event, less events that were no token, of answers that are
    over. `tallies`: by the place of `Moments` at which requests were due.
    """

    def __init__(self) -> None:
        self.answers = 0
        self.events = 0
        self.beside = 0
        self.handshakes = 0
        self.asked = 0
        self.refused = 0
        self.broken = 0
        self.left = 0
        self.turned_out = 0
        self.untold = 0
        self.errors: Counter[str] = Counter()
        self.handshake = Histogram()
        self.first_byte = Histogram()
        self.ttft = Histogram()
        self.between_events = Histogram()
        self.last_byte = Histogram()
        self.late = Histogram()
        self.waited = Histogram()
        self.tallies: dict[int, tuple[Tally, Histogram]] = {}
        self.tls = ""

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def tokens(self) -> int:
        """Of completions; exact once all answers are over, and at most five a stream too many before."""
        return self.events + self.beside

    def wrong(self, kind: str, count: int = 1) -> None:
        """Count errors of a kind, of which there is a bounded number."""
        self.errors[kind if kind in self.errors or len(self.errors) < _KINDS else OTHER] += count

    def tally(self, place: int) -> tuple[Tally, Histogram]:
        """Of the requests due at that place: counts, and times to their first event, or all of an answer."""
        found = self.tallies.get(place)
        if found is None:
            found = self.tallies[place] = (Tally(), Histogram())
        return found

    def merge(self, other: "Results") -> None:
        """Add what another has counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, count in other.errors.items():
            self.wrong(kind, count)
        for name in HISTOGRAMS:
            self.histogram(name).merge(other.histogram(name))
        for place, (tally, ttft) in other.tallies.items():
            own, own_ttft = self.tally(place)
            own.add(tally)
            own_ttft.merge(ttft)
        self.tls = self.tls or other.tls

    def histogram(self, name: str) -> Histogram:
        """One of `HISTOGRAMS`."""
        found: Histogram = getattr(self, name)
        return found

    def summary(self) -> dict[str, object]:
        """For people: times in milliseconds."""
        return {
            **{name: getattr(self, name) for name in _COUNTS if name != "beside"},
            "tokens": self.tokens,
            "errors": dict(self.errors),
            "tls": self.tls,
            **{name: self.histogram(name).summary() for name in HISTOGRAMS},
        }

    def packed(self) -> Packed:
        return Packed(
            {name: getattr(self, name) for name in _COUNTS},
            dict(self.errors),
            {name: self.histogram(name).counts for name in HISTOGRAMS},
            {place: msgspec.structs.replace(tally, ttft=ttft.counts) for place, (tally, ttft) in self.tallies.items()},
            self.tls,
        )


def unpacked(packed: Packed) -> Results:
    """The results again."""
    results = Results()
    for name in _COUNTS:
        setattr(results, name, packed.counts[name])
    results.errors.update(packed.errors)
    for name in HISTOGRAMS:
        setattr(results, name, Histogram(packed.histograms[name]))
    results.tallies = {place: (tally, Histogram(tally.ttft)) for place, tally in packed.tallies.items()}
    results.tls = packed.tls
    return results
