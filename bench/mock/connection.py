"""One accepted connection: TLS or plain, requests in, answers out, and every way to end it badly.

A handler gets one request at a time, sends, and says `finish`. What the kernel does not take is kept, and sent when
there is room: the same bytes again, as OpenSSL demands after `SSLWantWriteError`.
"""

import contextlib
import random
import select
import socket
import ssl
import traceback
from collections import deque
from collections.abc import Callable
from enum import Enum

from bench.mock.engine import READ, READ_WRITE, Engine
from bench.mock.request import BadRequest, Reader, Request

_READ_SIZE = 1 << 14  # the largest TLS record
_READS_A_TURN = 16
_PIPELINED_AT_MOST = 100
_LINGER_NOT = b"\x01\0\0\0\0\0\0\0"  # struct linger {on, no seconds}: close resets

Handler = Callable[["Connection", Request], None]


class State(Enum):
    HANDSHAKING = "handshaking"
    WAITING = "waiting"  # for a request
    ANSWERING = "answering"  # the handler is at it
    FINISHING = "finishing"  # the handler is done; not all bytes have gone
    CLOSED = "closed"


class Counts:
    """What all connections of a mock add up to."""

    def __init__(self) -> None:
        self.accepted = 0
        self.handshakes = 0
        self.open = 0


