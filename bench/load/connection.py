"""One client of the load: a state machine over a non-blocking TLS socket."""

import contextlib
import errno
import select
import socket
import ssl
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

import msgspec

from bench.failure import BenchError
from bench.load.answer import Answer, Wrong
from bench.load.histogram import Histogram
from bench.load.identities import Caller
from bench.load.results import Tally
from bench.load.retold import answer_to
from bench.load.workload import Workload

if TYPE_CHECKING:
    from bench.load.engine import Load

READING = select.EPOLLIN | select.EPOLLRDHUP
CONNECTING = READING | select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR
_RECORD = 16 << 10  # the most one read of a TLS connection gives (RFC 8446 section 5.1)
_NARROW_SEGMENT = 1200
_NARROW_BUFFER = 4 << 10
_SIP = 0.05  # seconds between two reads of one who reads at a pace
_LEAD = 2  # events of a stream before the first token
_BACKEND = b"x-penstock-backend"
_REFUSALS = ("status 429", "status 503")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a client does. Without a workload it shakes hands, says goodbye, and comes anew.

    interval     seconds between events that the backend keeps; 0: lateness is not measured
    reads        false: it asks, and never reads; its buffers are as small as a distant client's, so that it is felt
    pace         bytes a second that it reads, with such buffers too; 0: all at once
    leave_after  events after which it goes away in mid-stream; 0: it stays
    farewell     it says `close_notify` when it goes
    tagged       every request carries its own tag, and the times of leaving are kept by tag
    returns      one that failed is replaced, after a short while
    caller       whose credentials it shows; None: those of the load's target
    mix          the number of the mix that it comes from
    """

    workload: Workload | None = None
    interval: float = 0.0
    reads: bool = True
    pace: float = 0.0
    leave_after: int = 0
    farewell: bool = False
    tagged: bool = False
    returns: bool = True
    caller: Caller | None = None
    mix: int = 0

    @property
    def narrow(self) -> bool:
        """Whether its connection has small buffers."""
        return not self.reads or bool(self.pace)


class Asked(msgspec.Struct, frozen=True):
    """One request and what became of it. Times are monotonic.

    due    when it should have been sent: what its times count from
    first  when its first event, or all of an answer that is not streamed, had come; None: that never came
    wrong  what went wrong, in a few words; empty: nothing did
    head   of the answer, as far as there was one
    left   its client went away in mid-stream, as planned
    """

    plan: Plan
    due: float
    first: float | None
    over: float
    wrong: str
    head: bytes
    left: bool = False


class State(Enum):
    CONNECTING = auto()
    HANDSHAKING = auto()
    IDLE = auto()
    SENDING = auto()  # the kernel did not take all of the request at once
    ANSWERING = auto()
    LEAVING = auto()  # close_notify is sent; the server's own is awaited, which shows that it took the handshake
    CLOSED = auto()


_ANSWERING = State.ANSWERING
_UNASKED = (State.CONNECTING, State.HANDSHAKING)


class Source(Protocol):
    """Where a connection's requests come from."""

    def over(self, connection: "Connection", *, failed: bool) -> None:
        """The connection has its answer and is idle, or it is closed."""


