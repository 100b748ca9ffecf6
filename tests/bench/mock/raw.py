"""A client that hides nothing: bytes over TLS, and how the connection ended."""

import json
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.bench.mock.conftest import KEY

WITHIN = 10.0
CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
MESSAGES = [{"role": "user", "content": "How does the water reach the turbines?"}]


def request(target: str, body: bytes | dict[str, Any] = b"", method: str = "POST", **headers: str) -> bytes:
    """A request with the tests' key; underscores in the names of headers become hyphens."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"host": "localhost", "api-key": KEY, "content-length": str(len(raw))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + raw


def chat(deployment: str = "gpt-4o", **body: Any) -> bytes:
    return request(CHAT.format(deployment), {"messages": MESSAGES} | body)


class Response:
    """A response as it was read; `body` is without chunks, `sizes` are those of the chunks."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, sizes: list[int]) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.sizes = sizes

    @property
    def code(self) -> object:
        return json.loads(self.body)["error"]["code"]


class Client:
    """One connection. Every wait is bounded."""

    def __init__(self, url: str, root: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(root)
        port = urlsplit(url).port
        assert port is not None
        self.sock = socket.create_connection(("127.0.0.1", port), WITHIN)
        self.buffer = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self._outgoing.read())
                self._incoming.write(self.sock.recv(1 << 16))
        self.sock.sendall(self._outgoing.read())

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.sock.sendall(self._outgoing.read())

    def ask(self, data: bytes) -> Response:
        self.send(data)
        return self.response(head_only=data.startswith(b"HEAD "))

    def more(self) -> bool:
        """Read one TLS record; false at close_notify. `ssl.SSLEOFError` at FIN, `ConnectionResetError` at RST.

        TLS lies apart from the socket because `ssl.SSLSocket` does not tell the last two apart.
        """
        while True:
            try:
                data = self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                data = self.sock.recv(1 << 16)
                if not data:
                    raise ssl.SSLEOFError("no close_notify") from None
                self._incoming.write(data)
            else:
                self.buffer += data
                return bool(data)

    def until(self, mark: bytes) -> bytes:
        """What came up to and with the mark."""
        while mark not in self.buffer:
            assert self.more(), "closed"
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert self.more(), "closed"
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def rest(self) -> bytes:
        """All until close_notify."""
        while self.more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    def silent(self, seconds: float = 0.2) -> bool:
        """Nothing comes, and the connection is open."""
        self.sock.settimeout(seconds)
        try:
            self.more()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(WITHIN)
        return False

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [line.partition(": ") for line in lines[1:] if line]
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, _, value in fields}

    def response(self, *, head_only: bool = False) -> Response:
        status, headers = self.head()
        if head_only:
            return Response(status, headers, b"", [])
        if headers.get("transfer-encoding") == "chunked":
            chunks = list(iter(self.chunk, b""))
            return Response(status, headers, b"".join(chunks), [len(chunk) for chunk in chunks])
        if "content-length" in headers:
            return Response(status, headers, self.exactly(int(headers["content-length"])), [])
        return Response(status, headers, self.rest(), [])

    def chunk(self) -> bytes:
        """The next chunk; empty for the last."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]
