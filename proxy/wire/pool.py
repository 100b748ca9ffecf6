"""Connections to backends: kept warm, never trusted to be.

An idle connection stays in the pump: the moment its backend closes it, it is gone from here, so what is checked out
was alive at the last turn. Bounded in number, idle time and age; TLS sessions are resumed. A backend's address comes
from the configuration and from nothing else.
"""

import socket
import ssl
import time
from urllib.parse import urlsplit

import trio

from proxy.config.address import dialled
from proxy.config.structs import Backend
from proxy.wire.link import Link, LinkClosed, LinkTimeout
from proxy.wire.pump import Pump

IDLE_AT_MOST = 256
IDLE_FOR = 55.0
LIFETIME = 600.0
_RESOLVED_FOR = 30.0


class ConnectFailed(Exception):
    """No connection could be made. `timeout`: none in time."""

    def __init__(self, fact: str, *, timeout: bool = False) -> None:
        super().__init__(fact)
        self.timeout = timeout


class BackendLink(Link):
    """A link to a backend, with its age. `used` counts the requests it has carried."""

    __slots__ = ("idle_since", "opened", "used")

    def __init__(self, pump: Pump, sock: ssl.SSLSocket) -> None:
        super().__init__(pump, sock)
        self.opened = self.idle_since = pump.now
        self.used = 0


class Pool:
    """The connections of one backend."""

    def __init__(self, pump: Pump, backend: Backend, context: ssl.SSLContext) -> None:
        address = urlsplit(backend.url)
        self._pump = pump
        self._context = context
        self._host = address.hostname or ""
        self._port = address.port or 443
        self._place = dialled(backend)
        self._idle: list[BackendLink] = []
        self._session: ssl.SSLSession | None = None
        self._resolved: list[tuple[socket.AddressFamily, tuple[object, ...]]] = []
        self._resolved_at = -_RESOLVED_FOR
        self._closed = False
        self.host_header = (address.netloc.rpartition("@")[2]).encode("ascii")

    def __repr__(self) -> str:
        return f"<Pool {self._host}:{self._port} idle={len(self._idle)}>"

    def idle(self) -> BackendLink | None:
        """A warm connection, the most recently used; None if there is none."""
        now = self._pump.now
        while self._idle:
            link = self._idle.pop()
            link.on_idle = None
            if now - link.idle_since < IDLE_FOR and now - link.opened < LIFETIME:
                return link
            link.close()
        return None

    async def connect(self, seconds: float) -> BackendLink:
        """A new connection within `seconds`. Raises `ConnectFailed`."""
        deadline = time.monotonic() + seconds
        try:
            with trio.fail_after(seconds):
                sock = await self._connect_tcp()
        except trio.TooSlowError:
            raise ConnectFailed("connect timed out", timeout=True) from None
        except OSError as error:
            raise ConnectFailed(f"connect: {error.strerror or type(error).__name__}") from None
        return await self._secure(sock, deadline)

    async def _connect_tcp(self) -> socket.socket:
        failure: OSError = OSError("no address")
        for family, address in await self._addresses():
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                await trio.socket.from_stdlib_socket(sock).connect(address)
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        self._resolved_at = -_RESOLVED_FOR
        raise failure

    async def _addresses(self) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
        if self._pump.now - self._resolved_at >= _RESOLVED_FOR:
            found = await trio.socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
            self._resolved = [(socket.AddressFamily(entry[0]), entry[4]) for entry in found]
            self._resolved_at = self._pump.now
        return self._resolved

    async def _secure(self, sock: socket.socket, deadline: float) -> BackendLink:
        try:
            secured = self._context.wrap_socket(
                sock,
                server_hostname=self._host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                session=self._session,
            )
        except (ssl.SSLError, OSError) as error:
            sock.close()
            raise ConnectFailed(f"TLS: {type(error).__name__}") from None
        link = BackendLink(self._pump, secured)
        try:
            await link.handshake(deadline)
        except LinkTimeout:
            link.close()
            raise ConnectFailed("TLS handshake timed out", timeout=True) from None
        except ssl.SSLCertVerificationError as error:
            link.close()
            raise ConnectFailed(f"TLS: {error.verify_message}") from None
        except (ssl.SSLError, OSError) as error:
            link.close()
            raise ConnectFailed(f"TLS: {getattr(error, 'reason', None) or type(error).__name__}") from None
        except BaseException:
            link.close()
            raise
        return link

    def give_back(self, link: BackendLink) -> None:
        """Keep a connection whose answer was complete and which the backend keeps open."""
        link.used += 1
        if self._closed or len(self._idle) >= IDLE_AT_MOST or link.fd < 0:
            link.close()
            return
        if link.used == 1:
            self._session = link.sock.session  # in TLS 1.3, tickets come with the first answer
        link.idle_since = self._pump.now
        link.on_idle = lambda: self._drop(link)
        link.watch_reading()
        self._idle.append(link)

    def _drop(self, link: BackendLink) -> None:
        """An idle connection that stirs: closed by the backend, or saying what nobody asked for."""
        try:
            if not link.recv_now(self._pump.view):
                return  # a session ticket, or a key update
        except LinkClosed:
            pass
        link.close()
        if link in self._idle:
            self._idle.remove(link)

    def prune(self) -> None:
        """Close what has been idle or open for too long."""
        now = self._pump.now
        keep = []
        for link in self._idle:
            if now - link.idle_since < IDLE_FOR and now - link.opened < LIFETIME:
                keep.append(link)
            else:
                link.close()
        self._idle = keep

    def close(self) -> None:
        """Close the idle connections, and those given back from now on."""
        self._closed = True
        for link in self._idle:
            link.close()
        self._idle.clear()
