"""A request's body on the admin address: JSON, and said to be, which no form of another site can do; small; soon."""

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
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and (empty is None or content_type):
        return Cannot(415, "UnsupportedMediaType", "The content type must be application/json.")
    body = bytearray()
    try:
        with trio.fail_after(_BODY_WITHIN):
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > BODY_AT_MOST:
                        return Cannot(413, "RequestTooLarge", f"The request body is larger than {BODY_AT_MOST} bytes.")
    except (trio.TooSlowError, ClientDisconnect):
        return Cannot(408, "RequestTimeout", "The request body did not arrive in time.")
    if not body and empty is not None:
        return empty
    if not content_type:
        return Cannot(415, "UnsupportedMediaType", "The content type must be application/json.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        return Cannot(400, "BadRequest", f"{error}.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Cannot(400, "BadRequest", "The request body is not JSON.")
