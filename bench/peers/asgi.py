"""The least that a Python proxy does: an ASGI application that passes requests on with httpx, and answers back as they
come. Served by hypercorn, see `bench.peers.passthrough`, which says by the environment where to.
"""

import os
import ssl
from itertools import cycle
from typing import Any

import httpx

_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"host", b"api-key"}
_upstreams = cycle(os.environ["PASSTHROUGH_UPSTREAMS"].split())
_client = httpx.AsyncClient(
    verify=ssl.create_default_context(cafile=os.environ["PASSTHROUGH_ROOT"]),
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=8192, keepalive_expiry=3600),
    timeout=None,  # noqa: S113 - a stream takes as long as it takes
    trust_env=False,
)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """One request, or the server's beginning and end."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await _client.aclose()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    query = scope["query_string"].decode()
    url = f"{next(_upstreams)}{scope['raw_path'].decode()}{'?' + query if query else ''}"
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP] + [(b"api-key", b"bench")]
    async with _client.stream(scope["method"], url, headers=headers, content=body) as answer:
        back = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": back})
        async for part in answer.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
