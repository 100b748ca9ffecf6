"""Accepting: bounds before TLS, handshakes that fail each in their way, and certificates on either side."""

import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.config.structs import Bounds
from proxy.wire.listener import HandshakeRefused, Listener
from proxy.wire.server import ClientConnection
from proxy.wire.tls import server_context
from tests.wire.world import LATER, WITHIN, Far, Leaving, World, is_quiet, pass_time, tls, until


class Accepting(socket.socket):
    """A listening socket; `failures` are raised, one at a time, in place of accepting."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            raise OSError(self.failures.pop(0), "Too many open files")
        return super().accept()


class Gate:
    """A listener, and the clients that come to it. Each connection is served until its client leaves."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.world = world
        self.pump = world.pump
        self.nursery = nursery
        self.socket = Accepting()
        self.socket.failures = []
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.socket.setblocking(False)
        self.served: list[ClientConnection] = []
        self.opened: list[socket.socket] = []
        self.refused: list[HandshakeRefused] = []
        self.listener: Listener

    def open(self, *pairs: str, mode: str = "off", minimum: str = "1.2", bounds: Bounds | None = None) -> Listener:
        context = server_context(tls(self.world.pki, *pairs, mode=mode, minimum=minimum))
        self.listener = Listener(
            self.pump, [self.socket], context, bounds or Bounds(), self._serve, self.refused.append
        )
        self.listener.start(self.nursery)
        return self.listener

    async def _serve(self, connection: ClientConnection) -> None:
        self.served.append(connection)
        assert await connection.next_head(Bounds()) is None

    def plain(self) -> socket.socket:
        """A TCP connection that says nothing yet."""
        sock = socket.create_connection(self.socket.getsockname(), timeout=WITHIN)
        sock.setblocking(False)
        self.opened.append(sock)
        return sock

    def client(self, context: ssl.SSLContext | None = None, name: str = "localhost") -> Far:
        """A client before its handshake."""
        context = context or self.world.far_client()
        sock = context.wrap_socket(
            self.plain(), server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self.opened.append(sock)
        return Far(sock)

    async def connect(self, context: ssl.SSLContext | None = None, name: str = "localhost") -> Far:
        """A client that is being served."""
        before = len(self.served)
        far = self.client(context, name)
        await far.handshake()
        await until(lambda: len(self.served) > before)
        return far

    def close(self) -> None:
        for sock in [self.socket, *self.opened]:
            sock.close()


@pytest.fixture
async def gate(world: World) -> AsyncIterator[Gate]:
    async with trio.open_nursery() as nursery:
        made = Gate(world, nursery)
        yield made
        nursery.cancel_scope.cancel()
    made.close()


async def ended(sock: socket.socket) -> bool:
    """Whether the other side ends the connection without a word."""
    with trio.fail_after(WITHIN):
        await trio.lowlevel.wait_readable(sock)
    try:
        return not sock.recv(1)
    except ConnectionResetError:
        return True


async def test_a_connection_is_served_until_its_client_leaves(gate: Gate) -> None:
    listener = gate.open()
    far = await gate.connect()
    (connection,) = gate.served
    assert (connection.source, connection.certificate) == ("127.0.0.1", None)
    assert list(listener.connections) == [connection]
    assert (listener.open, listener.handshakes["ok"]) == (1, 1)
    assert far.sock.selected_alpn_protocol() is None
    far.leave(Leaving.CLEANLY)
    await until(lambda: not listener.connections and not listener.open)
    assert connection.link.fd < 0


async def test_http_1_1_is_what_is_spoken(gate: Gate) -> None:
    gate.open()
    context = gate.world.far_client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert (await gate.connect(context)).sock.selected_alpn_protocol() == "http/1.1"


# Bounds.


async def test_past_the_bound_of_connections_they_are_closed_before_tls(gate: Gate) -> None:
    listener = gate.open(bounds=Bounds(connections=2))
    first, _ = await gate.connect(), await gate.connect()
    assert await ended(gate.plain())
    assert listener.handshakes["shed"] == 1
    first.leave(Leaving.CLEANLY)
    await until(lambda: listener.open == 1)
    await gate.connect()
    assert listener.handshakes == {"ok": 3, "shed": 1}


async def test_past_the_bound_of_handshakes_connections_wait_in_the_queue(gate: Gate) -> None:
    listener = gate.open(bounds=Bounds(handshakes=2))
    silent = [gate.plain(), gate.plain()]
    await until(lambda: listener.open == 2)
    far = gate.client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.handshake)
        await wait_all_tasks_blocked()
        assert listener.open == 2
        assert is_quiet(gate.pump)
        silent[0].close()
    await until(lambda: gate.served)
    assert listener.handshakes == {"failed": 1, "ok": 1}


