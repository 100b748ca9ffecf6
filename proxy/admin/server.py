"""The admin and the health address, served by hypercorn's trio worker inside the supervisor's own program.

Loops like any nursery's child: serve until cancelled. Hypercorn's `serve` accepts without bound and lets an error of
one connection end its nursery; the supervisor is what the workers live on, so here connections are accepted one by one
into hypercorn's `TCPServer`, at most so many at a time, and what fails in one ends that one.
"""

import logging
import socket
import ssl
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import trio
from cryptography import x509
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from proxy.admin.app import admin_app, health_app
from proxy.admin.guard import LOOPBACK_NAMES, Guard
from proxy.admin.token import checked
from proxy.admin.turn import RELOAD_AT_MOST
from proxy.admin.view import View
from proxy.config.structs import Admin
from proxy.messages import ServerCertificate, Tls
from proxy.supervisor.configuration.watch import stamps
from proxy.supervisor.sockets import parse_address
from proxy.wire.tls import server_context

_CONNECTIONS = 64
_HANDSHAKE = 5.0
_IDLE = 5.0  # also a request's head, from the opening of the connection
_HEALTH_AT_MOST = 10.0
_UNREAD_AT_MOST_MS = 10_000

_log = logging.getLogger("penstock.admin")


class AdminUnusable(Exception):
    """The admin address cannot be served as configured; the message says why."""


async def serve_health(
    sock: socket.socket, view: View, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer `/healthz` and `/readyz` on a listening socket, one request a connection, until cancelled."""
    config = _config(requests=1)
    serve = partial(_serve, sock, None, health_app(view), config, lifetime=_HEALTH_AT_MOST)
    await serve(task_status=task_status)


async def serve_admin(
    sock: socket.socket,
    admin: Admin,
    token: str,
    view: View,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the status page and its API on a listening socket, until cancelled.

    Raises `AdminUnusable` if `admin` has no TLS though its address is not loopback, `TokenError` for a token that could
    be guessed, and `OSError`, `ssl.SSLError` or `ValueError` for TLS material of no use.
    """
    guard = Guard(checked(token, "admin.token"), host_names(admin))
    await _serve(sock, admin_context(admin), admin_app(view, guard), _config(requests=1000), task_status=task_status)


def admin_context(admin: Admin) -> ssl.SSLContext | None:
    """TLS with client certificates required; None on loopback where no certificate is configured.

    Each handshake is by the files as they are then; while they are of no use, by what they last were.
    """
    if not (admin.certificate and admin.private_key and admin.roots):
        if _is_loopback(admin.address):
            return None
        raise AdminUnusable(
            f"admin.address {admin.address} is not loopback: it needs certificate, private_key and roots"
        )
    files = [Path(path) for path in (admin.certificate, admin.private_key, *admin.roots)]
    seen = stamps(files)
    first = current = _context_of(files)

    def choose(sock: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal seen, current
        found = stamps(files)
        if found != seen:
            seen = found
            try:
                current = _context_of(files)
            except (OSError, ValueError) as error:
                _log.error("the admin address keeps its certificate and roots: the new ones are of no use (%s)", error)
            else:
                _log.info("the admin address has another certificate or other roots")
        sock.context = current

    first.sni_callback = choose  # called for every handshake, whether it names a server or not
    return first


def _context_of(files: list[Path]) -> ssl.SSLContext:
    """Of certificate, key and roots, in this order. Raises `OSError`, `ValueError`."""
    certificate, key, *roots = (file.read_bytes() for file in files)
    return server_context(Tls((ServerCertificate(certificate, key),), "1.2", "required", b"\n".join(roots), b""))


def host_names(admin: Admin) -> frozenset[str]:
    """What a request may call this address: what it listens on, and what its certificate is for."""
    host, _ = parse_address(admin.address)
    names = {f"[{host}]" if ":" in host else host.lower()}
    if _is_loopback(admin.address):
        names |= LOOPBACK_NAMES
    if admin.certificate:
        names |= _certificate_names(Path(admin.certificate).read_bytes())
    return frozenset(names)


def _is_loopback(address: str) -> bool:
    host, _ = parse_address(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _certificate_names(chain: bytes) -> set[str]:
    leaf = x509.load_pem_x509_certificates(chain)[0]
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = san.get_values_for_type(x509.IPAddress)
    return {name.lower() for name in san.get_values_for_type(x509.DNSName)} | {
        f"[{address}]" if ":" in str(address) else str(address) for address in addresses
    }


def _config(requests: int) -> Config:
    """`requests`: how many one connection may send."""
    config = Config()
    config.accesslog = None
    config.errorlog = _log
    config.include_server_header = False
    config.ssl_handshake_timeout = _HANDSHAKE
    config.keep_alive_timeout = _IDLE
    config.keep_alive_max_requests = requests - 1  # the one that finds it reached is answered, and is the last
    config.read_timeout = int(RELOAD_AT_MOST) + 10  # nothing is read while a reload is answered
    return config


class _Connection(TCPServer):
    """Hypercorn's, which is over when its client has closed it, and not only when it would have been idle too long."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


async def _serve(
    sock: socket.socket,
    context: ssl.SSLContext | None,
    app: ASGIApp,
    config: Config,
    *,
    lifetime: float = float("inf"),
    task_status: trio.TaskStatus[None],
) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_AT_MOST_MS)  # for those who read no answer
    plain = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    listener = plain if context is None else trio.SSLListener(plain, context, https_compatible=True)
    worker = WorkerContext(None)
    wrapped = wrap_app(app, 0, "asgi")  # type: ignore[arg-type]  # the two name ASGI's types differently
    limit = trio.CapacityLimiter(_CONNECTIONS)

    async def handle(stream: Any) -> None:
        try:
            limit.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            with trio.move_on_after(lifetime):
                await _Connection(wrapped, config, worker, ConnectionState(LifespanState()), stream)
        except* Exception:
            _log.exception("a connection to the admin or health address failed")
        finally:
            limit.release()

    async with trio.open_nursery() as connections:
        task_status.started()
        await trio.serve_listeners(handle, [listener], handler_nursery=connections)
