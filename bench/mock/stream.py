"""One streamed answer: an event at a time by its own schedule, and what goes wrong in the middle of it.

A client that does not read delays only itself: the next event waits until the last has gone.
"""

import random
from collections.abc import Callable

from bench.mock import answers
from bench.mock.config import Deployment
from bench.mock.connection import Connection
from bench.mock.engine import Engine
from bench.mock.faults import IN_THE_MIDDLE, OF_EVENTS, Fault, Kind

LAST_CHUNK = b"0\r\n\r\n"
_BAD_EVENT = b'data: {"choices":[{"delta":{"content":"no end\n\ndata no colon\n\n'
_MALFORMED = b"zz\r\nneither a chunk nor an event\0\r\n"
_ERROR_EVENT = answers.event({"error": {"code": "500", "message": "The server had an error while processing."}})


def break_off(connection: Connection, kind: Kind) -> None:
    """End an answer in the middle, in one of the ways of `IN_THE_MIDDLE`."""
    match kind:
        case Kind.RESET_STREAM:
            connection.reset()
        case Kind.CLOSE_STREAM:
            connection.close()
        case Kind.END_STREAM:
            connection.goodbye()
        case _:  # nothing, until the client leaves
            pass


class Stream:
    """`begin` starts it. `sent` counts the events handed over. `done` hears when the last one was; `ended` when nothing
    more will come, for whatever reason.
    """

    __slots__ = (
        "_between", "_chunked", "_chunks", "_connection", "_done", "_due", "_ended", "_engine", "_fault", "_first",
        "_head", "_jitter", "_over", "_random", "_turn", "sent",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        connection: Connection,
        head: bytes,
        chunks: list[bytes],
        deployment: Deployment,
        fault: Fault | None,
        uniform: random.Random,
        done: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self.sent = 0
        self._done = done
        self._ended = ended
        self._engine = engine
        self._connection = connection
        self._head = head
        self._chunks = chunks
        self._chunked = deployment.framing != "close"
        self._first: float = deployment.first_token
        self._between: float = deployment.between_tokens
        self._jitter: float = deployment.jitter
        self._random = uniform
        self._fault = fault if fault is not None and fault.kind in OF_EVENTS else None
        self._over = False
        self._turn = 0  # the next event that is not like the others: the first, the faulty, the last
        self._due = 0.0

    def begin(self, now: float) -> None:
        self._due = now + self._first + self._random.random() * self._jitter
        self._engine.at(self._due, self._fire)

    def over(self) -> None:
        """The connection has no more use for it: nothing more is sent."""
        self._over = True
        self._turn = self.sent
        self._ended()

    def _fire(self) -> None:
        """An event is due. The mock's hot path: what is not like most events is in `_unusual`."""
        number = self.sent
        if number == self._turn:
            self._unusual(number)
            return
        self.sent = number + 1
        due = self._due + self._between
        if self._jitter:
            due += self._random.random() * self._jitter
        self._due = due
        if self._connection.send(self._chunks[number]):
            self._engine.at(due, self._fire)
        else:
            self._connection.on_room = self._room

    def _room(self) -> None:
        """The client reads again; what it missed is not made up for all at once."""
        self._due = max(self._due, self._engine.now)
        self._engine.at(self._due, self._fire)

    def _unusual(self, number: int) -> None:
        if self._over:
            return
        data = self._chunks[number]
        last = number == len(self._chunks) - 1
        fault = self._fault
        if fault is not None and number == fault.after:
            if fault.kind in IN_THE_MIDDLE or fault.kind is Kind.MALFORMED:
                self._break(fault.kind, number)
                return
            event = _BAD_EVENT if fault.kind is Kind.BAD_EVENT else _ERROR_EVENT
            data = b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event
            last = last or fault.kind is Kind.ERROR_EVENT
        if number == 0:
            data = self._head + data
        if last and self._chunked:
            data += LAST_CHUNK
        self.sent = number + 1
        if last:
            self._over = True
            self._connection.send(data)
            self._done()
            return
        final = len(self._chunks) - 1
        self._turn = final if fault is None or fault.after <= number else min(fault.after, final)
        self._due += self._between + self._random.random() * self._jitter
        if self._connection.send(data):
            self._engine.at(self._due, self._fire)
        else:
            self._connection.on_room = self._room

    def _break(self, kind: Kind, number: int) -> None:
        """No event goes any more; a head that has not gone does."""
        self._over = True
        rubbish = _MALFORMED if kind is Kind.MALFORMED else b""
        if number == 0 or rubbish:
            self._connection.send((b"" if number else self._head) + rubbish)
        break_off(self._connection, kind)
