"""`check --online` against real TLS on loopback: what answers, what does not, and that nothing is waited for long."""

import math
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from certs.pki import Pki, build
from proxy.commands import online
from proxy.config.structs import Backend, ClientCertificates, Config, Credential, Listen, SecretRef, Upstream
from proxy.messages import UpstreamCredential
from proxy.supervisor.backends.credential_sources import CredentialFailed
from tests.forward_proxy import ESTABLISHED, forward_proxy


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a listener that gives its one connection to `serve`, in a thread that ends with it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def accept() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def speak_tls(pki: Pki, status: int = 200, asked: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """Answers with a status; `asked` gets what was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.pairs["mock"].certificate, pki.pairs["mock"].key)

    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                request = secured.recv(65536)
                secured.sendall(b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        except OSError:
            return
        if asked is not None:
            asked.append(request)

    return serve


def say_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(1)


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def backend(port: int, ca: object, host: str = "localhost", connect_to: str | None = None) -> Config:
    url = f"https://{host}:{port}"
    one = Backend(name="swc", url=url, region="r", credential="c", ca=str(ca), connect_to=connect_to)
    return Config(listen=Listen(certificate="unused"), backends=(one,))


def keyed(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """With a credential that is obtained."""
    key = UpstreamCredential("api-key", "hunter2", math.inf)
    monkeypatch.setattr(online, "build", lambda name, definition: lambda: key)
    return msgspec.structs.replace(config, credentials={"c": Credential(kind="api_key")})


def test_a_backend_that_answers(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(speak_tls(pki)) as port:
        assert online.check(backend(port, pki.server_root)) == 0
    assert capsys.readouterr() == ("backend swc: ok\n", "")


@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_a_backend_is_asked_with_its_credential(
    pki: Pki, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bytes] = []
    with listening(speak_tls(pki, status, asked)) as port:
        assert online.check(keyed(backend(port, pki.server_root), monkeypatch)) == 0
    assert capsys.readouterr() == ("credential c: ok\nbackend swc: ok\n", "")
    (request,) = asked
    assert request.startswith(b"GET /openai/models?api-version=")
    assert b"api-key: hunter2" in request


@pytest.mark.parametrize("status", [401, 403])
def test_a_backend_that_refuses_its_credential(
    pki: Pki, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(speak_tls(pki, status)) as port:
        assert online.check(keyed(backend(port, pki.server_root), monkeypatch)) == 1
    assert capsys.readouterr().err == f"backend swc: failed: it refuses the credential c, with {status}\n"


def test_a_backend_that_answers_without_its_credential(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    """The credential's own failure is told apart."""
    with listening(speak_tls(pki, 401)) as port:
        assert online.check(backend(port, pki.server_root)) == 0
    assert capsys.readouterr() == ("backend swc: ok\n", "")


def test_a_backend_at_a_private_endpoint(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bytes] = []
    with listening(speak_tls(pki, 200, asked)) as port:
        made = backend(443, pki.server_root, "mock.localhost", connect_to=f"127.0.0.1:{port}")
        assert online.check(made) == 0
    assert b"\r\nhost: mock.localhost\r\n" in asked[0].lower()
    with listening(speak_tls(pki)) as port:
        assert online.check(backend(443, pki.server_root, "aoai.example", connect_to=f"127.0.0.1:{port}")) == 1
    assert "its certificate is not trusted: Hostname mismatch" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [(ESTABLISHED, 0), (b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", 1)])
def test_a_backend_through_a_forward_proxy(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: bytes, code: int
) -> None:
    monkeypatch.setenv("PROXY_SECRET", "user:hunter2")
    with forward_proxy(answer) as through, listening(speak_tls(pki)) as port:
        made = backend(port, pki.server_root)
        ref = SecretRef(env="PROXY_SECRET")
        upstream = Upstream(forward_proxy=through.url, forward_proxy_credential=ref)
        assert online.check(msgspec.structs.replace(made, upstream=upstream)) == code
    (head,) = through.heads
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n".encode())
    assert b"Basic " + b64encode(b"user:hunter2") in head
    out, err = capsys.readouterr()
    assert out == ("" if code else "backend swc: ok\n")
    assert err == ("backend swc: failed: it cannot be reached: the forward proxy answered 407\n" if code else "")
    assert "hunter2" not in out + err


def test_a_private_endpoint_behind_a_forward_proxy(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    """The tunnel leads to the endpoint; what is verified through it is the backend's own name."""
    with forward_proxy() as through, listening(speak_tls(pki)) as port:
        made = backend(443, pki.server_root, "mock.localhost", connect_to=f"127.0.0.1:{port}")
        assert online.check(msgspec.structs.replace(made, upstream=Upstream(forward_proxy=through.url))) == 0
        assert through.heads[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n".encode())
    assert capsys.readouterr() == ("backend swc: ok\n", "")


def test_a_backend_whose_certificate_is_not_trusted(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(speak_tls(pki)) as port:
        assert online.check(backend(port, pki.client_root)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("backend swc: failed: its certificate is not trusted: ")


def test_a_backend_that_speaks_something_else(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(say_nonsense) as port:
        assert online.check(backend(port, pki.server_root)) == 1
    assert "failed: it does not speak TLS as expected: " in capsys.readouterr().err


def test_a_backend_that_is_not_there(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert online.check(backend(port, pki.server_root, "127.0.0.1")) == 1
    assert capsys.readouterr().err == "backend swc: failed: it cannot be reached: Connection refused\n"


def test_a_backend_that_says_nothing(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(say_nothing) as port:
        assert online.check(backend(port, pki.server_root), within=0.2) == 1
    assert capsys.readouterr().err.startswith("backend swc: failed: ")


def test_credentials_are_tried_all_at_once_and_each_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = threading.Event()

    def source(name: str, _: Credential) -> Callable[[], UpstreamCredential]:
        def obtain() -> UpstreamCredential:
            if name == "refused":
                raise CredentialFailed(name, "the source says no")
            if name == "silent":
                release.wait(10)  # the wait is given up long before this is
            return UpstreamCredential("api-key", "hunter2", math.inf)

        return obtain

    monkeypatch.setattr(online, "build", source)
    kinds = {name: Credential(kind="api_key") for name in ("good", "refused", "silent")}
    assert online.check(Config(listen=Listen(certificate="unused"), credentials=kinds), within=0.2) == 1
    release.set()
    out, err = capsys.readouterr()
    assert out == "credential good: ok\n"
    assert err.splitlines() == [
        "credential refused: failed: the source says no",
        "credential silent: failed: no answer within 0.2 s",
    ]
    assert "hunter2" not in out + err


def serve_body(body: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))

    return serve


def lists(port: int) -> Config:
    certificates = ClientCertificates(crls=("a-file.crl", f"http://127.0.0.1:{port}/devices.crl"))
    return Config(listen=Listen(certificate="unused", client_certificates=certificates))


def test_a_list_that_answers(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(serve_body(pki.client_crl.read_bytes())) as port:
        assert online.check(lists(port)) == 0
    assert capsys.readouterr() == (f"CRL http://127.0.0.1:{port}/devices.crl: ok\n", "")


def test_a_list_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(serve_body(b"nothing")) as port:
        assert online.check(lists(port)) == 1
    assert capsys.readouterr().err.endswith("devices.crl: failed: holds no CRL that can be read\n")
