"""Accepting connections: from the shared listening socket to a connection whose client is known as far as TLS knows it.

The socket belongs to the supervisor; every worker has it in its own epoll with EPOLLEXCLUSIVE, so that one worker, not
all, wakes for a connection, and none is lost when a worker is. A worker that dies, or is held up, between being woken
and accepting has used up the wake-up; so each looks at the queue with every sweep as well.
"""

import errno
import logging
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio

from proxy.config.structs import Bounds
from proxy.identity.certificate import CertificateFacts, thumbprint
from proxy.identity.chain import read_chain, unreadable
from proxy.identity.handshake import verify_reason
from proxy.refusal import Reason
from proxy.wire.link import Link, LinkTimeout
from proxy.wire.pump import Pump
from proxy.wire.server import ClientConnection
from proxy.wire.tls import verified_chain

_ACCEPTS_A_TURN = 32
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
_PAUSE = 0.1
_LINGER = 0.3
_CERTIFICATES = 4096

_log = logging.getLogger("penstock.listener")

Serve = Callable[[ClientConnection], Awaitable[None]]


class HandshakeRefused(NamedTuple):
    """A handshake that ended for the client's certificate, or for want of one. `fingerprint` where it could be had."""

    source: str
    reason: Reason
    rule: str
    fingerprint: str | None


class Listener:
    """Accepts on every socket given, and serves each connection in a task of `nursery`.

    `context` and `bounds` may be replaced at any time: they hold for the next handshake. `handshakes` counts results;
    `refused` hears of those that failed for the client's certificate.
    """

    def __init__(
        self,
        pump: Pump,
        sockets: list[socket.socket],
        context: ssl.SSLContext,
        bounds: Bounds,
        serve: Serve,
        refused: Callable[[HandshakeRefused], None],
    ) -> None:
        self._pump = pump
        self._sockets = sockets
        self._serve = serve
        self._refused = refused
        self._facts: dict[bytes, CertificateFacts] = {}
        self._handshaking = 0
        self._watching: set[int] = set()
        self._nursery: trio.Nursery | None = None
        self._stopped = False
        self.context = context
        self.bounds = bounds
        self.connections: dict[ClientConnection, None] = {}
        self.open = 0
        self.handshakes: Counter[str] = Counter()

    def start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._pump.timed[self] = None
        self._resume()

    def sweep(self, _now: float) -> None:
        """Accept what a wake-up that was lost would have announced."""
        for sock in self._sockets:
            if sock.fileno() in self._watching:
                self._accept(sock, 0)

    def stop(self) -> None:
        """Accept no more. The socket stays open for the other workers until the process ends."""
        self._stopped = True
        self._pump.timed.pop(self, None)
        self._pause()

    def _resume(self) -> None:
        if self._stopped:
            return
        for sock in self._sockets:
            if sock.fileno() not in self._watching:
                self._watching.add(sock.fileno())
                self._pump.register(sock.fileno(), partial(self._accept, sock), select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _pause(self) -> None:
        for fd in self._watching:
            self._pump.unregister(fd)
        self._watching.clear()

    def _accept(self, listening: socket.socket, _mask: int) -> None:
        nursery = self._nursery
        assert nursery is not None
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    _log.warning("cannot accept: %s; pausing", error.strerror)
                    self._pause()
                    self._pump.woken = True
                    nursery.start_soon(self._resume_later)
                    return
                continue  # the client was gone before it was accepted
            if self.open >= self.bounds.connections:
                self.handshakes["shed"] += 1
                sock.close()
                continue
            self.open += 1
            self._handshaking += 1
            self._pump.woken = True
            nursery.start_soon(self._connection, sock, str(address[0]))
            if self._handshaking >= self.bounds.handshakes:
                self._pause()
                return

    async def _resume_later(self) -> None:
        await trio.sleep(_PAUSE)
        self._resume()

    async def _connection(self, sock: socket.socket, source: str) -> None:
        link: Link | None = None
        try:
            link = await self._secured(sock, source)
            if link is not None:
                connection = ClientConnection(link, source, self._certificate(link))
                self.connections[connection] = None
                try:
                    await self._serve(connection)
                finally:
                    del self.connections[connection]
        finally:
            self.open -= 1
            if link is not None:
                link.close()
            else:
                sock.close()

    async def _secured(self, sock: socket.socket, source: str) -> Link | None:
        link: Link | None = None
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            link = Link(self._pump, secured)
            await link.handshake(time.monotonic() + self.bounds.handshake)
        except LinkTimeout:
            self.handshakes["timeout"] += 1
        except ssl.SSLCertVerificationError as error:
            self.handshakes["certificate_refused"] += 1
            chain = verified_chain(link.sock) if link is not None else ()
            reason, rule = verify_reason(error.verify_code), f"{error.verify_message} (OpenSSL {error.verify_code})"
            self._refused(HandshakeRefused(source, reason, rule, thumbprint(chain[0]) if chain else None))
        except ssl.SSLError as error:
            self.handshakes["failed"] += 1
            if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                self._refused(HandshakeRefused(source, Reason.CERTIFICATE_MISSING, "mode required", None))
        except (OSError, ValueError):
            self.handshakes["failed"] += 1
        except trio.Cancelled:
            if link is not None:
                link.close()
            raise
        else:
            self.handshakes["ok"] += 1
            return link
        finally:
            self._handshaking -= 1
            if not self._watching:
                self._resume()
        if link is not None:
            try:
                with trio.move_on_after(_LINGER):
                    await link.absorb()
            finally:
                link.close()
        return None

    def _certificate(self, link: Link) -> CertificateFacts | None:
        """What the client's certificate is; a resumed session has the path that its leaf came with before."""
        leaf = link.sock.getpeercert(binary_form=True)
        if leaf is None:
            return None
        chain = verified_chain(link.sock)
        facts = self._facts.get(leaf)
        if facts is None or (chain and chain != facts.chain):
            if not chain:
                return unreadable(leaf, "resumed, and its path is not remembered", Reason.CERTIFICATE_CHAIN_UNKNOWN)
            facts = read_chain(chain)
            if len(self._facts) >= _CERTIFICATES:
                self._facts.clear()
            self._facts[leaf] = facts
        return facts
