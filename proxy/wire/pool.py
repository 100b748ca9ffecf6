"""Connections to backends: kept warm, never trusted to be.

An idle connection stays in the pump: the moment its backend closes it, it is gone from here, so what is checked out
was alive at the last turn. Bounded in number, idle time and age; TLS sessions are resumed. A backend's address comes
from the configuration and from nothing else. Who opens connections ahead of need is `proxy.wire.warm`.
"""

import contextlib
import random
import socket
import ssl
import time
from urllib.parse import urlsplit

import trio

from proxy.config.address import dialled
from proxy.config.structs import Backend
from proxy.messages import ForwardProxy
from proxy.wire.dial import Dialer
from proxy.wire.link import GONE, Link, LinkClosed, LinkTimeout
from proxy.wire.pump import Pump
from proxy.wire.resolve import Addresses
from proxy.wire.warmth import Warmth

IDLE_AT_MOST = 256
IDLE_FOR = 55.0  # s; Azure's own front ends close what is idle after a minute and more
LIFETIME = 600.0  # s
PRUNE_EVERY = 5.0  # s


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

    def release_room(self) -> None:
        """Free what OpenSSL holds ready to write with, 16 KiB, from when it has read a session ticket until the next
        write: a write of nothing is one, and sends nothing (SSL_write_ex(3)).
        """
        with contextlib.suppress(*GONE):
            self.tls.write(b"")


class Pool:
    """The connections of one backend, of which `warm` are kept idle. `name` is the backend's."""

    def __init__(
        self,
        pump: Pump,
        backend: Backend,
        context: ssl.SSLContext,
        warm: int = 0,
        proxy: ForwardProxy | None = None,
    ) -> None:
        self.name = backend.name
        self.warmth = Warmth(warm, random.random)
        self._pump = pump
        self._context = context
        self._dialer = Dialer(*dialled(backend), proxy)
        self._idle: list[BackendLink] = []
        self._session: ssl.SSLSession | None = None
        self._closed = False
        url = urlsplit(backend.url)
        self._name = url.hostname or ""  # what it is verified by, wherever it is
        self.host_header = url.netloc.rpartition("@")[2].encode("ascii")

    def __repr__(self) -> str:
        return f"<Pool {self.name} idle={len(self._idle)}>"

    @property
    def addresses(self) -> Addresses:
        """Where connections go to."""
        return self._dialer.addresses

    def wants_another(self, now: float) -> bool:
        """Whether a connection is to be opened ahead of need."""
        return self.warmth.wants(len(self._idle), now) and not self._closed

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
        try:
            self._name.encode("idna")  # as `ssl` will, which lets go of the socket if it cannot
        except UnicodeError:
            raise ConnectFailed("TLS: its name is no host's") from None
        deadline = time.monotonic() + seconds
        try:
            with trio.fail_after(seconds):
                sock = await self._dialer.dial()
        except trio.TooSlowError:
            raise ConnectFailed("connect timed out", timeout=True) from None
        except OSError as error:
            raise ConnectFailed(f"connect: {error.strerror or type(error).__name__}") from None
        return await self._secure(sock, deadline)

    async def _secure(self, sock: socket.socket, deadline: float) -> BackendLink:
        try:
            secured = self._context.wrap_socket(
                sock,
                server_hostname=self._name,
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
        if self.keep(link) and link.used == 1:
            self._session = link.sock.session  # in TLS 1.3, tickets come with the first answer
            self.warmth.answered()

    def keep(self, link: BackendLink) -> bool:
        """Keep a connection that nobody uses; false where there is no room for it, and it is closed."""
        if self._closed or len(self._idle) >= IDLE_AT_MOST or link.fd < 0:
            link.close()
            return False
        link.idle_since = self._pump.now
        link.on_idle = lambda: self._drop(link)
        link.watch_reading()
        self._idle.append(link)
        return True

    def _drop(self, link: BackendLink) -> None:
        """An idle connection that stirs: closed by the backend, or saying what nobody asked for."""
        try:
            if not link.recv_now(self._pump.view):
                self._session = link.sock.session  # a ticket has come, or a key update
                return
        except LinkClosed:
            pass
        link.close()
        if link in self._idle:
            self._idle.remove(link)
            if not link.used:
                now = time.monotonic()
                self.warmth.lost(now - link.opened, now)

    def prune(self) -> None:
        """Close what would be idle or open for too long before the next time, in `PRUNE_EVERY`."""
        now = self._pump.now + PRUNE_EVERY
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
