"""The load generator's engine: connections as state machines on one epoll, lean enough to share a core with the mock.

Closed loop: each connection asks again when it has its answer. Every byte of every answer is compared with what it
must be, as it arrives.
"""

import select
import socket
import ssl
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable

from bench.load.histogram import Histogram
from bench.load.workload import Workload

_READ = select.EPOLLIN | select.EPOLLRDHUP


class Results:
    """What a run measured. `errors` by kind; `late` is how far behind its stream's first event each event came."""

    def __init__(self) -> None:
        self.answers = 0
        self.events = 0
        self.handshakes = 0
        self.errors: Counter[str] = Counter()
        self.first_byte = Histogram()
        self.late = Histogram()
        self.handshake = Histogram()

    def summary(self) -> dict[str, object]:
        return {
            "answers": self.answers,
            "events": self.events,
            "handshakes": self.handshakes,
            "errors": dict(self.errors),
            "first_byte": self.first_byte.summary(),
            "late": self.late.summary(),
            "handshake": self.handshake.summary(),
        }


class Target:
    """Where the load goes: an address, and how to speak to it."""

    def __init__(self, host: str, port: int, root: str, certificate: tuple[str, str] | None = None) -> None:
        self.host = host
        self.address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(root)
        if certificate is not None:
            self.context.load_cert_chain(*certificate)


