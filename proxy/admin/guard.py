"""Who may speak to the admin address: every request is judged by its head alone, before anything looks at the rest.

In this order: the host (DNS rebinding), the site a browser comes from (cross-site requests), the token, the size of the
body. `Guard.judge` is pure; `Guarded` applies it to an ASGI application and gives every answer the headers that keep a
browser from using it for anything else. Nothing here knows what the application does.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.refusal import error_body

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""What needs no token: an orchestrator asks for it, and it tells nothing that the answers of the gateway do not."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

BODY_AT_MOST = 1024
"""Bytes of a request's body."""

CONFIG_AT_MOST = 1 << 20
"""Of one that is a whole configuration."""

_AT_MOST = {"/api/config": CONFIG_AT_MOST, "/api/config/check": CONFIG_AT_MOST}

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_CHALLENGE = (  # two headers: Chromium reads only the first challenge of one
    (b"www-authenticate", b'Basic realm="penstock", charset="UTF-8"'),
    (b"www-authenticate", b'Bearer realm="penstock"'),
)
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),  # no-referrer would make a form's Origin `null`
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

Headers = Sequence[tuple[bytes, bytes]]


class Denied(NamedTuple):
    """Why a request goes no further."""

    status: int
    code: str
    message: str
    headers: Headers = ()


class Guard:
    """`hosts` are the names this address has, in lower case, IPv6 in brackets, `*.` for any one label."""

    def __init__(self, token: str, hosts: frozenset[str]) -> None:
        self._token = token.encode("ascii")
        self._hosts = hosts

    def judge(self, method: str, path: str, scheme: str, headers: Headers) -> Denied | None:
        """None if the request may go on."""
        return (
            self._judge_host(headers)
            or _judge_site(method, scheme, headers)
            or (None if path in HEALTH_PATHS else self._judge_token(headers))
            or _judge_body(headers, _AT_MOST.get(path, BODY_AT_MOST))
        )

    def _judge_host(self, headers: Headers) -> Denied | None:
        """The port is of no concern: it may be forwarded, and rebinding needs a name."""
        host = _only(headers, b"host") or ""
        name = (host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]).lower()
        if name and (name in self._hosts or "*." + name.partition(".")[2] in self._hosts):
            return None
        return Denied(421, "MisdirectedRequest", "This host is not served here.")

    def _judge_token(self, headers: Headers) -> Denied | None:
        presented = _presented(_only(headers, b"authorization") or "")
        if presented is not None and hmac.compare_digest(presented, self._token):
            return None
        return Denied(401, "Unauthorized", "Present the admin token, as bearer token or as password.", _CHALLENGE)


def _judge_site(method: str, scheme: str, headers: Headers) -> Denied | None:
    """Only this site's own pages, and people who follow a link to one.

    Origin: RFC 6454 section 7. Sec-Fetch-*: W3C Fetch Metadata Request Headers, section 2. Neither is sent by tools.
    """
    origin = _only(headers, b"origin")
    same_origin = f"{scheme}://{_only(headers, b'host')}".lower()
    site = _only(headers, b"sec-fetch-site")
    followed_link = method in _SAFE_METHODS and _only(headers, b"sec-fetch-mode") == "navigate"
    if (origin is None or origin.lower() == same_origin) and (site in (None, "same-origin", "none") or followed_link):
        return None
    return Denied(403, "CrossSite", "Requests from other sites are refused.")


def _judge_body(headers: Headers, most: int) -> Denied | None:
    """No request here needs more than a small one, unless it brings a configuration."""
    length = _only(headers, b"content-length")
    if _only(headers, b"transfer-encoding") is not None:
        return Denied(411, "LengthRequired", "A request body needs a content-length.")
    if length is not None and not (length.isdecimal() and len(length) <= 10 and int(length) <= most):
        return Denied(413, "RequestTooLarge", f"The request body is larger than {most} bytes.")
    return None


def _only(headers: Headers, name: bytes) -> str | None:
    """A header's value; None if it is absent, something that matches nothing if there are several."""
    values = [value for header, value in headers if header == name]
    if not values:
        return None
    return values[0].decode("latin-1") if len(values) == 1 else "\0"


def _presented(authorization: str) -> bytes | None:
    """The token of a Bearer header (RFC 6750), or of a Basic one's password (RFC 7617), whoever the user is."""
    scheme, _, credential = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credential.strip().encode("latin-1")
        case "basic":
            try:
                return base64.b64decode(credential.strip(), validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return None
        case _:
            return None


class Guarded:
    """An ASGI application behind a guard; without one, only its answers are made safe."""

    def __init__(self, app: ASGIApp, guard: Guard | None) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_defaults(message["headers"])}
            await send(message)

        denied = self._judge(scope)
        if denied is None:
            await self._app(scope, receive, send_safe)
        else:
            await _answer(denied, send_safe)

    def _judge(self, scope: Scope) -> Denied | None:
        if self._guard is None:
            return _judge_body(scope["headers"], BODY_AT_MOST)
        return self._guard.judge(scope["method"], scope["path"], scope["scheme"], scope["headers"])


def _with_defaults(headers: Any) -> list[tuple[bytes, bytes]]:
    given = [(bytes(name), bytes(value)) for name, value in headers]
    names = {name.lower() for name, _ in given}
    return given + [(name, value) for name, value in _HEADERS if name not in names]


async def _answer(denied: Denied, send: Send) -> None:
    body = error_body(denied.code, denied.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *denied.headers]
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