class Connection:
    """`source` hears of the end of each answer; `due` is when the first request should have been sent."""

    __slots__ = (
        "_answer", "_began", "_first", "_last", "_load", "_narrow", "_origin", "_sent", "_source", "_tag", "_unsent",
        "fd", "plan", "port", "sock", "state",
    )  # fmt: skip

    def __init__(self, load: "Load", source: Source, plan: Plan, due: float | None = None) -> None:
        self.plan = plan
        self.state = State.CONNECTING
        self._load = load
        self._narrow = plan.narrow
        self._source = source
        self._answer: Answer | None = None
        self._tag: str | None = None
        self._origin = 0.0
        self._first: float | None = None
        self._last = 0.0  # when the last event came; 0: no byte has
        self._began = time.monotonic()
        self._unsent = b""
        self._sent = due
        if due is None and plan.workload is None:
            self._sent = self._began
            load.came_due(self._began, plan)
        try:
            raw = socket.socket()
        except OSError as error:
            raise BenchError(f"no socket for one more client ({error.strerror}): raise `ulimit -n`") from None
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._narrow:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NARROW_SEGMENT)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BUFFER)
        code = raw.connect_ex(load.target.address)
        self.sock: socket.socket = raw
        self.fd = raw.fileno()
        self.port = 0
        load.register(self)
        if code not in (0, errno.EINPROGRESS):
            self._fail(f"connecting: {errno.errorcode.get(code, code)}")

    def ready(self, mask: int) -> None:
        """The socket can be read, or the connection is made."""
        try:
            if self.state is _ANSWERING:
                if self._narrow:
                    self._sip(mask)
                else:
                    self._take(self.sock.recv(_RECORD))
            elif self.state is State.SENDING:
                self._send()
                if mask & select.EPOLLIN:
                    self._take(self.sock.recv(_RECORD))
            elif self.state is State.IDLE:
                self._closed_idle()
            else:
                self._open(mask)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except Wrong as wrong:
            self._fail(wrong.kind, whole=wrong.whole)
        except (ssl.SSLError, OSError) as error:
            self._fail(f"{self.state.name.lower()}: {_said(error)}")

    # From the connection to the first request.

    def _open(self, mask: int) -> None:
        """From connecting to the first request, or to goodbye."""
        if self.state is State.CONNECTING:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code or mask & _GONE:
                raise OSError(code or errno.ECONNRESET, "")
            self.port = self.sock.getsockname()[1]
            if not self._load.target.tls:
                self._plainly()
                return
            self.sock = self._load.context_of(self.plan.caller).wrap_socket(
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
            self._goodbye()

    def _plainly(self) -> None:
        """Connected, and no TLS is spoken."""
        if self.plan.workload is None:
            raise Wrong("no TLS, so no handshake")
        self._load.watch(self, READING)
        self.ask(self._sent)

    def _goodbye(self) -> None:
        results = self._load.results
        results.handshakes += 1
        due = self._sent
        assert due is not None
        self._tally(due)[0].answered += 1
        if due >= self._load.since:
            results.last_byte.add(time.monotonic() - due)
        self._tell("")
        self._sent = None
        self.close()
        self._source.over(self, failed=False)

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
        plan, load = self.plan, self._load
        assert plan.workload is not None
        self.state = State.ANSWERING
        self._first = None
        self._last = 0.0
        self._answer = answer_to(plan.workload)
        if plan.tagged:
            self._tag = load.next_tag()
        now = time.monotonic()
        load.asked += 1
        if due is None:
            load.came_due(now, plan)
        elif due >= load.since:
            load.results.waited.add(now - due)
        self._sent = now if due is None else due
        self._unsent = plan.workload.request(self._tag, plan.caller.headers if plan.caller else b"")
        try:
            self._send()
        except (ssl.SSLError, OSError) as error:
            self._fail(f"sending: {_said(error)}")

    def _send(self) -> None:
        """What is left of the request, as far as the kernel takes it."""
        try:
            while self._unsent:
                sent = self.sock.send(self._unsent)
                self._unsent = self._unsent[sent:] if sent < len(self._unsent) else b""
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            if self.state is not State.SENDING:
                self.state = State.SENDING
                self._load.watch(self, CONNECTING)
            return
        if self._narrow or self.state is State.SENDING:
            # what it will not read must not wake it
            self._load.watch(self, READING if self.plan.reads else select.EPOLLRDHUP)
        self.state = State.ANSWERING

    def _closed_idle(self) -> None:
        """A server may close a connection that no one uses; anything else that comes is wrong."""
        if self.sock.recv(_RECORD):
            raise Wrong("bytes after the end")
        self.close()
        self._source.over(self, failed=False)

    # An answer.

    def _take(self, data: bytes) -> None:
        """What was read. Hot: once an event."""
        if not data:
            raise ConnectionError
        answer = self._answer
        assert answer is not None
        seen = answer.events
        done = answer.feed(data)
        come = answer.events
        if come != seen:
            now = time.monotonic()
            if seen:
                results = self._load.results
                results.events += come - seen
                if not self._narrow:
                    results.between_events.add(now - self._last)
                    if come - seen > 1:
                        results.between_events.nought(come - seen - 1)
                    interval = self.plan.interval
                    if interval:
                        origin = now - (come - 1) * interval  # events of one read have the lateness of the last
                        if origin < self._origin:
                            self._origin = origin
                        results.late.add(origin - self._origin)
                self._last = now
            else:
                self._begun(come, now)
            if self.plan.leave_after and come >= self.plan.leave_after:
                self._leave(come)
        elif not self._last:
            self._first_byte(time.monotonic())
        if done:
            self._answered(answer)

    def _first_byte(self, now: float) -> None:
        self._last = now
        assert self._sent is not None
        if self._sent >= self._load.since:
            self._load.results.first_byte.add(now - self._sent)

    def _begun(self, come: int, now: float) -> None:
        """The first events are there."""
        if not self._last:
            self._first_byte(now)
        results = self._load.results
        results.events += come
        results.between_events.nought(come - 1)
        self._first = self._last = now
        self._origin = now - (come - 1) * self.plan.interval
        assert self._sent is not None
        if self._sent >= self._load.since:
            results.ttft.add(now - self._sent)
            self._tally(self._sent)[1].add(now - self._sent)

    def _tally(self, due: float) -> tuple[Tally, Histogram]:
        """Of the moment in which it was due. What is not measured is counted, and not kept."""
        load = self._load
        return load.tally(due, self.plan) if due >= load.since else (Tally(), Histogram())

    def _leave(self, come: int) -> None:
        if self._tag is not None:
            self._load.left[self._tag] = time.time()
        if self.plan.farewell and isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(ssl.SSLError, OSError):
                self.sock.unwrap()
        self._load.results.left += 1
        self._partly(come)
        assert self._sent is not None
        self._tally(self._sent)[0].left += 1
        self._tell("", left=True)
        self._sent = None
        self.close()
        self._source.over(self, failed=False)

    def _partly(self, come: int) -> None:
        """Account for the tokens of a stream that ends before its end."""
        assert self.plan.workload is not None
        self._load.results.beside += max(0, min(come - _LEAD, self.plan.workload.tokens)) - come

    def _answered(self, answer: Answer) -> None:
        if self.state is State.CLOSED:
            return  # it has left with its last event
        load, results, plan, due, now = self._load, self._load.results, self.plan, self._sent, time.monotonic()
        assert plan.workload is not None
        assert due is not None
        results.answers += 1
        results.beside += plan.workload.tokens - answer.events
        if not answer.events:
            self._first = now
        if due >= load.since:
            results.last_byte.add(now - due)
            tally, ttft = load.tally(due, plan)
            tally.answered += 1
            backend = field(answer.head, _BACKEND).decode("latin-1") if _BACKEND in answer.head else ""
            tally.by[backend] = tally.by.get(backend, 0) + 1
            if not answer.events:
                ttft.add(now - due)
        if load.told is not None:
            self._tell("")
        self._sent = None
        self._free(failed=False, closes=answer.closes or bool(self._unsent))

    def _free(self, *, failed: bool, closes: bool) -> None:
        """Between two requests, if the server lets it be."""
        if closes:
            self.close()
        else:
            self.state = State.IDLE
            if self._narrow:
                self._load.watch(self, READING)
        self._source.over(self, failed=failed)

    # One who reads slowly, or not at all.

    def _sip(self, mask: int) -> None:
        """Read a little and rest, as long as that little is worth."""
        pace = self.plan.pace
        if not self.plan.reads:
            if mask & (_GONE | select.EPOLLRDHUP):
                self._turned_out()
            return
        data = self.sock.recv(min(_RECORD, max(1, int(pace * _SIP))))
        self._load.watch(self, 0)
        self._load.at(time.monotonic() + len(data) / pace, self._thirsty)
        self._take(data)

    def _thirsty(self) -> None:
        """Rested: what TLS has already taken from the socket wakes no one, so it is tried first."""
        if self.state is State.ANSWERING:
            self._load.watch(self, READING)
            self.ready(0)

    def _turned_out(self) -> None:
        self._load.results.turned_out += 1
        self._tell("turned out")
        self._sent = None
        self.close()
        self._source.over(self, failed=True)

    # Ends.

    def _tell(self, wrong: str, *, left: bool = False) -> None:
        """Say how a request went, to whoever keeps an account of each."""
        if self._load.told is None or self._sent is None:
            return
        answer = self._answer
        head = b"" if answer is None else answer.head
        self._load.told(Asked(self.plan, self._sent, self._first, time.monotonic(), wrong, head, left))

    def _fail(self, kind: str, *, whole: bool = False) -> None:
        """`whole`: with a whole answer, so that the connection is still good. Who gets no connection has asked in vain,
        also in a closed loop.
        """
        load, results = self._load, self._load.results
        if self._sent is None and self.state in _UNASKED:
            self._sent = self._began
            load.came_due(self._began, self.plan)
        self._tell(kind)
        results.wrong(kind)
        load.failed[self.port] = kind
        if self._sent is not None:
            self._judge(kind, self._tally(self._sent)[0])
        self._sent = None
        if whole and not self._unsent:
            self._free(failed=True, closes=False)
        else:
            self.close()
            self._source.over(self, failed=True)

    def _judge(self, kind: str, tally: Tally) -> None:
        """Of a request that went wrong: a refusal, an answer that broke off, or no answer."""
        answer, results = self._answer, self._load.results
        head = b"" if answer is None else answer.head
        if kind in _REFUSALS and not field(head, _BACKEND):
            told = _told(head)
            results.refused += 1
            results.untold += told is None
            tally.refused += 1
            tally.untold += told is None
            tally.told = max(tally.told, told or 0.0)
        elif head.startswith(b"HTTP/1.1 200"):
            results.broken += 1
            tally.broken += 1
        else:
            tally.failed += 1
        if answer is not None and answer.events:
            self._partly(answer.events)

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


def field(head: bytes, name: bytes) -> bytes:
    """The value of a field of an answer's head, the name given in lower case; empty where it is not there."""
    at = head.lower().find(b"\r\n%b:" % name)
    return b"" if at < 0 else head[at + len(name) + 3 :].partition(b"\r\n")[0].strip()


def _told(head: bytes) -> float | None:
    """The seconds after which to come again; the field with milliseconds is the more exact one."""
    for name, unit in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = field(head, name)
        if value.isdigit():
            return int(value) * unit
    return None


def _said(error: Exception) -> str:
    """A few words on an error, of a bounded number of kinds."""
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "closed"
