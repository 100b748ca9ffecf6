"""A forward proxy for tests: threads on loopback that speak CONNECT, or something that is none."""

import contextlib
import socket
import threading
from collections.abc import Iterator

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
LONGEST = 30.0


class FakeProxy:
    """`heads` are the requests it had. `answer` is what it says to each; None: nothing, ever."""

    def __init__(self, answer: bytes | None = ESTABLISHED) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.ended = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(LONGEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                part = sock.recv(1)
                if not part:
                    return
                head += part
            self.heads.append(head)
            if self.answer is None:
                sock.recv(1)
            elif self.answer == ESTABLISHED:
                host, _, port = head.split(b" ")[1].decode().rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port)), LONGEST) as far:
                    sock.sendall(self.answer)
                    back = threading.Thread(target=_copy, args=(far, sock), daemon=True)
                    back.start()
                    _copy(sock, far)
                    back.join(LONGEST)
            else:
                sock.sendall(self.answer)
        self.ended += 1

    def close(self) -> None:
        self._listening.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def forward_proxy(answer: bytes | None = ESTABLISHED) -> Iterator[FakeProxy]:
    """A proxy for as long as the context lasts."""
    proxy = FakeProxy(answer)
    try:
        yield proxy
    finally:
        proxy.close()
