"""Asking a backend from the supervisor, as its workers reach it: the same place, way, name, roots and certificate.

For what is rare and small; requests of clients go through the workers' pools. Nothing of the environment counts, and no
redirect is followed.
"""

import math
import ssl
from collections.abc import Iterable

import httpcore
import httpx
import trio

from proxy.config.address import dialled
from proxy.config.structs import Backend
from proxy.messages import ForwardProxy
from proxy.wire.tunnel import tunnel_through


def backend_client(
    backend: Backend, context: ssl.SSLContext, within: float, proxy: ForwardProxy | None = None
) -> httpx.AsyncClient:
    """A client whose addresses are relative to the backend's; `context` is that of `proxy.wire.tls`.

    Each step of a request may take `within` seconds; whoever uses it bounds the whole. A handshake that is given up by
    this time-out is closed, which one that is cancelled from outside is not until its memory is collected.
    """
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    # httpx has no argument for where its connections go; its pool has.
    transport._pool = httpcore.AsyncConnectionPool(context, network_backend=_Dialled(backend, proxy))
    return httpx.AsyncClient(
        base_url=backend.url, transport=transport, follow_redirects=False, trust_env=False, timeout=within
    )


class _Dialled(httpcore.AsyncNetworkBackend):
    """Connects to where the backend is, through its proxy; what is asked for there, and verified, is its own name."""

    def __init__(self, backend: Backend, proxy: ForwardProxy | None) -> None:
        self._place = dialled(backend)
        self._proxy = proxy
        self._inner = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        proxy = self._proxy
        place = self._place if proxy is None else (proxy.host, proxy.port)
        stream = await self._inner.connect_tcp(*place, timeout, local_address, socket_options)
        if proxy is not None:
            await self._tunnel(stream, proxy, math.inf if timeout is None else timeout)
        return stream

    async def _tunnel(self, stream: httpcore.AsyncNetworkStream, proxy: ForwardProxy, seconds: float) -> None:
        try:
            with trio.fail_after(seconds):
                await tunnel_through(stream.get_extra_info("socket"), *self._place, proxy)
        except BaseException as error:
            with trio.CancelScope(shield=True):
                await stream.aclose()
            if isinstance(error, trio.TooSlowError):
                raise httpcore.ConnectTimeout("the forward proxy does not answer") from None
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from error
            raise

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
