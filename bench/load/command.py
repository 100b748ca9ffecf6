"""`python -m bench load`: load on any address, measured and checked; prints JSON.

The address must lead to the mock, directly or through proxies: its answers are what every byte is compared with.
"""

import json
import resource
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.failure import BenchError
from bench.load.connection import Plan
from bench.load.engine import Load, Target
from bench.load.workload import plain, stream

MODES = ("plain", "streams", "handshakes")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `rate` 0: closed loop. Shares are of the connections; times are in seconds."""

    url: str
    root: Path
    mode: str
    certificate: Path | None = None
    key: Path | None = None
    api_key: str | None = None
    model: str = "gpt-4o"
    connections: int = 16
    rate: float = 0.0
    seconds: float = 10.0
    warm: float = 1.0
    ramp: float = 1.0
    tokens: int = 16
    interval: float = 0.0
    leave_share: float = 0.0
    leave_after: int = 10
    never_read: int = 0


def run(options: Options) -> int:
    """Run the load and print what it measured; 1 if anything went wrong in it. Raises `BenchError`."""
    raise_descriptor_limit()
    load = Load(_target(options))
    plan = _plan(options)
    leaving = round(options.connections * options.leave_share)
    if options.rate:
        load.offer(options.rate, plan, options.connections)
    else:
        if options.connections > leaving:
            load.start(options.connections - leaving, plan, options.ramp)
        if leaving:
            load.start(leaving, msgspec.structs.replace(plan, leave_after=options.leave_after), options.ramp)
    if options.never_read:
        load.start(options.never_read, msgspec.structs.replace(plan, reads=False), options.ramp)
    load.run(options.warm)
    load.results = results = type(load.results)()
    began, cpu = time.monotonic(), time.process_time()
    load.run(options.seconds)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    work = results.events or results.answers or results.handshakes
    load.close()
    own = {"cpu_share": round(cpu / seconds, 3), "cpu_us_each": round(cpu / max(1, work) * 1e6, 2)}
    print(json.dumps({"seconds": round(seconds, 3), **results.summary(), "generator": own}, indent=2))
    return 1 if results.failed else 0


def raise_descriptor_limit() -> None:
    """Every connection is a descriptor: as many as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _plan(options: Options) -> Plan:
    headers = {"api-key": options.api_key} if options.api_key else {}
    host = urlsplit(options.url).hostname or ""
    match options.mode:
        case "plain":
            return Plan(workload=plain(host, headers, options.tokens, options.model))
        case "streams":
            return Plan(workload=stream(host, headers, options.tokens, options.model), interval=options.interval)
        case _:
            return Plan()


def _target(options: Options) -> Target:
    try:
        url = urlsplit(options.url)
        host, port = url.hostname, url.port or 443
    except ValueError as error:
        raise BenchError(f"'{options.url}' is no URL: {error}") from None
    if url.scheme != "https" or host is None:
        raise BenchError(f"'{options.url}' must be https://HOST:PORT")
    if (options.certificate is None) != (options.key is None):
        raise BenchError("a client certificate needs both --certificate and --key")
    pair = (str(options.certificate), str(options.key)) if options.certificate else None
    try:
        return Target(host, port, str(options.root), pair)
    except ssl.SSLError as error:
        raise BenchError(f"the certificates are of no use: {error.reason or error}") from None
    except OSError as error:
        raise BenchError(f"{options.url}, or a certificate file: {error.strerror}") from None
