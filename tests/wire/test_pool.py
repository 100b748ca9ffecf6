"""Connections to one backend, over real TLS: reused, bounded, resumed, refused, and never trusted to be alive."""

import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from certs.pki import Pki
from proxy.config.structs import Backend
from proxy.wire import pool as pools
from proxy.wire.pool import IDLE_FOR, LIFETIME, BackendLink, ConnectFailed, Pool
from proxy.wire.pump import Pump
from proxy.wire.tls import backend_context
from tests.wire.world import LATER, WITHIN, Far, Leaving, World, is_quiet, pass_time, soon, until


class BackendHost:
    """Accepts connections as a backend does. `opened` have shaken hands."""

    def __init__(self, context: ssl.SSLContext, address: str = "127.0.0.1") -> None:
        self.context = context
        self.listening = socket.create_server((address, 0))
        self.listening.setblocking(False)
        self.port: int = self.listening.getsockname()[1]
        self.accepted = 0
        self.opened: list[Far] = []
        self._all: list[Far] = []

    def url(self, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}"

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self.listening)
                sock, _ = self.listening.accept()
                self.accepted += 1
                nursery.start_soon(self._greet, sock)

    async def _greet(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        far = Far(
            self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False)
        )
        self._all.append(far)
        with contextlib.suppress(ssl.SSLError, OSError):
            await far.handshake()
            self.opened.append(far)

    def close(self) -> None:
        self.listening.close()
        for far in self._all:
            far.sock.close()


@pytest.fixture
async def host(world: World, pump: Pump) -> AsyncIterator[BackendHost]:
    made = BackendHost(world.far_backend())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.close()


def a_pool(pump: Pump, url: str, pki: Pki) -> Pool:
    backend = Backend(name="swc", url=url, region="swedencentral", credential="c")
    return Pool(pump, backend, backend_context(pki.server_root.read_bytes()))


@pytest.fixture
async def pool(host: BackendHost, pump: Pump, pki: Pki) -> AsyncIterator[Pool]:
    made = a_pool(pump, host.url(), pki)
    yield made
    made.close()


async def answered(host: BackendHost, link: BackendLink) -> None:
    """A request and its answer, on the only connection."""
    await link.send(b"?", soon())
    await until(lambda: host.opened)
    (far,) = host.opened
    assert await far.exactly(1) == b"?"
    await far.send(b"!")
    assert await link.recv_into(link.pump.view, soon()) == 1


def as_if(pump: Pump, seconds: float) -> None:
    """The pump's last turn was `seconds` from now. Holds until it turns again."""
    pump.now = time.monotonic() + seconds


# Reuse.


async def test_a_connection_is_used_again(host: BackendHost, pool: Pool) -> None:
    assert pool.idle() is None
    link = await pool.connect(WITHIN)
    await answered(host, link)
    pool.give_back(link)
    assert pool.idle() is link
    assert pool.idle() is None
    await answered(host, link)
    pool.give_back(link)
    assert link.used == 2


async def test_room_to_write_is_released_by_sending_nothing(host: BackendHost, pool: Pool) -> None:
    link = await pool.connect(WITHIN)
    await answered(host, link)  # tickets came with it
    link.release_room()
    await answered(host, link)
    link.close()
    link.release_room()
    assert host.accepted == 1


async def test_the_most_recently_used_first(pool: Pool) -> None:
    links = [await pool.connect(WITHIN) for _ in range(3)]
    for link in links:
        pool.give_back(link)
    assert repr(pool).endswith("idle=3>")
    assert [pool.idle() for _ in range(4)] == [*reversed(links), None]
    for link in links:
        link.close()


async def test_the_number_of_idle_connections_is_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_AT_MOST", 2)
    links = [await pool.connect(WITHIN) for _ in range(3)]
    for link in links:
        pool.give_back(link)
    assert [link.fd < 0 for link in links] == [False, False, True]


@pytest.mark.parametrize("past", [IDLE_FOR, LIFETIME])
async def test_one_that_was_idle_or_open_for_too_long_is_not_used(pool: Pool, pump: Pump, past: float) -> None:
    link = await pool.connect(WITHIN)
    pool.give_back(link)
    as_if(pump, past + 1)
    assert pool.idle() is None
    assert link.fd < 0


async def test_one_that_is_used_all_the_time_still_grows_old(pool: Pool, pump: Pump) -> None:
    link = await pool.connect(WITHIN)
    as_if(pump, LIFETIME - 1)
    pool.give_back(link)
    assert pool.idle() is link
    pool.give_back(link)
    as_if(pump, LIFETIME + 1)
    assert pool.idle() is None
    assert link.fd < 0


