"""A backend that dies: before the head of its answer, and in the middle of one."""

import contextlib
import json
import socket
from collections import Counter
from functools import partial
from typing import Any

import msgspec

from bench.faults.finding import Finding, nothing_wrong
from bench.faults.world import FIRST, SECOND, Line, World
from bench.load.connection import Plan
from bench.load.engine import Target
from bench.load.workload import plain, stream

_BEFORE: dict[str, dict[str, object]] = {
    "reset": {},
    "error": {"status": 503},
    "throttle": {"retry_after_ms": 2000},
}
_MIDDLE = ("reset_stream", "close_stream", "end_stream")
_AFTER = 5
_FAILURES = 5  # in a row, after which a breaker opens unless it is configured otherwise
_TRIES = 12
_RECOVERED_WITHIN = 15  # seconds; a breaker's first time open is 5 unless it is configured otherwise


def before_head(world: World) -> list[Finding]:
    """The first backend fails every request; the second answers, and no client notices."""
    findings = []
    for kind, more in _BEFORE.items():
        seen = len(world.records())
        world.mock.fault(kind, instance=FIRST, **more)
        with world.load() as load:
            load.start(16, Plan(workload=plain("localhost", {})))
            load.run(1.5)
            load.finish(3.0)
            results, asked = load.results, load.asked
        state = world.breaker(FIRST)
        world.mock.clear()
        lines = world.await_records(partial(_at_least, seen + asked))[seen:]
        retried = sum(len(line["attempts"]) > 1 for line in lines)
        elsewhere = sum(line["backend"] == SECOND and line["status"] == 200 for line in lines)
        findings += [
            nothing_wrong(f"{kind} before the head: seen by clients", dict(results.errors), asked),
            Finding(
                f"{kind} before the head: answered elsewhere, of them retried",
                f"{elsewhere}, {retried}",
                f"{asked}, at least 1",
                elsewhere == asked and retried > 0,
            ),
            Finding(f"{kind} before the head: breaker", state, "open", state == "open"),
            *_recovers(world, f"{kind} before the head"),
        ]
    return findings


def _at_least(count: int, lines: list[Line]) -> bool:
    return len(lines) >= count


def _recovers(world: World, name: str) -> list[Finding]:
    """The backend is well again: requests come back to it, and the status says so."""
    bar = f"≤ {_RECOVERED_WITHIN} s"
    back = told = 0
    with world.load() as load:
        load.start(1, Plan(workload=plain("localhost", {})))
        for waited in range(1, _RECOVERED_WITHIN + 1):
            load.run(1.0)
            if not back and world.records()[-1]["backend"] == FIRST:
                back = waited
            if not told and world.breaker(FIRST) == "closed":
                told = waited
            if back and told:
                break
    return [
        Finding(f"{name}, and is over: {what}", f"after {when} s" if when else "never", bar, bool(when))
        for what, when in (("requests come back", back), ("status says closed", told))
    ]


class Broken(msgspec.Struct):
    """What a client saw of a stream: whole events, the error event's code, and whether the body ended as it should."""

    events: int
    error: str | None
    ended: bool


def in_the_middle(world: World) -> list[Finding]:
    """Streams of the first backend break after some events, until its breaker opens and the second answers."""
    return [finding for kind in _MIDDLE for finding in _breaks(world, kind)]


def _breaks(world: World, kind: str) -> list[Finding]:
    name = kind.replace("_", " ")
    seen = len(world.records())
    world.mock.fault(kind, instance=FIRST, after=_AFTER)
    answers = []
    for _ in range(_TRIES):
        answers.append(_ask(world.target))
        if answers[-1].ended:
            break
    broken = [answer for answer in answers if not answer.ended]
    state = world.await_breaker(FIRST, "open")
    world.mock.clear()
    lines = world.await_records(partial(_at_least, seen + len(answers)))[seen:]
    told = sum(line["end"] == "backend_failed" for line in lines)
    whole = sum(answer.events == _AFTER and answer.error is not None for answer in broken)
    return [
        Finding(
            f"{name} in the middle: broken off without a clean end, with {_AFTER} whole events and an error event",
            f"{whole} of {len(broken)}{_refusals(broken)}",
            "all",
            bool(broken) and whole == len(broken),
        ),
        Finding(f"{name} in the middle: recorded as backend_failed", str(told), str(len(broken)), told == len(broken)),
        Finding(
            f"{name} in the middle: streams until the breaker is open and another backend answers",
            f"{len(broken)}, {state}",
            f"{_FAILURES}, open",
            (len(broken), state) == (_FAILURES, "open") and answers[-1].ended,
        ),
        *_recovers(world, f"{name} in the middle"),
    ]


def _refusals(answers: list[Broken]) -> str:
    """What was refused instead of being answered and broken off, in words."""
    refused = Counter(answer.error for answer in answers if not answer.events and answer.error)
    return "".join(f", {count} with {error}" for error, count in refused.items())


def _ask(target: Target) -> Broken:
    """One stream, read to its end whatever that is."""
    data = b""
    with (
        socket.create_connection(("127.0.0.1", target.port), 5) as raw,
        target.context.wrap_socket(raw, server_hostname=target.host) as sock,
        contextlib.suppress(OSError),  # a break is one of the ends there are
    ):
        sock.sendall(stream("localhost", {}, 20).request())
        while not data.endswith(b"\r\n0\r\n\r\n") and (more := sock.recv(16384)):
            data += more
            if not data.startswith(b"HTTP/1.1 200"):
                break
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return Broken(0, f"status {head[9:12].decode('latin-1')}", False)
    return judged(body)


def judged(body: bytes) -> Broken:
    """What a chunked body of events amounts to, complete or not."""
    text, ended = _dechunked(body)
    *events, rest = text.split(b"\n\n")
    error = None
    if events:
        last = _data(events[-1])
        if isinstance(last, dict) and "error" in last:
            error = str(last["error"]["code"])
            events.pop()
    return Broken(len(events) if not rest else -1, error, ended)


def _data(event: bytes) -> Any:
    lines = [line.removeprefix(b"data:") for line in event.split(b"\n") if line.startswith(b"data:")]
    try:
        return json.loads(b"\n".join(lines))
    except ValueError:
        return None


def _dechunked(body: bytes) -> tuple[bytes, bool]:
    text = b""
    while True:
        line, found, body = body.partition(b"\r\n")
        if not found:
            return text, False
        size = int(line.partition(b";")[0], 16)
        if not size:
            return text, True
        text += body[:size]
        body = body[size + 2 :]