async def test_bounds_can_be_replaced(gate: Gate) -> None:
    listener = gate.open(bounds=Bounds(connections=1))
    await gate.connect()
    listener.bounds = Bounds(connections=2)
    await gate.connect()
    assert await ended(gate.plain())


async def test_a_client_that_shakes_no_hands_is_let_go(gate: Gate) -> None:
    listener = gate.open()
    silent = gate.plain()
    await until(lambda: listener.open)
    await wait_all_tasks_blocked()
    pass_time(gate.pump, Bounds().handshake - 1)
    await wait_all_tasks_blocked()
    assert listener.open
    pass_time(gate.pump, LATER)
    assert await ended(silent)
    await until(lambda: not listener.open)
    assert listener.handshakes == {"timeout": 1}


async def test_a_client_that_speaks_no_tls(gate: Gate) -> None:
    listener = gate.open()
    gate.plain().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: listener.handshakes)
    assert listener.handshakes == {"failed": 1}
    await until(lambda: not listener.open)
    await gate.connect()


async def test_a_client_that_is_gone_before_it_is_accepted_is_passed_over(gate: Gate) -> None:
    gate.socket.failures = [errno.ECONNABORTED] * 3
    gate.open()
    await gate.connect()


async def test_a_wake_up_that_was_lost_is_made_up_for_by_the_next_sweep(gate: Gate) -> None:
    gate.open()
    gate.pump.unregister(gate.socket.fileno())  # as if another worker had been woken, and died
    far = gate.client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.handshake)
        await wait_all_tasks_blocked()
        assert not gate.served
        gate.pump.sweep()
    await until(lambda: gate.served)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_accepting_pauses_and_resumes(
    gate: Gate, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    gate.socket.failures = [error]
    with caplog.at_level(logging.WARNING, "penstock.listener"):
        gate.open()
        far = gate.client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.handshake)
            await until(lambda: not gate.socket.failures)
            assert is_quiet(gate.pump)  # rather than to be told again and again
        await until(lambda: gate.served)
    assert len(caplog.records) == 1
    assert "cannot accept" in caplog.text


async def test_after_stop_none_is_accepted_and_none_is_ended(gate: Gate) -> None:
    listener = gate.open()
    far = await gate.connect()
    listener.stop()
    waiting = gate.plain()
    await wait_all_tasks_blocked()
    assert is_quiet(gate.pump)
    assert (len(gate.served), listener.open) == (1, 1)
    far.leave(Leaving.CLEANLY)
    await until(lambda: not listener.open)
    await wait_all_tasks_blocked()
    assert not listener.open
    other, _ = gate.socket.accept()  # as another worker does
    other.close()
    assert await ended(waiting)


async def test_cancellation_closes_connections_and_handshakes_under_way(world: World) -> None:
    async with trio.open_nursery() as nursery:
        gate = Gate(world, nursery)
        listener = gate.open()
        shaken, silent = await gate.connect(), gate.plain()
        await until(lambda: listener.open == 2)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not listener.open
    assert await ended(silent)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shaken.receive()
    gate.close()


async def test_stopping_while_accepting_is_paused(gate: Gate) -> None:
    listener = gate.open(bounds=Bounds(handshakes=1))
    silent = gate.plain()
    await until(lambda: listener.open)
    listener.stop()
    silent.close()
    await until(lambda: not listener.open)
    gate.plain()
    await wait_all_tasks_blocked()
    assert not listener.open


# The gateway's certificates.


def subject(far: Far) -> str:
    certificate: Any = far.sock.getpeercert()
    name: str = certificate["subject"][0][0][1]
    return name


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("server.localhost", "server"),
        ("mock.localhost", "mock"),
        ("MOCK.localhost", "mock"),
        ("localhost", "server"),
    ],
)
async def test_the_certificate_for_a_name(gate: Gate, asked: str, shown: str) -> None:
    gate.open("server", "mock")
    assert subject(await gate.connect(name=asked)) == shown