async def test_pruning_closes_what_is_past_its_time_and_nothing_else(pool: Pool, pump: Pump) -> None:
    old, young = await pool.connect(WITHIN), await pool.connect(WITHIN)
    pool.give_back(old)
    as_if(pump, IDLE_FOR / 2)
    pool.give_back(young)
    as_if(pump, IDLE_FOR + 1)
    pool.prune()
    assert (old.fd < 0, young.fd < 0) == (True, False)
    as_if(pump, 0)
    assert pool.idle() is young
    young.close()


# What happens to an idle one.


@pytest.mark.parametrize("how", Leaving)
async def test_one_that_its_backend_closes_is_dropped_at_once(
    host: BackendHost, pool: Pool, pump: Pump, how: Leaving
) -> None:
    link = await pool.connect(WITHIN)
    await answered(host, link)
    pool.give_back(link)
    host.opened[0].leave(how)
    await until(lambda: link.fd < 0)
    assert pool.idle() is None
    assert is_quiet(pump)


async def test_one_that_says_what_nobody_asked_for_is_dropped(host: BackendHost, pool: Pool) -> None:
    link = await pool.connect(WITHIN)
    await answered(host, link)
    pool.give_back(link)
    await host.opened[0].send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    await until(lambda: link.fd < 0)
    assert pool.idle() is None


async def test_session_tickets_are_no_reason_to_drop_one(host: BackendHost, pool: Pool, pump: Pump) -> None:
    link = await pool.connect(WITHIN)
    pool.give_back(link)
    await until(lambda: host.opened)
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    assert pool.idle() is link
    await answered(host, link)
    link.close()


async def test_one_in_use_that_its_backend_closes_does_not_spin(host: BackendHost, pool: Pool, pump: Pump) -> None:
    link = await pool.connect(WITHIN)
    pool.give_back(link)
    assert pool.idle() is link
    await until(lambda: host.opened)
    host.opened[0].leave(Leaving.RAGGED)
    await wait_all_tasks_blocked()
    assert is_quiet(pump)
    link.close()


# TLS.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(host: BackendHost, pool: Pool, version: ssl.TLSVersion) -> None:
    host.context.maximum_version = version
    first = await pool.connect(WITHIN)
    assert not first.sock.session_reused
    await answered(host, first)
    pool.give_back(first)
    second = await pool.connect(WITHIN)
    assert second.sock.session_reused
    assert second.sock.version() == version.name.replace("v1_", "v1.")
    second.close()


async def test_a_backend_of_another_name_is_refused(world: World, pump: Pump, pki: Pki) -> None:
    host = BackendHost(world.far_backend(), "127.0.0.2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        with pytest.raises(ConnectFailed, match="TLS: IP address mismatch") as failed:
            await a_pool(pump, host.url("127.0.0.2"), pki).connect(WITHIN)
        nursery.cancel_scope.cancel()
    assert not failed.value.timeout
    host.close()


async def test_an_address_in_place_of_a_name(host: BackendHost, pump: Pump, pki: Pki) -> None:
    link = await a_pool(pump, host.url("127.0.0.1"), pki).connect(WITHIN)
    await answered(host, link)
    link.close()


async def test_a_name_that_is_none_for_tls_is_refused(host: BackendHost, pump: Pump, pki: Pki) -> None:
    backend = Backend(
        name="swc",
        url=f"https://{'a' * 64}.example",
        connect_to=f"127.0.0.1:{host.port}",
        region="swedencentral",
        credential="c",
    )
    with pytest.raises(ConnectFailed, match="TLS: its name is no host's"):
        await Pool(pump, backend, backend_context(pki.server_root.read_bytes())).connect(WITHIN)


async def test_a_backend_that_is_not_trusted_is_refused(host: BackendHost, pump: Pump, other_pki: Pki) -> None:
    with pytest.raises(ConnectFailed, match="TLS: unable to get local issuer certificate"):
        await a_pool(pump, host.url(), other_pki).connect(WITHIN)


async def test_a_backend_whose_certificate_has_expired_is_refused(pump: Pump, pki: Pki) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.pairs["expired"].certificate, pki.pairs["expired"].key)
    host = BackendHost(context)
    trusting = backend_context(pki.client_root.read_bytes())
    pool = Pool(pump, Backend(name="b", url=host.url(), region="r", credential="c"), trusting)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        with pytest.raises(ConnectFailed, match="TLS: "):
            await pool.connect(WITHIN)
        nursery.cancel_scope.cancel()
    host.close()


# When there is no connection to be had.