class Connection:
    """One client. `interval` is the time between events that the mock keeps; 0: not measured.

    `reads` false is a client that asks and never reads. `leave_after` events it goes away in mid-stream.
    """

    __slots__ = (
        "_began", "_buffer", "_events", "_first", "_handshaken", "_left", "_load", "_offset", "_sent", "_state",
        "closed", "fd", "interval", "leave_after", "reads", "sock", "workload",
    )  # fmt: skip

    def __init__(
        self, load: "Load", workload: Workload | None, interval: float, *, reads: bool, leave_after: int
    ) -> None:
        self.workload = workload
        self.interval = interval
        self.reads = reads
        self.leave_after = leave_after
        self.closed = False
        self._load = load
        self._buffer = b""
        self._state = "connecting"
        self._handshaken = False
        self._began = time.monotonic()
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.connect_ex(load.target.address)
        self.sock: socket.socket = raw
        self.fd = raw.fileno()
        load.register(self)

    def ready(self, mask: int) -> None:
        try:
            if self._state == "answering":
                if self.reads:
                    self._read()
            elif self._state == "connecting":
                self._secure(mask)
            if self._state == "handshaking":
                self._handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except (ssl.SSLError, OSError) as error:
            self._fail(f"{self._state}: {type(error).__name__}")

    def _secure(self, mask: int) -> None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or mask & (select.EPOLLERR | select.EPOLLHUP):
            raise ConnectionError(code)
        self._load.unregister(self)
        self.sock = self._load.target.context.wrap_socket(
            self.sock, server_hostname=self._load.target.host, do_handshake_on_connect=False
        )
        self._load.register(self, _READ)
        self._state = "handshaking"

    def _handshake(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.do_handshake()
        results = self._load.results
        results.handshakes += 1
        results.handshake.add(time.monotonic() - self._began)
        if self.workload is None:
            self.close()
            self._load.finished(self)
            return
        self.ask()

    def ask(self) -> None:
        """Send the request; the answer is compared from its first byte on."""
        assert self.workload is not None
        self._state = "answering"
        self._offset = -1  # the head is to come
        self._left = 0
        self._events = 0
        self._first = 0.0
        self._sent = time.monotonic()
        self.sock.send(self.workload.request)

    def _read(self) -> None:
        data = self.sock.recv(1 << 17)
        if not data:
            raise ConnectionError("closed")
        now = time.monotonic()
        if self._offset < 0:
            data = self._buffer + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._buffer = b""
            if not data.startswith(b"HTTP/1.1 200"):
                self._fail("status " + data[9:12].decode("latin-1"))
                return
            head = data[:end].lower()
            self._left = -1 if b"transfer-encoding: chunked" in head else int(_header(head, b"content-length"))
            self._offset = 0
            data = data[end + 4 :]
        self._take(data, now)

    def _take(self, data: bytes, now: float) -> None:
        assert self.workload is not None
        if self._left >= 0:  # a length
            if not self.workload.payload.startswith(data, self._offset):
                self._fail("wrong bytes")
                return
            self._offset += len(data)
            if self._offset == self._left:
                self._answered(now)
            return
        data = self._buffer + data if self._buffer else data
        pos = 0
        length = len(data)
        payload = self.workload.payload
        done = False
        while pos < length:
            line = data.find(b"\r\n", pos, pos + 18)
            if line < 0:
                break
            size = int(data[pos:line], 16)
            stop = line + 2 + size
            if stop + 2 > length:
                break
            if size == 0:
                done = True
                break
            if not payload.startswith(data[line + 2 : stop], self._offset):
                self._fail("wrong bytes")
                return
            self._offset += size
            pos = stop + 2
        self._buffer = b"" if pos == length or done else data[pos:]
        self._progress(now)
        if done:
            if self._offset != len(payload):
                self._fail("cut short")
            else:
                self._answered(now)

    def _progress(self, now: float) -> None:
        """Which events have come, and how late."""
        assert self.workload is not None
        come = bisect_right(self.workload.ends, self._offset)
        if come == self._events:
            return
        results = self._load.results
        if not self._events:
            self._first = now
            results.first_byte.add(now - self._sent)
        elif self.interval:
            results.late.add(max(0.0, now - self._first - (come - 1) * self.interval))
        results.events += come - self._events
        self._events = come
        if self.leave_after and come >= self.leave_after:
            self._load.left.append(time.time())
            self.close()
            self._load.finished(self)

    def _answered(self, now: float) -> None:
        results = self._load.results
        results.answers += 1
        if not self._events:
            results.first_byte.add(now - self._sent)
        self._load.finished(self)

    def _fail(self, kind: str) -> None:
        self._load.results.errors[kind] += 1
        self.close()
        self._load.finished(self)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._load.unregister(self)
            self.sock.close()


class Load:
    """A number of connections against one target, until `run` has had its time.

    `again`: a connection that has its answer asks once more, and one that failed is replaced.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.results = Results()
        self.left: list[float] = []
        self.again = True
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._spawn: Callable[[], None] | None = None
        self._stopping = False

    def start(
        self,
        count: int,
        workload: Workload | None,
        *,
        interval: float = 0.0,
        reads: bool = True,
        leave_after: int = 0,
        ramp: float = 0.0,
    ) -> None:
        """Open connections, spread over `ramp` seconds."""

        def spawn() -> None:
            Connection(self, workload, interval, reads=reads, leave_after=leave_after)

        self._spawn = spawn
        for _ in range(count):
            spawn()
            self.run(ramp / count)

    def register(self, connection: Connection, mask: int = _READ | select.EPOLLOUT) -> None:
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, mask)

    def unregister(self, connection: Connection) -> None:
        if self._by_fd.pop(connection.fd, None) is not None:
            self._epoll.unregister(connection.fd)

    def finished(self, connection: Connection) -> None:
        if self._stopping or not self.again:
            connection.close()
        elif connection.closed:
            if self._spawn is not None:
                self._spawn()
        else:
            connection.ask()

    @property
    def open(self) -> int:
        return len(self._by_fd)

    def run(self, seconds: float) -> None:
        """Serve the connections for a time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for fd, mask in self._epoll.poll(left, 256):
                connection = self._by_fd.get(fd)
                if connection is not None:
                    connection.ready(mask)

    def finish(self, seconds: float) -> None:
        """Let what is under way come to its end, for at most so long."""
        self.again = False
        until = time.monotonic() + seconds
        while self._by_fd and time.monotonic() < until:
            self.run(0.05)

    def close(self) -> None:
        self._stopping = True
        for connection in list(self._by_fd.values()):
            connection.close()
        self._epoll.close()


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()
