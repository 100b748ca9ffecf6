"""Identifiers of requests and traces: W3C Trace Context, and the gateway's own request id. Pure."""

import re
from collections.abc import Callable
from itertools import count

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16


def continue_trace(header: bytes | None, span: int) -> tuple[str, bytes] | None:
    """The trace id, and the `traceparent` to send on with `span` (64 bits, not 0) as the parent.

    None without a header, or with one that is not valid (W3C Trace Context section 3.2.2: then it is ignored).
    """
    if header is None:
        return None
    match = _TRACEPARENT.fullmatch(header)
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return None
    return match[1].decode("ascii"), b"00-%b-%016x-%b" % (match[1], span, match[3])


def request_ids(prefix: str) -> Callable[[], str]:
    """A source of ids that are unique as long as `prefix` is: one a process, random."""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers):08x}"
