"""A request's body on the admin address: of the one type it may have, and said to be, which no form of another site
can do; small; soon."""

from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request

from proxy.admin.guard import BODY_AT_MOST

_BODY_WITHIN = 10.0
T = TypeVar("T")


class Cannot(Exception):
    """What was asked for cannot be done as things are; the message says why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def read_body(request: Request, kind: type[T], empty: T | None = None) -> T | Cannot:
    """What was asked for, or why nothing was. `empty`: what no body at all asks for, if it may be left out."""
    may_lack = empty is not None and not _content_type(request)
    body = (
        await _read(request, BODY_AT_MOST) if may_lack else await read_bytes(request, "application/json", BODY_AT_MOST)
    )
    if isinstance(body, Cannot):
        return body
    if not body and empty is not None:
        return empty
    if may_lack:
        return _unsupported("application/json")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        return Cannot(400, "BadRequest", f"{error}.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Cannot(400, "BadRequest", "The request body is not JSON.")


async def read_bytes(request: Request, content_type: str, most: int) -> bytes | Cannot:
    """A body of this type and of at most so many bytes, as it came; or why there is none."""
    return await _read(request, most) if _content_type(request) == content_type else _unsupported(content_type)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(content_type: str) -> Cannot:
    return Cannot(415, "UnsupportedMediaType", f"The content type must be {content_type}.")


async def _read(request: Request, most: int) -> bytes | Cannot:
    body = bytearray()
    try:
        with trio.fail_after(_BODY_WITHIN):
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > most:
                        return Cannot(413, "RequestTooLarge", f"The request body is larger than {most} bytes.")
    except (trio.TooSlowError, ClientDisconnect):
        return Cannot(408, "RequestTimeout", "The request body did not arrive in time.")
    return bytes(body)
