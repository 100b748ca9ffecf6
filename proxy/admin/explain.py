"""`POST /api/explain`: what becomes of a request of a client, by the running configuration and as things are now.

The request's body is JSON, and said to be, which no form of another site can do: a `Question`. The answer is an
`Explanation`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.policy.explain import Explanation
from proxy.refusal import error_body

_BODY_WITHIN = 10.0


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client by its name, what its token would say, and the request. `body`: what of it matters, as JSON."""

    client: str
    target: str
    method: str = "POST"
    user: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    body: dict[str, Any] | None = None


def explain_route(explain: Callable[[Question], Explanation | None]) -> Route:
    """`explain` gives None for a client that is not configured."""

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _error(415, "UnsupportedMediaType", "The content type must be application/json.")
        try:
            with trio.fail_after(_BODY_WITHIN):
                body = await request.body()  # the guard has bounded it
            question = msgspec.json.decode(body, type=Question)
        except (trio.TooSlowError, ClientDisconnect):
            return _error(408, "RequestTimeout", "The request body did not arrive in time.")
        except msgspec.ValidationError as error:
            return _error(400, "BadRequest", f"{error}.")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _error(400, "BadRequest", "The request body is not JSON.")
        told = explain(question)
        if told is None:
            return _error(404, "UnknownClient", "There is no client of this name.")
        return Response(msgspec.json.encode(told), media_type="application/json")

    return Route("/api/explain", answer, methods=["POST"])


def _error(status: int, code: str, message: str) -> Response:
    return Response(error_body(code, message), status, media_type="application/json")
