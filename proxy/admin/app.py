"""What the admin and the health address answer. Errors are JSON: `{"error": {"code", "message"}}`.

Starlette serves here and not Litestar: six routes need neither its injection nor its plug-ins, which would add 21 MiB
and 0.6 s to the start of the supervisor, where Starlette adds 2 MiB and 0.06 s. Every body is ready before an answer
begins; no request's body is read but those of `proxy.admin.explain`, `proxy.admin.keys`, `proxy.admin.backends` and
`proxy.admin.config`.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from proxy.admin.backends import backend_routes
from proxy.admin.body import Cannot
from proxy.admin.config import config_routes
from proxy.admin.explain import explain_route
from proxy.admin.exposition import CONTENT_TYPE as METRICS_TYPE
from proxy.admin.guard import Guard, Guarded
from proxy.admin.keys import key_routes
from proxy.admin.page import CONTENT_SECURITY_POLICY, render
from proxy.admin.turn import Turn
from proxy.admin.view import View
from proxy.refusal import error_body

_log = logging.getLogger("penstock.admin")
_CODES = {404: ("NotFound", "There is nothing here."), 405: ("MethodNotAllowed", "The method is not allowed here.")}

Endpoint = Callable[[Request], Awaitable[Response]]


class Ready(msgspec.Struct):
    """The answer of `/readyz`."""

    ready: bool
    reasons: list[str]


def admin_app(view: View, guard: Guard) -> ASGIApp:
    """The status page and its API, behind `guard`."""
    turn = Turn()

    async def show_page(_request: Request) -> Response:
        ready, reasons = view.ready()
        return Response(
            render(view.status(), ready=ready, reasons=reasons),
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": CONTENT_SECURITY_POLICY},
        )

    async def status(_request: Request) -> Response:
        return _json(view.status())

    async def certificates(_request: Request) -> Response:
        return _json(view.status().certificates)

    async def metrics(_request: Request) -> Response:
        return Response(view.metrics(), headers={"content-type": METRICS_TYPE})

    async def reload(_request: Request) -> Response:
        try:
            result = await turn.take(view.reload)
        except Cannot as cannot:
            return _error(cannot.status, cannot.code, str(cannot))
        return _json(result, 200 if result.ok else 422)

    routes = [
        Route("/", show_page, methods=["GET"]),
        Route("/api/status", status, methods=["GET"]),
        Route("/api/certificates", certificates, methods=["GET"]),
        Route("/api/reload", reload, methods=["POST"]),
        Route("/metrics", metrics, methods=["GET"]),
        explain_route(view.explain),
        *key_routes(view.keys),
        *backend_routes(view.backends),
        *config_routes(view.configuration, turn),
        *_health_routes(view),
    ]
    return Guarded(_application(routes), guard)


def health_app(view: View) -> ASGIApp:
    """Whether the process is up and can serve: for an orchestrator, which has no token."""
    return Guarded(_application(_health_routes(view)), None)


def _health_routes(view: View) -> list[Route]:
    async def healthz(_request: Request) -> Response:
        return _json({"status": "up"})

    async def readyz(_request: Request) -> Response:
        ready, reasons = view.ready()
        return _json(Ready(ready, reasons), 200 if ready else 503)

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]


def _application(routes: list[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _internal_error})
    app.router.redirect_slashes = False
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = _CODES.get(error.status_code, ("Error", "The request cannot be answered."))
    return _error(error.status_code, code, message, error.headers)


async def _internal_error(_request: Request, _failure: Exception) -> Response:
    """The failure itself is raised again by Starlette, and logged by the server."""
    return _error(500, "InternalError", "The request failed; the log of the gateway says why.")


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _error(status: int, code: str, message: str, headers: Any = None) -> Response:
    return Response(error_body(code, message), status, headers, media_type="application/json")
