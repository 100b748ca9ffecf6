"""Client keys over the admin address: what can be asked and what is shown. A key itself is shown once, when it is made.

GET  /api/keys                              all keys
POST /api/keys               {client, …}    issue
POST /api/keys/rotate        {client, …}    issue a second one, and perhaps let the first end later
POST /api/keys/{id}/revoke                  revoke
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.body import Cannot, read_body
from proxy.refusal import error_body

State = Literal["live", "suspended", "expired", "revoked"]


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A key without the key. Times are in Unix seconds, None for never.

    `suspended`: live, but its client is not configured, or takes no keys, at present.
    """

    id: str
    client: str
    state: State
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    note: str


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is shown here and never again. `other`: the client's other live key."""

    key: str
    issued: KeyStatus
    other: KeyStatus | None

    def __repr__(self) -> str:
        return f"NewKey({self.issued.id})"


class IssueKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`expires` is a duration such as `"90d"`."""

    client: str
    expires: str | None = None
    note: str = ""


class RotateKey(IssueKey, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`old_expires`: when the present key ends, a duration too; without it, it stays until it is revoked."""

    old_expires: str | None = None


class Keys(Protocol):
    """Who answers. What changes keys raises `Cannot`."""

    def listing(self) -> tuple[KeyStatus, ...]: ...

    async def issue(self, wanted: IssueKey) -> NewKey: ...

    async def rotate(self, wanted: RotateKey) -> NewKey: ...

    async def revoke(self, key_id: str) -> KeyStatus: ...


class _Listing(msgspec.Struct):
    keys: tuple[KeyStatus, ...]


T = TypeVar("T")


def key_routes(keys: Keys) -> list[Route]:
    async def listing(_request: Request) -> Response:
        return _json(_Listing(keys.listing()))

    async def issue(request: Request) -> Response:
        return await _answer(201, keys.issue, await read_body(request, IssueKey))

    async def rotate(request: Request) -> Response:
        return await _answer(201, keys.rotate, await read_body(request, RotateKey))

    async def revoke(request: Request) -> Response:
        return await _answer(200, keys.revoke, request.path_params["key_id"])

    return [
        Route("/api/keys", listing, methods=["GET"]),
        Route("/api/keys", issue, methods=["POST"]),
        Route("/api/keys/rotate", rotate, methods=["POST"]),
        Route("/api/keys/{key_id}/revoke", revoke, methods=["POST"]),
    ]


async def _answer(status: int, do: Callable[[T], Awaitable[Any]], wanted: T | Cannot) -> Response:
    try:
        if isinstance(wanted, Cannot):
            raise wanted
        return _json(await do(wanted), status)
    except Cannot as cannot:
        return Response(error_body(cannot.code, str(cannot)), cannot.status, media_type="application/json")


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
