"""Heads of requests, understood once: those of one client differ in little but the length of what follows.

A head is remembered by its bytes, without the two values that change from request to request: the body's length and
the trace. Who sends the same bytes again is spared the parsing; whatever differs is parsed. What was refused is not
remembered. One memory a view, so that what follows from a configuration ends with it. No I/O.
"""

from proxy.config.structs import Bounds
from proxy.routing.deadline import client_timeout
from proxy.wire.http1 import RequestHead, read_request_head

_LENGTH = b"\r\ncontent-length: "
_TRACE = b"\r\ntraceparent:"
_TRACE_BYTES = 55  # W3C Trace Context section 3.2.2
_TRACE_CHARACTERS = b"0123456789abcdef-"
_LONGEST = 4 << 10
_REMEMBERED = 512
_IDENTITY = b"accept-encoding: identity\r\n"


class Heads:
    """Reads heads. `forwarded`: the names, in lower case, of header lines that pass on to a backend."""

    def __init__(self, forwarded: frozenset[bytes]) -> None:
        self._forwarded = forwarded
        self._known: dict[bytes, RequestHead] = {}

    def read(self, raw: bytes, bounds: Bounds) -> RequestHead:
        """The head in `raw`, up to its empty line. Raises `Refused`, as `read_request_head` does."""
        lower = raw.lower()
        key, trace = raw, b""
        at = lower.find(_TRACE)
        if at >= 0:
            at += len(_TRACE) + 1
            trace = raw[at : at + _TRACE_BYTES]
            usual = raw.startswith(b" ", at - 1) and raw.startswith(b"\r\n", at + _TRACE_BYTES)
            if not usual or trace.strip(_TRACE_CHARACTERS):
                return self._understood(raw, bounds)
            key = raw[:at] + raw[at + _TRACE_BYTES :]
            lower = key.lower()
        at = lower.find(_LENGTH)
        if at < 0:
            return self._understood(raw, bounds)
        at += len(_LENGTH)
        end = key.find(b"\r", at)
        digits = key[at:end]
        if not digits.isdigit() or len(digits) > 15:
            return self._understood(raw, bounds)
        key = key[:at] + key[end:]
        known = self._known.get(key)
        if known is None:
            known = self._understood(raw, bounds)
            if len(key) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known.again(int(digits), trace)

    def _understood(self, raw: bytes, bounds: Bounds) -> RequestHead:
        head = read_request_head(raw, bounds)
        allowed = self._forwarded
        lines = [b"%b: %b\r\n" % (name, value) for name, value in head.headers if name in allowed]
        head.passed = b"".join([*lines, _IDENTITY])
        head.trace = next((value for name, value in head.headers if name == b"traceparent"), b"")
        head.timeout = client_timeout(head.headers)
        head.media_type = head.once.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return head
