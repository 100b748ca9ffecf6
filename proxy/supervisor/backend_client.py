"""Asking a backend from the supervisor, as its workers reach it: the same address, name, roots and certificate.

For what is rare and small; requests of clients go through the workers' pools. Nothing of the environment counts, and no
redirect is followed.
"""

import ssl

import httpx

from proxy.config.address import dialled
from proxy.config.structs import Backend
from proxy.messages import ForwardProxy


def backend_client(
    backend: Backend, context: ssl.SSLContext, within: float, proxy: ForwardProxy | None = None
) -> httpx.AsyncClient:
    """A client whose addresses are relative to the backend's; `context` is that of `proxy.wire.tls`.

    Through a forward proxy it asks for the host of the backend's `url`, wherever `connect_to` leads: httpx has no way
    to verify another name than the one a tunnel leads to.

    Each step of a request may take `within` seconds; whoever uses it bounds the whole. A handshake that is given up by
    this time-out is closed, which one that is cancelled from outside is not until its memory is collected.
    """
    return httpx.AsyncClient(
        base_url=backend.url,
        transport=_Dialled(backend, context) if proxy is None else _tunnelled(context, proxy),
        follow_redirects=False,
        trust_env=False,
        timeout=within,
    )


def _tunnelled(context: ssl.SSLContext, proxy: ForwardProxy) -> httpx.AsyncHTTPTransport:
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    headers = {} if proxy.authorization is None else {"proxy-authorization": proxy.authorization}
    through = httpx.Proxy(f"http://{host}:{proxy.port}", headers=headers)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, proxy=through)


class _Dialled(httpx.AsyncBaseTransport):
    """Connects to where the backend is, and asks for and verifies what it is called."""

    def __init__(self, backend: Backend, context: ssl.SSLContext) -> None:
        self._host, self._port = dialled(backend)
        self._inner = httpx.AsyncHTTPTransport(verify=context, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Its `host` field is there already, by the address that was asked for."""
        placed = httpx.Request(
            request.method,
            request.url.copy_with(host=self._host, port=self._port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await self._inner.handle_async_request(placed)

    async def aclose(self) -> None:
        await self._inner.aclose()
