"""One client of the load: a state machine over a non-blocking TLS socket."""

import contextlib
import errno
import select
import socket
import ssl
import time
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from bench.load.answer import Answer, Wrong
from bench.load.workload import Workload

if TYPE_CHECKING:
    from bench.load.engine import Load

READING = select.EPOLLIN | select.EPOLLRDHUP
CONNECTING = READING | select.EPOLLOUT
_RECORD = 16 << 10  # the most one read of a TLS connection gives (RFC 8446 section 5.1)
_NARROW_SEGMENT = 1200
_NARROW_BUFFER = 4 << 10


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a client does. Without a workload it shakes hands, says goodbye, and comes anew.

    interval     seconds between events that the backend keeps; 0: lateness is not measured
    reads        false: it asks, and never reads; its buffers are as small as a distant client's, so that it is felt
    leave_after  events after which it goes away in mid-stream; 0: it stays
    farewell     it says `close_notify` when it goes
    tagged       every request carries its own tag, and the times of leaving are kept by tag
    returns      one that failed is replaced, after a short while
    """

    workload: Workload | None = None
    interval: float = 0.0
    reads: bool = True
    leave_after: int = 0
    farewell: bool = False
    tagged: bool = False
    returns: bool = True


class Asked(msgspec.Struct, frozen=True):
    """One request and what became of it. Times are monotonic.

    due    when it should have been sent: what its times count from
    first  when its first event, or all of an answer that is not streamed, had come; None: that never came
    wrong  what went wrong, in a few words; empty: nothing did
    head   of the answer, as far as there was one
    """

    plan: Plan
    due: float
    first: float | None
    over: float
    wrong: str
    head: bytes


class State(Enum):
    CONNECTING = auto()
    HANDSHAKING = auto()
    IDLE = auto()
    ANSWERING = auto()
    LEAVING = auto()  # close_notify is sent; the server's own is awaited, which shows that it took the handshake
    CLOSED = auto()


class Connection:
    """`load` hears of its end of each answer by `finished`; `due` is when the first request should have been sent."""

    __slots__ = (
        "_answer", "_began", "_first", "_load", "_origin", "_sent", "_tag", "fd", "plan", "port", "sock", "state"
    )  # fmt: skip

    def __init__(self, load: "Load", plan: Plan, due: float | None = None) -> None:
        self.plan = plan
        self.state = State.CONNECTING
        self._load = load
        self._answer: Answer | None = None
        self._tag: str | None = None
        self._origin = 0.0
        self._first: float | None = None
        self._began = time.monotonic()
        self._sent = due
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not plan.reads:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NARROW_SEGMENT)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BUFFER)
        code = raw.connect_ex(load.target.address)
        self.sock: socket.socket = raw
        self.fd = raw.fileno()
        self.port = 0
        load.register(self)
        if code not in (0, errno.EINPROGRESS):
            self._fail(f"connect: {errno.errorcode.get(code, code)}")

    def ready(self, mask: int) -> None:
        """The socket can be read, or the connection is made."""
        try:
            if self.state is State.ANSWERING:
                if self.plan.reads:
                    self._read()
                elif mask & (select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLERR):
                    raise ConnectionError
            elif self.state is State.IDLE:
                raise ConnectionError
            else:
                self._open(mask)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except Wrong as wrong:
            self._fail(wrong.kind)
        except (ssl.SSLError, OSError) as error:
            self._fail(f"{self.state.name.lower()}: {_said(error)}")

    def _open(self, mask: int) -> None:
        """From connecting to the first request, or to goodbye."""
        if self.state is State.CONNECTING:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code or mask & (select.EPOLLERR | select.EPOLLHUP):
                raise OSError(code or errno.ECONNRESET, "")
            self.port = self.sock.getsockname()[1]
            self.sock = self._load.target.context.wrap_socket(
                self.sock, server_hostname=self._load.target.host, do_handshake_on_connect=False
            )
            self._load.watch(self, READING)
            self.state = State.HANDSHAKING
        assert isinstance(self.sock, ssl.SSLSocket)
        if self.state is State.HANDSHAKING:
            self.sock.do_handshake()
            self._shaken(self.sock)
        if self.state is State.LEAVING:
            with contextlib.suppress(ssl.SSLEOFError):
                self.sock.unwrap()
            self._load.results.handshakes += 1
            self.close()
            self._load.finished(self)

    def _shaken(self, sock: ssl.SSLSocket) -> None:
        results = self._load.results
        results.handshake.add(time.monotonic() - self._began)
        if not results.tls:
            cipher = sock.cipher()
            results.tls = f"{sock.version()} {cipher[0] if cipher else ''}"
        if self.plan.workload is None:
            self.state = State.LEAVING
        else:
            results.handshakes += 1
            self.ask(self._sent)

    def ask(self, due: float | None = None) -> None:
        """Send the request. `due`: when it should have been sent, if that was not now."""
        assert self.plan.workload is not None
        self.state = State.ANSWERING
        self._first = None
        self._answer = Answer(self.plan.workload)
        if self.plan.tagged:
            self._tag = self._load.next_tag()
        self._sent = time.monotonic() if due is None else due
        self._load.asked += 1
        if not self.plan.reads:
            self._load.watch(self, select.EPOLLRDHUP)  # what it will not read must not wake it
        self.sock.send(self.plan.workload.request(self._tag))

    def _read(self) -> None:
        data = self.sock.recv(_RECORD)
        if not data:
            raise ConnectionError
        answer = self._answer
        assert answer is not None
        seen = answer.events
        done = answer.feed(data)
        if answer.events != seen:
            self._progress(seen, answer.events, time.monotonic())
        if done:
            self._answered(answer)

    def _progress(self, seen: int, come: int, now: float) -> None:
        """Events have come whole; those of one read have the lateness of the last."""
        results = self._load.results
        results.events += come - seen
        origin = now - (come - 1) * self.plan.interval
        if not seen:
            assert self._sent is not None
            self._first = now
            results.first_byte.add(now - self._sent)
            self._origin = origin
        elif self.plan.interval:
            if origin < self._origin:
                self._origin = origin
            results.late.add(origin - self._origin)
        if self.plan.leave_after and come >= self.plan.leave_after:
            self._leave()

    def _leave(self) -> None:
        if self._tag is not None:
            self._load.left[self._tag] = time.time()
        if self.plan.farewell and isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(ssl.SSLError, OSError):
                self.sock.unwrap()
        self.close()
        self._load.finished(self)

    def _answered(self, answer: Answer) -> None:
        results = self._load.results
        results.answers += 1
        if not answer.events:
            assert self._sent is not None
            self._first = time.monotonic()
            results.first_byte.add(self._first - self._sent)
        self._tell("")
        self._sent = None
        if self.state is State.ANSWERING:  # it may have left with its last event
            self.state = State.IDLE
            self._load.finished(self)

    def _tell(self, wrong: str) -> None:
        """Say how a request went, to whoever keeps an account of each."""
        if self._load.told is None or self._sent is None:
            return
        answer = self._answer
        head = b"" if answer is None else answer.head
        self._load.told(Asked(self.plan, self._sent, self._first, time.monotonic(), wrong, head))

    def _fail(self, kind: str) -> None:
        self._tell(kind)
        self._load.results.errors[kind] += 1
        self._load.failed[self.port] = kind
        self.close()
        self._load.finished(self, failed=True)

    def give_up(self) -> None:
        """Close; what was asked and not answered failed."""
        if self._sent is None:
            self.close()
        else:
            self._fail("never answered")

    def close(self) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._load.unregister(self)
            self.sock.close()


def _said(error: Exception) -> str:
    """A few words on an error, of a bounded number of kinds."""
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "closed"
