"""What clients are told: refusals in Azure's shape, lists of models, a backend's head made the client's. Pure."""

from collections.abc import Sequence
from math import ceil

import msgspec

from proxy.policy.operations import OPERATIONS, Target
from proxy.refusal import Reason, Refused, error_body
from proxy.wire.http1 import PHRASES, response_head

_REQUESTS = b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d"
_TOKENS = b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d"
_CHALLENGE = b'Bearer realm="penstock"'
_INVALID = _CHALLENGE + b', error="invalid_token"'
_INSUFFICIENT = _CHALLENGE + b', error="insufficient_scope"'
_OF_TOKENS = frozenset((Reason.INVALID_TOKEN, Reason.UNKNOWN_TOKEN_CLIENT))
"""What a client is told that it presented a bad token (RFC 6750 section 3.1)."""
_PATIENCE = 60.0
"""A longer wait than this is no reason for an official client to hold its request."""


def refusal(refused: Refused, request_id: str, *, close: bool) -> tuple[bytes, bytes]:
    """Head and body of a refusal."""
    terms = refused.reason.terms
    body = error_body(terms.code, refused.message)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    wait = refused.retry_after
    if wait is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(wait))))
        headers.append((b"retry-after-ms", b"%d" % max(1, ceil(wait * 1000))))
    if not terms.retry or (wait is not None and wait > _PATIENCE):
        headers.append((b"x-should-retry", b"false"))
    if terms.status == 401:
        headers.append((b"www-authenticate", _INVALID if refused.reason in _OF_TOKENS else _CHALLENGE))
    if refused.reason is Reason.SCOPE_MISSING:
        headers.append((b"www-authenticate", _INSUFFICIENT))
    if terms.status == 405:
        headers.append((b"allow", _allowed(refused.rule or "")))
    if close:
        headers.append((b"connection", b"close"))
    return response_head(terms.status, headers), body


def _allowed(rule: str) -> bytes:
    """The methods of the operations that a rule names (RFC 9110 section 10.2.1)."""
    named = [OPERATIONS[name] for name in rule.split(", ") if name in OPERATIONS]
    methods = dict.fromkeys(operation.method for operation in named) or {"POST": None}
    if any(operation.method == "GET" and operation.state is None for operation in named):
        methods["HEAD"] = None
    return ", ".join(methods).encode("ascii")


class _Model(msgspec.Struct):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "penstock"


class _Deployment(msgspec.Struct):
    id: str
    model: str
    object: str = "deployment"
    status: str = "succeeded"


class _Listing(msgspec.Struct):
    data: list[_Model] | list[_Deployment]
    object: str = "list"


def listing(target: Target, models: Sequence[str]) -> bytes:
    """The models a client may use, as the surface it asked on lists them."""
    if target.surface == "dated":
        return msgspec.json.encode(_Listing([_Deployment(name, name) for name in models]))
    return msgspec.json.encode(_Listing([_Model(name) for name in models]))


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b" % (status, PHRASES.get(status, b""))


def limits(remaining: tuple[int | None, int, int | None, int]) -> list[bytes]:
    """The client's own limits, in place of the backend's: requests and tokens, each limit and remaining."""
    requests, requests_left, tokens, tokens_left = remaining
    lines = []
    if requests is not None:
        lines.append(_REQUESTS % (requests, requests_left))
    if tokens is not None:
        lines.append(_TOKENS % (tokens, tokens_left))
    return lines
