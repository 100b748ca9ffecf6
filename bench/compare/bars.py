"""What Penstock's figures are held against: one table of bars and aims.

A bar is judged by the median over repeats (`bench.compare.judge`). Costs are ratios of pairs, which stand on a machine
where the figures themselves do not.
"""

from enum import Enum

import msgspec

from bench.report.stored import CONTROL, DIRECT


class Against(Enum):
    """What a bar's value is, repeat by repeat."""

    NOTHING = ""  # the figure itself
    RATIO = "against {}"  # Penstock's over the other's
    CHEAPER = "{}'s against ours"  # the other's over Penstock's: the more the better
    DIFFERENCE = "over {}"  # Penstock's less the other's
    STREAMS = "the dearest against the fewest"
    WORKERS = "two workers against one"


_RATIOS = frozenset(set(Against) - {Against.NOTHING, Against.DIFFERENCE})


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure of a phase may be, and what is hoped for.

    other    the proxy whose figure it is compared with
    limit    the most, or where the others' is compared with ours the least
    streams  the counts of streams that it is about; none: all that were measured
    """

    phase: str
    figure: str
    title: str
    against: Against = Against.NOTHING
    other: str = ""
    limit: float
    aim: float | None = None
    streams: tuple[int, ...] = ()

    @property
    def what(self) -> str:
        """The bar's subject in words."""
        against = self.against.value.format(self.other)
        return f"{self.title}, {against}" if against else self.title

    def allows(self, value: float, limit: float) -> bool:
        return value >= limit if self.against is Against.CHEAPER else value <= limit

    def said(self, value: float) -> str:
        return quantity(value, "×" if self.against in _RATIOS else unit(self.figure))

    def demanded(self, limit: float) -> str:
        return f"{'≥' if self.against is Against.CHEAPER else '≤'} {self.said(limit)}"


def unit(figure: str) -> str:
    """The unit that a figure's name tells: `cpu_us_per_event`, `kb_per_stream`, `late_p99_ms`; empty for a count."""
    words = figure.split("_")
    for name, sign in (("us", "µs"), ("ms", "ms"), ("kb", "KB"), ("mb", "MB")):
        if name in words:
            return sign
    return ""


def quantity(value: float, sign: str) -> str:
    """A value with its unit, to three digits or to the hundredth."""
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"
    return f"{number} {sign}".strip()


_EVENT = "CPU per SSE event, 400 streams"
_REQUEST = "CPU per plain request, 16 connections"
_QUEUED = "CPU per plain request, always queued"
_HANDSHAKE = "CPU per full TLS handshake, client certificate"
_GATEWAYS = ("litellm", "portkey")

BARS: tuple[Bar, ...] = (
    *(
        Bar(phase=phase, figure=figure, title=title, against=Against.RATIO, other=other, limit=limit, aim=aim)
        for phase, figure, title, other, limit, aim in (
            ("events", "cpu_us_per_event", _EVENT, "nginx", 1.7, 1.2),
            ("events", "cpu_us_per_event", _EVENT, "envoy", 1.8, 1.0),
            ("plain", "cpu_us_per_request", _REQUEST, "nginx", 3.0, 1.6),
            ("plain", "cpu_us_per_request", _REQUEST, "envoy", 1.9, 1.0),
            ("queued", "cpu_us_per_request", _QUEUED, "nginx", 3.0, 1.6),
            ("queued", "cpu_us_per_request", _QUEUED, "envoy", 1.9, 1.0),
            ("handshake", "cpu_us_per_handshake", _HANDSHAKE, "nginx", 1.8, 1.2),
        )
    ),
    *(
        Bar(phase=phase, figure=figure, title=title, against=Against.CHEAPER, other=other, limit=15.0, aim=50.0)
        for phase, figure, title in (
            ("plain", "cpu_us_per_request", _REQUEST),
            ("events", "cpu_us_per_event", _EVENT),
        )
        for other in _GATEWAYS
    ),
    Bar(phase="latency", figure="added_p50_ms", title="added latency over direct at half load, p50", limit=0.15),
    Bar(
        phase="latency", figure="added_p99_ms", title="added latency over direct at half load, p99", limit=1.0, aim=0.4
    ),
    Bar(
        phase="growth",
        figure="cpu_us_per_event",
        title="CPU per SSE event at one rate over ever more streams",
        against=Against.STREAMS,
        limit=1.25,
        aim=1.0,
        streams=(400, 1000, 4000),
    ),
    Bar(
        phase="memory",
        figure="kb_per_stream",
        title="memory a stream",
        against=Against.DIFFERENCE,
        other=CONTROL,
        limit=30.0,
        aim=10.0,
    ),
    Bar(
        phase="workers",
        figure="cpu_us_per_request",
        title="CPU per plain request",
        against=Against.WORKERS,
        limit=1.05,
    ),
    Bar(
        phase="workers",
        figure="cpu_us_per_event",
        title="CPU per SSE event",
        against=Against.WORKERS,
        limit=1.05,
    ),
    Bar(
        phase="ttft",
        figure="first_event_p99_ms",
        title="time to first event, p99, 200 streams",
        against=Against.DIFFERENCE,
        other="nginx",
        limit=2.0,
    ),
    Bar(phase="memory", figure="worker_idle_mb", title="memory of an idle worker", limit=60.0),
    Bar(phase="soak1000", figure="streams_lost_or_corrupted", title="streams lost or corrupted, 1,000", limit=0.0),
    Bar(
        phase="soak1000",
        figure="late_p99_ms",
        title="delay of events, p99, 1,000 streams",
        against=Against.DIFFERENCE,
        other=DIRECT,
        limit=10.0,
    ),
)
"""From the costs that count most to the rest."""
