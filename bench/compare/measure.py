"""The phases of a comparison, each the same for every proxy. A phase returns figures by name."""

import time

from bench.compare.cpu import cpu_seconds, memory_bytes
from bench.compare.proxies import Running
from bench.load.engine import Load, Results, Target
from bench.load.workload import plain, stream

Figures = dict[str, float]
_TOKENS = 400
_WARM = 1.0


def _measured(load: Load, proxy: Running, seconds: float) -> tuple[Results, float]:
    """Run for a time; what was measured in it, and the CPU seconds the proxy used."""
    load.results = results = Results()
    pids = proxy.processes
    before = cpu_seconds(pids)
    load.run(seconds)
    return results, cpu_seconds(pids) - before


def plain_requests(proxy: Running, seconds: float, connections: int = 16) -> Figures:
    """Keep-alive connections, closed loop, saturating."""
    load = Load(proxy.target)
    load.start(connections, plain("localhost", {}))
    load.run(_WARM)
    results, cpu = _measured(load, proxy, seconds)
    load.close()
    return {
        "cpu_us_per_request": cpu / max(1, results.answers) * 1e6,
        "requests_per_second": results.answers / seconds,
        "errors": sum(results.errors.values()),
    }


def events(proxy: Running, seconds: float, streams: int = 400, interval: float = 0.025) -> Figures:
    """Streams of events at a fixed pace."""
    load = Load(proxy.target)
    load.start(streams, stream("localhost", {}, _TOKENS), interval=interval, ramp=2.0)
    load.run(_WARM)
    results, cpu = _measured(load, proxy, seconds)
    load.close()
    return {
        "cpu_us_per_event": cpu / max(1, results.events) * 1e6,
        "events_per_second": results.events / seconds,
        "late_p99_ms": results.late.percentile(0.99) * 1000,
        "errors": sum(results.errors.values()),
    }


def handshakes(proxy: Running, seconds: float, at_once: int = 8) -> Figures:
    """Full TLS handshakes with a client certificate, nothing resumed."""
    load = Load(proxy.target)
    load.start(at_once, None)
    load.run(_WARM)
    results, cpu = _measured(load, proxy, seconds)
    load.close()
    return {
        "cpu_us_per_handshake": cpu / max(1, results.handshakes) * 1e6,
        "handshakes_per_second": results.handshakes / seconds,
        "errors": sum(results.errors.values()),
    }


def first_bytes(target: Target, seconds: float, headers: dict[str, str], streams: int = 200) -> Figures:
    """Time to the first byte of short streams, many at a time."""
    load = Load(target)
    load.start(streams, stream("localhost", headers, 20), ramp=2.0)
    load.run(_WARM)
    load.results = results = Results()
    load.run(seconds)
    load.close()
    return {
        "first_byte_p50_ms": results.first_byte.percentile(0.5) * 1000,
        "first_byte_p99_ms": results.first_byte.percentile(0.99) * 1000,
        "errors": sum(results.errors.values()),
    }


def memory(proxy: Running, streams: int = 1000) -> Figures:
    """Idle, and with many streams open; the difference is what a stream costs, both its connections counted."""
    idle = memory_bytes(proxy.processes)
    load = Load(proxy.target)
    load.start(streams, stream("localhost", {}, _TOKENS), ramp=4.0)
    load.run(3.0)
    busy = memory_bytes(proxy.processes)
    errors = sum(load.results.errors.values())
    load.close()
    time.sleep(0.5)
    workers = max(1, len(proxy.processes) - 1)
    return {
        "idle_mb": idle / 1e6,
        "worker_idle_mb": idle / 1e6 if workers < 1 else _worker_mb(proxy),
        "kb_per_stream": (busy - idle) / streams / 1000,
        "errors": errors,
    }


def _worker_mb(proxy: Running) -> float:
    """The largest of the proxy's processes after the first."""
    return max((memory_bytes([pid]) for pid in proxy.processes[1:]), default=0) / 1e6


def soak(
    target: Target, seconds: float, headers: dict[str, str], streams: int = 1000, interval: float = 0.05
) -> Figures:
    """Many streams for a long time: none may be lost, none may have a wrong byte."""
    load = Load(target)
    load.start(streams, stream("localhost", headers, _TOKENS), interval=interval, ramp=5.0)
    load.results = results = Results()
    load.run(seconds)
    load.finish(_TOKENS * interval + 10)
    unfinished = load.open
    load.close()
    return {
        "streams": results.answers,
        "events": results.events,
        "errors": sum(results.errors.values()) + unfinished,
        "late_p50_ms": results.late.percentile(0.5) * 1000,
        "late_p99_ms": results.late.percentile(0.99) * 1000,
    }
