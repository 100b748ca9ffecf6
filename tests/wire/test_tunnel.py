"""Through a forward proxy: TLS with the backend in a tunnel, and every way in which a proxy can be of no use."""

import pytest

from certs.pki import Pki
from proxy.config.structs import Backend
from proxy.messages import ForwardProxy
from proxy.wire.pool import ConnectFailed, Pool
from proxy.wire.pump import Pump
from proxy.wire.tls import backend_context
from proxy.wire.tunnel import connect_request
from tests.forward_proxy import FakeProxy, forward_proxy
from tests.wire.test_pool import BackendHost, answered, host
from tests.wire.world import WITHIN, until

__all__ = ["host"]


def pool_through(proxy: FakeProxy, pump: Pump, url: str, pki: Pki, proof: str | None = None) -> Pool:
    backend = Backend(name="swc", url=url, region="swedencentral", credential="c")
    through = ForwardProxy("127.0.0.1", proxy.port, proof)
    return Pool(pump, backend, backend_context(pki.server_root.read_bytes()), proxy=through)


@pytest.mark.parametrize("proof", [None, "Basic dXNlcjpodW50ZXIy"])
async def test_the_backend_is_spoken_to_and_verified_through_it(
    host: BackendHost, pump: Pump, pki: Pki, proof: str | None
) -> None:
    with forward_proxy() as proxy:
        pool = pool_through(proxy, pump, host.url(), pki, proof)
        link = await pool.connect(WITHIN)
        await answered(host, link)
        pool.give_back(link)
        again = await pool.connect(WITHIN)
        assert again.sock.session_reused
        again.close()
        pool.close()
    expected = f"CONNECT localhost:{host.port} HTTP/1.1\r\nHost: localhost:{host.port}\r\n"
    expected += "" if proof is None else f"Proxy-Authorization: {proof}\r\n"
    assert proxy.heads == [f"{expected}\r\n".encode()] * 2


async def test_a_backend_that_is_not_trusted_is_not_trusted_through_it_either(
    host: BackendHost, pump: Pump, other_pki: Pki
) -> None:
    with forward_proxy() as proxy, pytest.raises(ConnectFailed, match="TLS: unable to get local issuer"):
        await pool_through(proxy, pump, host.url(), other_pki).connect(WITHIN)


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 3\r\n\r\nno!", "answered 407"),
        (b"HTTP/1.1 502 <script>\r\n\r\n", "answered 502"),
        (b"HTTP/1.1 301 Moved\r\nlocation: http://evil.example\r\n\r\n", "answered 301"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", "answered 403"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "sent more than its answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40_000, "sent a head that is too long"),
        (b"HTTP/1.1 200 OK\r\nx: y", "closed the connection"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_a_proxy_that_does_not_connect(pump: Pump, pki: Pki, answer: bytes, fact: str) -> None:
    with forward_proxy(answer) as proxy:
        with pytest.raises(ConnectFailed, match=f"connect: the forward proxy {fact}$") as failed:
            await pool_through(proxy, pump, "https://localhost:1", pki, "Basic aHVudGVyMg==").connect(WITHIN)
        assert not failed.value.timeout
        assert "aHVudGVyMg" not in str(failed.value)


async def test_a_proxy_that_says_nothing_is_a_connect_that_takes_too_long(pump: Pump, pki: Pki) -> None:
    with forward_proxy(None) as proxy:
        with pytest.raises(ConnectFailed) as failed:
            await pool_through(proxy, pump, "https://localhost:1", pki).connect(0.05)
        assert failed.value.timeout
        await until(lambda: proxy.ended)


@pytest.mark.parametrize(
    ("place", "authority"), [("swc.example", "swc.example:443"), ("10.0.0.4", "10.0.0.4:443"), ("::1", "[::1]:443")]
)
def test_what_is_asked_for(place: str, authority: str) -> None:
    proxy = ForwardProxy("proxy.example", 3128)
    assert connect_request(place, 443, proxy) == f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def test_what_it_is_shown_is_never_printed() -> None:
    assert "hunter2" not in repr([ForwardProxy("proxy.example", 3128, "hunter2")])