async def test_without_a_name_it_is_the_first(gate: Gate) -> None:
    gate.open("mock", "server")
    assert subject(await gate.connect(name="127.0.0.1")) == "mock"


@pytest.mark.parametrize("asked", ["other.localhost", "elsewhere.example"], ids=["wildcard", "nobody's"])
async def test_the_first_certificate_for_a_name_that_all_or_none_are_for(gate: Gate, asked: str) -> None:
    gate.open("server", "mock")
    context = gate.world.far_client()
    context.check_hostname = False
    assert subject(await gate.connect(context, name=asked)) == "server"


async def test_a_new_context_is_for_the_next_handshake(gate: Gate) -> None:
    listener = gate.open("server")
    old = await gate.connect()
    listener.context = server_context(tls(gate.world.pki, "mock"))
    assert subject(await gate.connect()) == "mock"
    assert next(iter(listener.connections)).link.fd >= 0
    assert subject(old) == "server"


@pytest.mark.parametrize(("minimum", "accepted"), [("1.2", True), ("1.3", False)])
async def test_the_least_tls(gate: Gate, minimum: str, accepted: bool) -> None:
    listener = gate.open(minimum=minimum)
    context = gate.world.far_client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if accepted:
        assert (await gate.connect(context)).sock.version() == "TLSv1.2"
    else:
        with pytest.raises(ssl.SSLError):
            await gate.client(context).handshake()
        await until(lambda: listener.handshakes)
        assert listener.handshakes == {"failed": 1}


async def test_sessions_are_not_resumed(gate: Gate) -> None:
    gate.open()
    context = gate.world.far_client()
    first = await gate.connect(context)
    sock = context.wrap_socket(
        gate.plain(), server_hostname="localhost", do_handshake_on_connect=False, session=first.sock.session
    )
    gate.opened.append(sock)
    await Far(sock).handshake()
    assert not sock.session_reused


# Clients' certificates.


async def test_off_asks_for_none(gate: Gate) -> None:
    gate.open(mode="off")
    await gate.connect(gate.world.far_client("turbine-7"))
    assert gate.served[0].certificate is None


@pytest.mark.parametrize("mode", ["optional", "required"])
async def test_a_good_certificate_is_known_to_whom_it_belongs(gate: Gate, mode: str) -> None:
    gate.open(mode=mode)
    for _ in range(2):
        await gate.connect(gate.world.far_client("turbine-7"))
    first, second = (connection.certificate for connection in gate.served)
    assert first is not None
    assert first.subject == "CN=turbine-7,O=Contoso"
    assert first.issuer == "CN=Devices CA,O=Contoso"
    assert first.san_uri == {"spiffe://contoso/turbine-7"}
    assert second == first


async def test_optional_takes_none(gate: Gate) -> None:
    gate.open(mode="optional")
    await gate.connect()
    assert gate.served[0].certificate is None


async def refused(gate: Gate, context: ssl.SSLContext) -> None:
    """The client hears an alert, at once or when it first reads (TLS 1.3), and is not served."""
    far = gate.client(context)
    with pytest.raises(ssl.SSLError):
        await shaken_and_read(far)
    await until(lambda: not gate.listener.open)
    assert not gate.served


async def shaken_and_read(far: Far) -> None:
    await far.handshake()
    await far.receive()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_required_refuses_none(gate: Gate, version: ssl.TLSVersion) -> None:
    listener = gate.open(mode="required")
    context = gate.world.far_client()
    context.maximum_version = version
    await refused(gate, context)
    assert listener.handshakes == {"failed": 1}


@pytest.mark.parametrize("mode", ["optional", "required"])
@pytest.mark.parametrize(
    "which", ["expired", "not-yet-valid", "wrong-eku", "untrusted", "self-signed", "no-intermediate"]
)
async def test_a_bad_certificate_is_refused_whether_it_is_needed_or_not(gate: Gate, mode: str, which: str) -> None:
    listener = gate.open(mode=mode)
    await refused(gate, gate.world.far_client(which))
    assert listener.handshakes == {"certificate_refused": 1}
