"""Runs as they are stored, made up: a comparison of many proxies, and scenarios second by second."""

import math
import random
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from bench.report.stored import Band, Machine, Measured, Proxy, Second, Stored, Verdict

MACHINE = Machine(
    cpu="AMD EPYC 9254",
    cores="2; proxy on 0, mock and load on 1",
    kernel="6.1",
    python="CPython 3.11.2",
    openssl="3.0.19",
)
PROXIES = (
    Proxy(name="penstock", version="0.3.0", about="every stage on"),
    Proxy(name="nginx", version="1.22.1", about="proxy_pass, kept-alive TLS upstream", lacks=("tokens", "metering")),
    Proxy(name="haproxy", version="2.6.12", lacks=("metering",)),
    Proxy(name="envoy", version="1.31.0", lacks=("metering",)),
    Proxy(name="litellm", version="1.52.1", lacks=("client certificates",)),
    Proxy(name="portkey", version="1.9.0", lacks=("client certificates", "TLS")),
    Proxy(name="hypercorn", version="0.18.0", about="plain pass-through with httpx"),
)
EVENT = {"penstock": 60, "nginx": 36, "haproxy": 27, "envoy": 44, "litellm": 1900, "portkey": 640, "hypercorn": 420}
REQUEST = {
    "penstock": 280,
    "nginx": 88,
    "haproxy": 71,
    "envoy": 150,
    "litellm": 9300,
    "portkey": 2400,
    "hypercorn": 3100,
}
HANDSHAKE = {"penstock": 2100, "nginx": 1400, "haproxy": 1350, "envoy": 1700}
MEMORY = {"penstock": 41, "nginx": 38, "haproxy": 52, "envoy": 95, "litellm": 210, "portkey": 88, "hypercorn": 120}


def histogram(values: Sequence[float]) -> str:
    """Of milliseconds."""
    one = HdrHistogram(1, 3_600_000_000, 3)
    for value in values:
        one.record_value(max(1, int(value * 1000)))
    return str(one.encode(), "ascii")


def verdict(what: str, measured: str, bar: str, *, holds: bool = True, aim: str = "", reached: bool = False) -> Verdict:
    return Verdict(what=what, measured=measured, bar=bar, holds=holds, aim=aim, reached=reached)


def comparison(
    *, seed: int = 0, repeats: int = 3, noise: float = 0.02, speed: float = 1.0, factor: float = 1.0, began: str = ""
) -> Stored:
    """`speed`: how slow the machine is; `factor`: what Penstock's CPU costs over what they were."""
    rng = random.Random(seed)
    costs = {name: (factor if name == "penstock" else 1.0) * speed for name in EVENT}

    def noisy(value: float) -> float:
        return value * math.exp(rng.gauss(0, noise))

    measured = []
    for repeat in range(repeats):
        for proxy in EVENT:
            mean = 50 + REQUEST[proxy] * 0.02
            first = histogram([noisy(mean) * rng.lognormvariate(0, 0.12) for _ in range(400)])
            late = histogram([EVENT[proxy] * 0.02 * rng.lognormvariate(0, 0.9) for _ in range(600)])
            each = noisy(EVENT[proxy] * costs[proxy])
            request = noisy(REQUEST[proxy] * costs[proxy])
            shares = {"share_of_proxy": 0.9, "share_of_others": abs(noisy(0.01))}
            measured += [
                Measured(
                    scenario="events",
                    title="400 streams, an event each 25 ms",
                    proxy=proxy,
                    repeat=repeat,
                    streams=400,
                    duration=6.0,
                    figures={"cpu_us_per_event": each, "events_per_second": 16_000.0, "late_p99_ms": noisy(each / 3)}
                    | shares
                    | {"errors": 0.0},
                    histograms={"ttft": first, "late": late},
                ),
                Measured(
                    scenario="plain",
                    title="plain requests, 16 connections, as fast as it goes",
                    proxy=proxy,
                    repeat=repeat,
                    duration=6.0,
                    figures={"cpu_us_per_request": request, "requests_per_second": 1e6 / request}
                    | shares
                    | {"errors": 0.0},
                    histograms={"first_byte": histogram([noisy(REQUEST[proxy] / 100) for _ in range(1000)])},
                ),
            ]
            measured += [
                Measured(
                    scenario="growth",
                    title="16,000 events a second over ever more streams",
                    proxy=proxy,
                    repeat=repeat,
                    streams=streams,
                    figures={"cpu_us_per_event": noisy(EVENT[proxy] * costs[proxy] * (1.6 - 0.08 * math.log(streams)))},
                )
                for streams in (50, 200, 400, 1000, 4000)
            ]
            if proxy in HANDSHAKE:
                measured.append(
                    Measured(
                        scenario="handshake",
                        title="full TLS handshakes with a client certificate",
                        proxy=proxy,
                        repeat=repeat,
                        figures={"cpu_us_per_handshake": noisy(HANDSHAKE[proxy] * costs[proxy])},
                        histograms={"handshake": histogram([noisy(HANDSHAKE[proxy] / 300) for _ in range(300)])},
                    )
                )
        measured += [
            Measured(
                scenario="workers",
                title="one worker and two, each with as much to do",
                proxy="penstock",
                repeat=repeat,
                streams=100 * workers,
                workers=workers,
                figures={"cpu_us_per_event": noisy(62.0), "cpu_us_per_request": noisy(290.0)},
            )
            for workers in (1, 2)
        ]
    measured += [
        Measured(
            scenario="memory",
            title="memory with 4,000 streams open",
            proxy=proxy,
            repeat=0,
            streams=4000,
            figures={"kb_per_stream": value, "idle_mb": 4.0 + value / 3, "errors": 0.0},
        )
        for proxy, value in {**MEMORY, "control": 22}.items()
    ]
    return Stored(
        command="python -m bench compare --with nginx,haproxy,envoy,litellm,portkey,hypercorn --out report",
        began=began or "2026-11-26T03:00:00Z",
        commit="ab10b27c1d22",
        machine=MACHINE,
        proxies=PROXIES,
        measured=tuple(measured),
        verdicts=(
            verdict("CPU per SSE event, 400 streams, against nginx", "1.67 × (1.62 – 1.71)", "≤ 1.7 ×", aim="≤ 1.2 ×"),
            verdict("CPU per plain request, against nginx", "3.18 × (3.1 – 3.3)", "≤ 3 ×", holds=False, aim="≤ 1.6 ×"),
            verdict("CPU per SSE event, litellm's against ours", "31.7 × (30 – 33)", "≥ 15 ×", aim="≥ 50 ×"),
            verdict("memory a stream, over control", "19 KB", "≤ 30 KB", aim="≤ 10 KB"),
            verdict("added latency over direct, p99", "0.38 ms (0.35 – 0.4)", "≤ 1 ms", aim="≤ 0.4 ms", reached=True),
            verdict("errors and wrong bytes", "0", "0"),
        ),
    )  # fmt: skip


