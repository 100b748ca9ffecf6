"""The admin and the health address over real sockets: what they answer, to whom, and that nobody can wear them out."""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.admin.app import admin_app
from proxy.admin.guard import Guard
from proxy.admin.server import AdminUnusable, host_names, serve_admin
from proxy.admin.token import TokenError
from proxy.admin.view import ReloadResult, Status
from proxy.config.structs import Admin
from proxy.supervisor.sockets import listen
from tests.admin.world import BEARER, NOW, TOKEN, Gateway, admin_of, health_of

SAFE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def code(response: httpx.Response) -> str:
    """The error's code; all errors have the same shape and no more."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert "Traceback" not in response.text
    return str(body["error"]["code"])


async def speak(client: httpx.AsyncClient, data: bytes) -> bytes:
    """What a connection says to these bytes until it closes."""
    stream = await trio.open_tcp_stream(client.base_url.host, client.base_url.port or 80)
    async with stream:
        await stream.send_all(data)
        with trio.fail_after(10):
            return b"".join([part async for part in stream])


# What is answered.


async def test_the_status_is_json_that_decodes_to_what_is() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        response = await client.get("/api/status", headers=BEARER)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert msgspec.json.decode(response.content, type=Status) == gateway.shown


async def test_the_page_opens_with_the_token_as_password() -> None:
    async with admin_of(Gateway()) as client:
        response = await client.get("/", auth=("anyone", TOKEN))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'sha256-" in response.headers["content-security-policy"]
    assert "turbine-7" in response.text


async def test_the_metrics_are_prometheus_text() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        response = await client.get("/metrics", headers=BEARER)
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.content == gateway.metrics()


async def test_a_reload_is_done_and_told() -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        done = await client.post("/api/reload", headers=BEARER)
        gateway.result = ReloadResult(ok=False, time=NOW, version=5, error="clients[0].name: missing")
        failed = await client.post("/api/reload", headers=BEARER)
    assert (done.status_code, failed.status_code) == (200, 422)
    assert done.json() == {"ok": True, "time": NOW, "version": 5, "error": None, "problems": []}
    assert failed.json()["error"] == "clients[0].name: missing"
    assert gateway.reloads == 2


async def test_one_reload_at_a_time() -> None:
    gateway = Gateway()
    gateway.may_reload = trio.Event()
    async with admin_of(gateway) as client, trio.open_nursery() as nursery:
        first: list[httpx.Response] = []

        async def reload() -> None:
            first.append(await client.post("/api/reload", headers=BEARER))

        nursery.start_soon(reload)
        while not gateway.reloads:
            await trio.sleep(0)
        second = await client.post("/api/reload", headers=BEARER)
        assert (second.status_code, code(second)) == (409, "ReloadUnderWay")
        gateway.may_reload.set()
    assert [response.status_code for response in first] == [200]
    assert gateway.reloads == 1


async def test_a_reload_that_does_not_end_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    gateway = Gateway()
    gateway.may_reload = trio.Event()
    app = admin_app(gateway, Guard(TOKEN, frozenset({"localhost"})))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client:
        response = await client.post("/api/reload", headers=BEARER)
        assert (response.status_code, code(response)) == (504, "ReloadTimeout")
        gateway.may_reload.set()
        assert (await client.post("/api/reload", headers=BEARER)).status_code == 200


@pytest.mark.parametrize("address_of", [admin_of, health_of])
async def test_readiness_says_what_is_missing(
    address_of: Callable[[Gateway], AbstractAsyncContextManager[httpx.AsyncClient]],
) -> None:
    gateway = Gateway()
    async with address_of(gateway) as client:
        ready = await client.get("/readyz")
        gateway.missing = ["no usable deployment"]
        not_ready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})
    assert (not_ready.status_code, not_ready.json()) == (503, {"ready": False, "reasons": ["no usable deployment"]})
    assert (alive.status_code, alive.json()) == (200, {"status": "up"})


# To whom.


@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/nowhere", "/healthz/"])
async def test_without_the_token_there_is_nothing_to_see(path: str) -> None:
    async with admin_of(Gateway()) as client:
        response = await client.get(path)
    assert (response.status_code, code(response)) == (401, "Unauthorized")
    assert [value.split()[0] for value in response.headers.get_list("www-authenticate")] == ["Basic", "Bearer"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:9443"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"authorization": "Bearer wrong"}, 401),
    ],
)
async def test_a_reload_from_elsewhere_is_refused(headers: dict[str, str], status: int) -> None:
    gateway = Gateway()
    async with admin_of(gateway) as client:
        response = await client.post("/api/reload", headers={**BEARER, **headers})
    assert response.status_code == status
    assert code(response)
    assert gateway.reloads == 0


async def test_http_2_is_judged_alike() -> None:
    async with admin_of(Gateway()) as client:
        base = client.base_url
        async with httpx.AsyncClient(base_url=base, http1=False, http2=True, trust_env=False) as over_2:
            denied = await over_2.get("/api/status")
            allowed = await over_2.get("/api/status", headers=BEARER)
    assert (denied.http_version, denied.status_code, allowed.status_code) == ("HTTP/2", 401, 200)


# Answers are safe whatever they are.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/api/status", 200),
        ("GET", "/metrics", 200),
        ("POST", "/api/reload", 200),
        ("GET", "/healthz", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/api/reload", 405),
        ("POST", "/", 405),
        ("DELETE", "/api/status", 405),
    ],
)
async def test_every_answer_is_safe_in_a_browser(method: str, path: str, status: int) -> None:
    async with admin_of(Gateway()) as client:
        response = await client.request(method, path, headers=BEARER)
    assert response.status_code == status
    for name, value in SAFE.items():
        assert response.headers.get_list(name) == [value]
    [policy] = response.headers.get_list("content-security-policy")
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "set-cookie" not in response.headers
    assert "server" not in response.headers
    if status >= 400:
        assert code(response)


async def test_a_failure_inside_is_an_answer_without_a_traceback_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Gateway):
        def status(self) -> Status:
            raise RuntimeError("secret detail")

    async with admin_of(Broken()) as client:
        response = await client.get("/api/status", headers=BEARER)
        assert (response.status_code, code(response)) == (500, "InternalError")
        assert "secret detail" not in response.text
        assert SAFE.items() <= dict(response.headers).items()
        assert (await client.get("/healthz")).status_code == 200
    assert "secret detail" in caplog.text
    assert TOKEN not in caplog.text


# The health address.


@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/api/reload", "/healthz/", "/nowhere"])
async def test_the_health_address_has_nothing_but_health(path: str) -> None:
    async with health_of(Gateway()) as client:
        response = await client.get(path, headers=BEARER)
    assert (response.status_code, code(response)) == (404, "NotFound")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_health_is_only_read(method: str) -> None:
    async with health_of(Gateway()) as client:
        response = await client.request(method, "/healthz")
    assert (response.status_code, code(response)) == (405, "MethodNotAllowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_health_answers_head_and_any_host_and_closes() -> None:
    async with health_of(Gateway()) as client:
        answer = await speak(client, b"HEAD /healthz HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head.lower()
    assert body == b""


# Nobody can wear them out.


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
)
async def test_what_is_no_request_ends_its_connection_alone(data: bytes) -> None:
    async with admin_of(Gateway()) as client:
        answer = await speak(client, data)
        assert b" 200 " not in answer
        assert b" 101 " not in answer
        assert (await client.get("/healthz")).status_code == 200


async def test_connections_that_their_clients_have_closed_count_no_more() -> None:
    async with admin_of(Gateway()) as client:
        host, port = client.base_url.host, client.base_url.port or 80
        for _ in range(80):
            async with await trio.open_tcp_stream(host, port):
                await trio.testing.wait_all_tasks_blocked(0.005)  # until it is idle there
        assert (await client.get("/api/status", headers=BEARER)).status_code == 200


async def test_connections_are_bounded_and_room_comes_back() -> None:
    async with admin_of(Gateway()) as client:
        host, port = client.base_url.host, client.base_url.port or 80
        held = [await trio.open_tcp_stream(host, port) for _ in range(64)]
        with trio.fail_after(10):
            over = await trio.open_tcp_stream(host, port)
            async with over:
                assert await over.receive_some() == b""
        for stream in held:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for stream in held:
            with trio.fail_after(10):
                assert b"".join([part async for part in stream]).startswith(b"HTTP/1.1 200")
            await stream.aclose()
        assert (await client.get("/healthz")).status_code == 200


async def test_an_end_of_the_program_does_not_wait_for_idle_connections() -> None:
    with trio.fail_after(5):
        async with admin_of(Gateway()) as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_certificates_are_listed_alone() -> None:
    async with admin_of(Gateway()) as client:
        listed = (await client.get("/api/certificates", headers=BEARER)).json()
        assert listed == (await client.get("/api/status", headers=BEARER)).json()["certificates"]
        assert [certificate["name"] for certificate in listed] == ["listen.certificate", "listen.certificates[0]"]
        assert (await client.get("/api/certificates")).status_code == 401


# Off loopback.


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key, ca=True)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [
            x509.DNSName("gateway.example"),
            x509.DNSName("*.edge.example"),
            x509.IPAddress(ip_address("127.0.0.1")),
        ]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """A leaf and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, ca=False)
        pem = serialization.Encoding.PEM
        (directory / f"{name}.pem").write_bytes(leaf.public_bytes(pem))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return str(directory / f"{name}.pem"), str(directory / f"{name}.key")


