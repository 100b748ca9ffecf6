"""The mock's engine: one thread, one epoll, TLS or plain, HTTP/1.1 with keep-alive, and timers.

Lean on purpose: a mock that costs more than what it measures measures itself. An answer is bytes that were rendered
before; a stream is a list of such bytes and a timer.
"""

import contextlib
import heapq
import select
import socket
import ssl
import time
from collections.abc import Callable
from itertools import count

_READ = select.EPOLLIN | select.EPOLLRDHUP
_HEAD_AT_MOST = 1 << 20

Handler = Callable[["Connection", "Request"], None]


class Request:
    """A request as it arrived. Header names are in lower case."""

    __slots__ = ("body", "headers", "method", "raw_headers", "target")

    def __init__(self, method: str, target: str, raw_headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.target = target
        self.raw_headers = raw_headers
        self.headers = dict(raw_headers)
        self.body = body


class Connection:
    """One accepted connection. `on_gone` hears when the peer leaves while an answer is due."""

    __slots__ = (
        "_engine", "_handler", "_inbox", "_outbox", "_secured", "busy", "close_after", "fd", "on_gone", "on_room",
        "piece", "sock",
    )  # fmt: skip

    def __init__(self, engine: "Engine", sock: socket.socket, handler: Handler) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.busy = False
        self.close_after = False
        self.piece = 0
        self.on_gone: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._engine = engine
        self._handler = handler
        self._inbox = bytearray()
        self._outbox: list[bytes] = []
        self._secured = not isinstance(sock, ssl.SSLSocket)

    def ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT and self._secured:
            self._flush()
            if self.fd < 0:
                return
        if mask & ~select.EPOLLOUT or not self._secured:
            self._read()

    def _read(self) -> None:
        try:
            if not self._secured:
                assert isinstance(self.sock, ssl.SSLSocket)
                self.sock.do_handshake()
                self._secured = True
                self._engine.handshakes += 1
            while True:
                data = self.sock.recv(1 << 16)
                if not data:
                    self.close()
                    return
                self._inbox += data
                if isinstance(self.sock, ssl.SSLSocket) and not self.sock.pending():
                    break
                if not isinstance(self.sock, ssl.SSLSocket):
                    break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except (ssl.SSLError, OSError):
            self.close()
            return
        self.next_request()

    def next_request(self) -> None:
        """Hand the next whole request to the handler, if there is one and none is being answered."""
        while not self.busy and self.fd >= 0:
            end = self._inbox.find(b"\r\n\r\n")
            if end < 0:
                if len(self._inbox) > _HEAD_AT_MOST:
                    self.close()
                return
            lines = self._inbox[:end].decode("latin-1").split("\r\n")
            headers = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
            named = dict(headers)
            taken = self._body(end + 4, named)
            if taken is None:
                return
            body, used = taken
            method, target, _ = (*lines[0].split(" "), "", "")[:3]
            del self._inbox[:used]
            self.busy = True
            self._handler(self, Request(method, target, headers, body))

    def _body(self, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
        """Body and where it ends; None while it is not all there."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = bytearray()
            pos = start
            while True:
                line = self._inbox.find(b"\r\n", pos)
                if line < 0:
                    return None
                size = int(self._inbox[pos:line].split(b";")[0], 16)
                if len(self._inbox) < line + 4 + size:
                    return None
                body += self._inbox[line + 2 : line + 2 + size]
                pos = line + 4 + size
                if not size:
                    return bytes(body), pos
        length = int(headers.get("content-length", "0"))
        if len(self._inbox) < start + length:
            return None
        return bytes(self._inbox[start : start + length]), start + length

    def send(self, data: bytes) -> None:
        """Send, or keep what does not fit until there is room."""
        if self.piece:
            self._outbox += [data[i : i + self.piece] for i in range(0, len(data), self.piece)]
            self._flush()
            return
        if self._outbox or self.fd < 0:
            self._outbox.append(data)
            return
        try:
            sent = self.sock.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            sent = 0
        except (ssl.SSLError, OSError):
            self.close()
            return
        if sent < len(data):
            self._outbox.append(data[sent:])
            self._engine.watch(self.fd, _READ | select.EPOLLOUT)

    @property
    def blocked(self) -> bool:
        return bool(self._outbox)

    def _flush(self) -> None:
        while self._outbox and self.fd >= 0:
            data = self._outbox[0]
            try:
                sent = self.sock.send(data)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                self._engine.watch(self.fd, _READ | select.EPOLLOUT)
                return
            except (ssl.SSLError, OSError):
                self.close()
                return
            self._outbox[0] = data[sent:]
            if not self._outbox[0]:
                self._outbox.pop(0)
                if self.piece:
                    self._engine.watch(self.fd, _READ | select.EPOLLOUT)
                    return  # one piece a turn
        if self.fd >= 0 and not self._outbox:
            self._engine.watch(self.fd, _READ)
            if self.on_room is not None:
                self.on_room()
            elif self.close_after and not self.busy:
                self.close()

    def finish(self) -> None:
        """The answer is complete: on to the next request, or close."""
        self.on_gone = self.on_room = None
        self.busy = False
        if self.close_after:
            if not self._outbox:
                self.goodbye()
            return
        if self._inbox:
            self.next_request()

    def goodbye(self) -> None:
        """Close with close_notify."""
        if isinstance(self.sock, ssl.SSLSocket) and self.fd >= 0:
            with contextlib.suppress(ssl.SSLError, OSError, ValueError):
                self.sock.unwrap()
        self.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        if self.fd < 0:
            return
        self._engine.forget(self.fd)
        self.fd = -1
        self.sock.close()
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()


class Engine:
    """`run` serves until `stop`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = count()
        self._running = True
        self.now = time.monotonic()
        self.handshakes = 0
        self.accepted = 0

    def listen(self, address: str, handler: Handler, context: ssl.SSLContext | None) -> tuple[str, int]:
        """Serve an address; the one it was bound to."""
        host, _, port = address.rpartition(":")
        sock = socket.create_server((host, int(port)), backlog=4096)
        sock.setblocking(False)
        self._handlers[sock.fileno()] = lambda _mask: self._accept(sock, handler, context)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        bound: tuple[str, int] = sock.getsockname()[:2]
        return bound

    def _accept(self, listening: socket.socket, handler: Handler, context: ssl.SSLContext | None) -> None:
        for _ in range(64):
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            if context is not None:
                try:
                    sock = context.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
                    )
                except (ssl.SSLError, OSError):
                    sock.close()
                    continue
            connection = Connection(self, sock, handler)
            self._handlers[connection.fd] = connection.ready
            self._epoll.register(connection.fd, _READ)

    @property
    def open(self) -> int:
        return len(self._handlers)

    def watch(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at a monotonic time, or at the first turn after it."""
        heapq.heappush(self._timers, (when, next(self._sequence), call))

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        timers = self._timers
        while self._running:
            timeout = min(max(0.0, timers[0][0] - time.monotonic()), 0.5) if timers else 0.5
            for fd, mask in self._epoll.poll(timeout, 256):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(mask)
            self.now = now = time.monotonic()
            for _ in range(2048):
                if not timers or timers[0][0] > now:
                    break
                heapq.heappop(timers)[2]()
