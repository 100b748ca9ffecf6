"""`POST /api/explain`: what becomes of a request of a client, by the running configuration and as things are now.

The request's body is a `Question`, the answer an `Explanation`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.body import Cannot, read_body
from proxy.policy.explain import Explanation
from proxy.refusal import error_body


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
        question = await read_body(request, Question)
        if isinstance(question, Cannot):
            return _error(question.status, question.code, str(question))
        told = explain(question)
        if told is None:
            return _error(404, "UnknownClient", "There is no client of this name.")
        return Response(msgspec.json.encode(told), media_type="application/json")

    return Route("/api/explain", answer, methods=["POST"])


def _error(status: int, code: str, message: str) -> Response:
    return Response(error_body(code, message), status, media_type="application/json")
