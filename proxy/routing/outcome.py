"""How an attempt at a backend ended, and what follows from it: one table.

The design's rule is "429 is not a failure": a throttled deployment is unavailable until the time it named, and only
connection errors, time-outs and 5xx count for its breaker (a first byte that does not come, only where it is a
stream's: a whole answer may take its time). 401, 403 and 404 `DeploymentNotFound` are our own
misconfiguration there; a 401 may be mended by a credential that is renewed. Everything else in 4xx is the client's.
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

import msgspec

_WAIT_WITHOUT_HEADER = 1.0
_WAIT_AT_MOST = 86_400.0


class Retry(Enum):
    """When another deployment may be asked after this (design section 7, "When to try again")."""

    NEVER = "never"
    ALWAYS = "always"
    IF_SAFE = "if safe to repeat"
    IF_CONFIGURED = "if configured"


class Outcome(Enum):
    """`breaker`: counts as a failure. `reason`: the stable word of records and metrics."""

    reason: str
    breaker: bool
    retry: Retry

    def __init__(self, reason: str, breaker: bool, retry: Retry) -> None:
        self.reason = reason
        self.breaker = breaker
        self.retry = retry

    __hash__ = object.__hash__  # members are one of a kind; `Enum`'s own is a call more

    OK = ("ok", False, Retry.NEVER)
    CLIENT_ERROR = ("client_error", False, Retry.NEVER)
    THROTTLED = ("throttled", False, Retry.ALWAYS)
    BACKEND_ERROR = ("backend_error", True, Retry.IF_SAFE)
    MISCONFIGURED = ("misconfigured", False, Retry.ALWAYS)
    CREDENTIAL_REJECTED = ("credential_rejected", False, Retry.ALWAYS)
    NO_CREDENTIAL = ("no_credential", False, Retry.ALWAYS)
    CONNECT_FAILED = ("connect_failed", True, Retry.ALWAYS)
    CONNECT_TIMEOUT = ("connect_timeout", True, Retry.ALWAYS)
    RESET_BEFORE_HEAD = ("reset_before_head", True, Retry.IF_SAFE)
    FIRST_BYTE_TIMEOUT = ("first_byte_timeout", True, Retry.IF_CONFIGURED)
    ANSWER_TIMEOUT = ("first_byte_timeout", False, Retry.IF_CONFIGURED)  # of what is no stream
    DEADLINE = ("deadline", False, Retry.NEVER)  # the client's own: the backend had less time than is usual
    BROKEN_MID_ANSWER = ("broken_mid_answer", True, Retry.NEVER)
    IDLE_TIMEOUT = ("idle_timeout", True, Retry.NEVER)
    CANCELLED = ("cancelled", False, Retry.NEVER)
    HEDGE_LOST = ("hedge_lost", False, Retry.NEVER)  # another deployment's answer began first

    @property
    def ours(self) -> bool:
        """We are misconfigured at that backend."""
        return self is Outcome.MISCONFIGURED or self is Outcome.CREDENTIAL_REJECTED


class _Error(msgspec.Struct):
    code: str | int | None = None


class _Body(msgspec.Struct):
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Body).decode


def error_code(body: bytes) -> str | None:
    """The `code` of an error body in Azure's shape; None for any other."""
    try:
        error = _decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return str(error.code) if error is not None and error.code is not None else None


def classify_status(status: int, code: str | None) -> Outcome:
    """Whose fault a status of 400 or more is. 408 is a backend that gave up on us, as a 5xx is."""
    if status == 429:
        return Outcome.THROTTLED
    if status == 401:
        return Outcome.CREDENTIAL_REJECTED
    if status == 403 or (status == 404 and code == "DeploymentNotFound"):
        return Outcome.MISCONFIGURED
    if status >= 500 or status == 408:
        return Outcome.BACKEND_ERROR
    return Outcome.CLIENT_ERROR


def retry_after(found: Mapping[bytes, bytes], wall: float) -> float:
    """Seconds a throttled backend asks for: `retry-after-ms`, else `retry-after` (RFC 9110 section 10.2.3).

    `found` are headers by name, in lower case; `wall` is the Unix time. Without a header that can be read: one second.
    Never more than a day.
    """
    milliseconds = _number(found.get(b"retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, _WAIT_AT_MOST)
    value = found.get(b"retry-after")
    seconds = _number(value)
    if seconds is None and value is not None:
        try:
            date = parsedate_to_datetime(value.decode("latin-1"))
            seconds = max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - wall)
        except (ValueError, TypeError, OverflowError):
            seconds = None
    return _WAIT_WITHOUT_HEADER if seconds is None else min(seconds, _WAIT_AT_MOST)


def _number(value: bytes | None) -> float | None:
    if value is None or not value.strip().replace(b".", b"", 1).isdigit() or len(value) > 32:
        return None
    return float(value)