@pytest.fixture
def far(tmp_path: Path) -> tuple[Admin, Authority]:
    """An admin address that is not loopback, and who signs for it."""
    authority = Authority("root")
    certificate, key = authority.write(tmp_path, "server")
    root = tmp_path / "root.pem"
    root.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    admin = Admin(address="0.0.0.0:9443", certificate=certificate, private_key=key, roots=(str(root),))
    return admin, authority


def trusting(authority: Authority) -> ssl.SSLContext:
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM).decode()
    return ssl.create_default_context(cadata=pem)


async def test_off_loopback_a_client_certificate_and_the_token_are_needed(
    far: tuple[Admin, Authority], tmp_path: Path
) -> None:
    admin, authority = far
    ours, stranger, nobody = trusting(authority), trusting(authority), trusting(authority)
    ours.load_cert_chain(*authority.write(tmp_path, "operator"))
    stranger.load_cert_chain(*Authority("root").write(tmp_path, "stranger"))
    async with admin_of(Gateway(), admin) as plain:
        base = plain.base_url
        async with httpx.AsyncClient(base_url=base, verify=ours, trust_env=False) as client:
            assert (await client.get("/api/status", headers=BEARER)).status_code == 200
            assert (await client.get("/api/status")).status_code == 401
        for context in (stranger, nobody):
            async with httpx.AsyncClient(base_url=base, verify=context, trust_env=False) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get("/healthz")
        assert b"HTTP/1.1 200" not in await speak(plain, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with httpx.AsyncClient(base_url=base, verify=ours, trust_env=False) as client:
            assert (await client.get("/readyz")).status_code == 200


async def test_certificate_and_roots_are_replaced_while_it_serves(far: tuple[Admin, Authority], tmp_path: Path) -> None:
    admin, old = far
    new = Authority("new root")
    assert admin.certificate is not None
    assert admin.private_key is not None
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    of_old, of_new = old.write(tmp_path / "old", "operator"), new.write(tmp_path / "new", "operator")
    server, key = new.write(tmp_path / "new", "server")

    async def answered(base: httpx.URL, trusted: Authority, pair: tuple[str, str]) -> bool:
        context = trusting(trusted)
        context.load_cert_chain(*pair)
        async with httpx.AsyncClient(base_url=base, verify=context, trust_env=False) as client:
            try:
                return (await client.get("/healthz")).status_code == 200
            except httpx.TransportError:
                return False

    async with admin_of(Gateway(), admin) as plain:
        assert await answered(plain.base_url, old, of_old)
        Path(admin.certificate).write_bytes(Path(server).read_bytes())
        assert await answered(plain.base_url, old, of_old), "a certificate without its key changes nothing"
        Path(admin.private_key).write_bytes(Path(key).read_bytes())
        assert await answered(plain.base_url, new, of_old)
        Path(admin.roots[0]).write_bytes(new.certificate.public_bytes(serialization.Encoding.PEM))
        assert await answered(plain.base_url, new, of_new)
        assert not await answered(plain.base_url, new, of_old)


def test_the_names_of_an_address_are_what_it_listens_on_and_what_its_certificate_says(
    far: tuple[Admin, Authority],
) -> None:
    assert host_names(far[0]) == {"0.0.0.0", "gateway.example", "*.edge.example", "127.0.0.1"}
    assert host_names(Admin(address="[::1]:9443")) == {"[::1]", "localhost", "127.0.0.1"}
    assert host_names(Admin(address="LOCALHOST:9443")) == {"[::1]", "localhost", "127.0.0.1"}
    assert host_names(Admin(address="127.0.0.2:9443")) == {"127.0.0.2", "[::1]", "localhost", "127.0.0.1"}


@pytest.mark.parametrize("address", ["0.0.0.0:9443", "[::]:9443", "10.0.0.4:9443", "gateway.example:9443"])
async def test_off_loopback_nothing_is_served_without_tls(address: str) -> None:
    with listen("127.0.0.1:0") as sock, pytest.raises(AdminUnusable, match="certificate, private_key and roots"):
        await serve_admin(sock, Admin(address=address), TOKEN, Gateway())


async def test_off_loopback_tls_without_roots_is_not_enough(far: tuple[Admin, Authority]) -> None:
    admin = msgspec.structs.replace(far[0], roots=())
    with listen("127.0.0.1:0") as sock, pytest.raises(AdminUnusable):
        await serve_admin(sock, admin, TOKEN, Gateway())


async def test_a_token_that_can_be_guessed_is_not_served() -> None:
    with listen("127.0.0.1:0") as sock, pytest.raises(TokenError):
        await serve_admin(sock, Admin(), "hunter2", Gateway())