class Connection:
    """For the handler: `on_over` hears once when the answer is over, with whether the client left before its end;
    `on_room` when all that was sent has gone. `piece` > 0 sends in pieces of 1 to so many bytes, each a TLS record of
    its own, `pause` seconds apart.
    """

    __slots__ = (
        "_counts", "_descriptor", "_engine", "_handler", "_outbox", "_peers", "_reader", "_send", "_sock", "_state",
        "close_after", "on_over", "on_room", "pause", "piece",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, sock: socket.socket, handler: Handler, counts: Counts, peers: set["Connection"]
    ) -> None:
        self.close_after = False
        self.piece = 0
        self.pause = 0.0
        self.on_over: Callable[[bool], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._engine = engine
        self._sock = sock
        self._send = sock.send
        self._descriptor = sock.fileno()
        self._handler = handler
        self._counts = counts
        self._reader = Reader()
        self._outbox: deque[bytes] = deque()
        self._state = State.HANDSHAKING if isinstance(sock, ssl.SSLSocket) else State.WAITING
        counts.open += 1
        self._peers = peers
        peers.add(self)
        engine.watch(self._descriptor, READ, self._ready)

    @property
    def blocked(self) -> bool:
        """Something that was sent has not gone yet."""
        return bool(self._outbox)

    def send(self, data: bytes) -> bool:
        """Send, and whether all of it has gone; what has not will."""
        if self.piece or self._outbox:
            self._enqueue(data)
            return False
        try:
            sent = self._send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            sent = 0
        except (OSError, ValueError):
            self._lost()
            return False
        if sent == len(data):
            return True
        self._outbox.append(data[sent:])
        self._engine.change(self._descriptor, READ_WRITE)
        return False

    def finish(self) -> None:
        """The answer is complete: on to the next request when it has gone, or close."""
        if self._state is State.ANSWERING:
            self._state = State.FINISHING
            if not self._outbox:
                self._finished()

    def goodbye(self) -> None:
        """Close in order: with close_notify, then FIN."""
        if isinstance(self._sock, ssl.SSLSocket) and self._state not in (State.CLOSED, State.HANDSHAKING):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
        self.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.close()

    def close(self, *, gone: bool = False) -> None:
        """Close with FIN alone, without close_notify."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._counts.open -= 1
        self._peers.discard(self)
        self._engine.forget(self._descriptor)
        self._sock.close()
        self._outbox.clear()
        self._over(gone)

    def _ready(self, mask: int) -> None:
        if self._state is State.HANDSHAKING and not self._handshaken():
            return
        if mask & select.EPOLLOUT:
            self._flush()
        if mask & ~select.EPOLLOUT and self._state is not State.CLOSED:
            self._read()

    def _handshaken(self) -> bool:
        assert isinstance(self._sock, ssl.SSLSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._engine.change(self._descriptor, READ_WRITE)
            return False
        except (OSError, ValueError):
            self._lost()
            return False
        self._engine.change(self._descriptor, READ)
        self._counts.handshakes += 1
        self._state = State.WAITING
        return True

    def _read(self) -> None:
        """Read even while an answer is due: that is how a client that leaves is noticed."""
        reader = self._reader
        try:
            for _ in range(_READS_A_TURN):
                data = self._sock.recv(_READ_SIZE)
                if not data:
                    self._lost()
                    return
                reader.feed(data)
                if len(data) < _READ_SIZE:
                    break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, ValueError):
            self._lost()
            return
        except BadRequest as error:
            self._refuse(error)
            return
        if reader.requests:
            if len(reader.requests) > _PIPELINED_AT_MOST:
                self._lost()
            elif self._state is State.WAITING:
                self._next()
        elif reader.expects and self._state is State.WAITING:
            reader.expects = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, error: BadRequest) -> None:
        if self._state is State.WAITING:
            body = str(error).encode("ascii", "replace")
            self.send(b"HTTP/1.1 %d Bad Request\r\ncontent-length: %d\r\n\r\n%b" % (error.status, len(body), body))
        self.goodbye()

    def _next(self) -> None:
        """Hand the next request to the handler."""
        if self._state is State.WAITING and self._reader.requests:
            self._state = State.ANSWERING
            request = self._reader.requests.popleft()
            self.close_after = not request.keep_alive
            self.piece = 0
            try:
                self._handler(self, request)
            except Exception:  # one request that the mock cannot take must not end it for the others
                traceback.print_exc()
                self.close()

    def _finished(self) -> None:
        self._over(False)
        if self.close_after:
            self.goodbye()
            return
        self._state = State.WAITING
        if self._reader.requests:
            self._engine.at(0.0, self._next)  # not from here: a hundred of them would be as deep a stack

    def _lost(self) -> None:
        self.close(gone=True)

    def _over(self, gone: bool) -> None:
        over, self.on_over, self.on_room = self.on_over, None, None
        if over is not None:
            over(gone)

    def _enqueue(self, data: bytes) -> None:
        if self._state is State.CLOSED:
            return
        if not self.piece:
            self._outbox.append(data)
            return
        idle = not self._outbox
        pos = 0
        while pos < len(data):
            size = random.randint(1, self.piece)
            self._outbox.append(data[pos : pos + size])
            pos += size
        if idle:
            self._engine.at(0.0, self._flush)

    def _flush(self) -> None:
        """Send what is kept, as far as there is room; of pieces, one."""
        outbox = self._outbox
        while outbox:
            try:
                sent = self._send(outbox[0])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                self._engine.change(self._descriptor, READ_WRITE)
                return
            except (OSError, ValueError):
                self._lost()
                return
            if sent < len(outbox[0]):
                outbox[0] = outbox[0][sent:]
                continue
            outbox.popleft()
            if self.piece and outbox:
                self._engine.change(self._descriptor, READ)
                self._engine.at(self._engine.now + self.pause, self._flush)
                return
        if self._state is State.CLOSED:
            return
        self._engine.change(self._descriptor, READ)
        room, self.on_room = self.on_room, None
        if room is not None:
            room()
        elif self._state is State.FINISHING:
            self._finished()


def serve(
    engine: Engine, address: tuple[str, int], handler: Handler, counts: Counts, context: ssl.SSLContext | None
) -> tuple[str, int]:
    """Serve an address, with TLS if there is a context; where it is. Raises `OSError`."""
    bound: tuple[str, int] = engine.listen(address, accepting(engine, handler, counts, context, set())).getsockname()
    return bound[:2]


def accepting(
    engine: Engine, handler: Handler, counts: Counts, context: ssl.SSLContext | None, connections: set[Connection]
) -> Callable[[socket.socket], None]:
    """What makes connections of accepted sockets, and keeps those that are open in `connections`."""

    def accepted(sock: socket.socket) -> None:
        counts.accepted += 1
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()
            return
        Connection(engine, sock, handler, counts, connections)

    return accepted