def played(*, seed: int = 0, duration: int = 60) -> Stored:
    """One scenario with a fault in it, second by second."""
    rng = random.Random(seed)

    def second(at: int) -> Second:
        down = duration * 0.3 <= at < duration * 0.6
        asked = rng.randint(90, 110)
        failed, refused = (rng.randint(0, 8), rng.randint(0, 5)) if down else (0, 0)
        return Second(
            at=at,
            asked=asked,
            answered=asked - failed - refused,
            failed=failed,
            refused=refused,
            broken=rng.randint(0, 2) if down else 0,
            events=asked * 60,
            ttft_p50=rng.gauss(80 if down else 55, 3),
            ttft_p99=rng.lognormvariate(math.log(900 if down else 120), 0.2),
            late_p99=rng.lognormvariate(math.log(12), 0.2),
            more={
                "attempts": asked + 3 * failed,
                "streams": 190.0 + rng.randint(0, 10),
                "backend_swc": 0 if down else asked * 0.6,
                "backend_frc": asked - failed - refused if down else asked * 0.4,
                "cpu_share": rng.gauss(0.62, 0.03),
                "memory_mb": 96 + 8 * (1 - math.exp(-at / 20)),
                "descriptors": 520.0 + rng.randint(-10, 10),
                "worker_1_cpu_share": rng.gauss(0.6, 0.03),
                "supervisor_cpu_share": 0.02,
                "worker_1_memory_mb": 70.0,
                "supervisor_memory_mb": 30.0,
            },
        )

    seconds = tuple(second(at) for at in range(duration))
    shares = {"ttft": (60, 0.25), "first_byte": (52, 0.2), "late": (2, 0.9), "handshake": (6, 0.3)}
    return Stored(
        command="python -m bench run mixed-regional-failure --out report",
        began="2026-11-26T03:20:00Z",
        commit="ab10b27c1d22",
        machine=MACHINE,
        proxies=PROXIES[:1],
        measured=(
            Measured(
                scenario="mixed-regional-failure",
                title="Mixed load while a region fails",
                proxy="penstock",
                repeat=0,
                workers=1,
                duration=float(duration),
                figures={
                    "answered_per_s": 97.0, "events_per_s": 5900.0, "ttft_p50_ms": 57.0, "ttft_p99_ms": 880.0,
                    "late_p99_ms": 14.0, "cpu_us_per_event": 66.0, "memory_growth_mb": 8.0, "wrong_bytes": 0.0,
                },
                histograms={
                    name: histogram([rng.lognormvariate(math.log(mean), spread) for _ in range(2000)])
                    for name, (mean, spread) in shares.items()
                },
                seconds=seconds,
                bands=(
                    Band("swc: hangs", duration * 0.3, duration * 0.6),
                    Band("a worker is killed", duration * 0.75, duration * 0.75),
                ),
                verdicts=(
                    verdict("not one wrong byte", "0", "≤ 0"),
                    verdict("clients are answered", "97.4 %", "≥ 99 %", holds=False),
                ),
            ),
        ),
    )  # fmt: skip