async def test_a_backend_that_is_not_there(pump: Pump, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectFailed, match="Connection refused") as failed:
        await a_pool(pump, f"https://127.0.0.1:{port}", pki).connect(WITHIN)
    assert not failed.value.timeout


async def test_a_backend_that_does_not_take_the_connection(pump: Pump, pki: Pki) -> None:
    """Its queue is full, so that the kernel does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        with pytest.raises(ConnectFailed) as failed:
            await a_pool(pump, f"https://127.0.0.1:{address[1]}", pki).connect(0.05)
        assert failed.value.timeout
        for sock in waiting:
            sock.close()


async def test_a_backend_that_shakes_no_hands(pump: Pump, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pool = a_pool(pump, f"https://127.0.0.1:{silent.getsockname()[1]}", pki)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def connect() -> None:
                with pytest.raises(ConnectFailed, match="handshake timed out") as failed:
                    await pool.connect(WITHIN)
                assert failed.value.timeout

            await until(lambda: pump.timed)
            pass_time(pump, LATER)


async def test_a_backend_that_hangs_up_or_speaks_no_tls(pump: Pump, pki: Pki) -> None:
    for says in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as other:
            other.setblocking(False)
            pool = a_pool(pump, f"https://127.0.0.1:{other.getsockname()[1]}", pki)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def connect(pool: Pool = pool) -> None:
                    with pytest.raises(ConnectFailed, match="TLS: ") as failed:
                        await pool.connect(WITHIN)
                    assert not failed.value.timeout

                await trio.lowlevel.wait_readable(other)
                sock, _ = other.accept()
                with sock:
                    sock.send(says)


async def test_cancelling_a_connect_leaves_nothing_open(pump: Pump, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pool = a_pool(pump, f"https://127.0.0.1:{silent.getsockname()[1]}", pki)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.connect, WITHIN)
            await until(lambda: pump.timed)
            nursery.cancel_scope.cancel()
        assert not pump.timed
        sock, _ = silent.accept()
        with sock:
            sock.settimeout(WITHIN)
            while sock.recv(4096):
                pass  # its hello; then the end, since the socket was closed


class Names(trio.abc.HostnameResolver):
    """Tells addresses for a name, and counts how often it was asked."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.addresses = addresses
        self.asked = 0

    async def getaddrinfo(self, *_: object) -> list[tuple[object, ...]]:  # type: ignore[override]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

    async def getnameinfo(self, *_: object) -> tuple[str, str]:
        raise NotImplementedError


async def test_each_address_of_a_name_is_tried_and_the_answer_kept(host: BackendHost, pool: Pool, pump: Pump) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()
    names = Names(dead, ("127.0.0.1", host.port))
    trio.socket.set_custom_hostname_resolver(names)
    for _ in range(2):
        (await pool.connect(WITHIN)).close()
    assert names.asked == 1
    host.listening.close()


async def test_a_name_is_asked_for_again_when_nothing_answers(host: BackendHost, pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        names = Names(gone.getsockname())
    trio.socket.set_custom_hostname_resolver(names)
    with pytest.raises(ConnectFailed):
        await pool.connect(WITHIN)
    names.addresses = (("127.0.0.1", host.port),)
    (await pool.connect(WITHIN)).close()
    assert names.asked == 2


async def test_a_name_that_is_none(pool: Pool) -> None:
    class Nowhere(Names):
        async def getaddrinfo(self, *_: object) -> list[tuple[object, ...]]:  # type: ignore[override]
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    trio.socket.set_custom_hostname_resolver(Nowhere())
    with pytest.raises(ConnectFailed, match="Name or service not known"):
        await pool.connect(WITHIN)


# The end.


async def test_closing_lets_what_is_in_use_finish(host: BackendHost, pool: Pool) -> None:
    used = await pool.connect(WITHIN)
    await answered(host, used)
    idle = await pool.connect(WITHIN)
    pool.give_back(idle)
    pool.close()
    assert idle.fd < 0
    await host.opened[0].send(b"still")
    assert await used.recv_into(used.pump.view, soon()) == 5
    pool.give_back(used)
    assert used.fd < 0
    assert pool.idle() is None


async def test_a_closed_link_is_not_kept(pool: Pool) -> None:
    link = await pool.connect(WITHIN)
    link.close()
    pool.give_back(link)
    assert pool.idle() is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://swc.openai.azure.com", b"swc.openai.azure.com"),
        ("https://swc.openai.azure.com:8443/", b"swc.openai.azure.com:8443"),
        ("https://[::1]:8443", b"[::1]:8443"),
    ],
)
def test_the_host_that_requests_are_for(still: Pump, pki: Pki, url: str, host: bytes) -> None:
    assert a_pool(still, url, pki).host_header == host
