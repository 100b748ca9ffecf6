"""Where instances listen, which can be shut: then nobody is there, as when a machine or a region is gone."""

import socket
import ssl

from bench.mock.connection import Connection, Counts, Handler, accepting
from bench.mock.engine import Engine


class Door:
    """Listens from the start; `address` is where. Raises `OSError`.

    A port that was free for the taking is shared with a socket that never listens (SO_REUSEPORT): while the door is
    shut the kernel refuses who knocks, and gives the port to nobody else.
    """

    def __init__(
        self,
        engine: Engine,
        address: tuple[str, int],
        handler: Handler,
        counts: Counts,
        context: ssl.SSLContext | None,
    ) -> None:
        self._engine = engine
        self._connections: set[Connection] = set()
        self._accepted = accepting(engine, handler, counts, context, self._connections)
        self._own = address[1] == 0
        self._held: socket.socket | None = None
        self._listening: socket.socket | None = engine.listen(address, self._accepted, shared=self._own)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]

    def shut(self) -> None:
        """Refuse who comes; those that are there are reset."""
        if self._listening is None:
            return
        if self._own:
            self._held = socket.socket(self._listening.family)
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._held.bind(self.address)
        self._engine.forget(self._listening.fileno())
        self._listening.close()
        self._listening = None
        for connection in list(self._connections):
            connection.reset()

    def open(self) -> None:
        """Listen again."""
        if self._listening is not None:
            return
        self._listening = self._engine.listen(self.address, self._accepted, shared=self._own)
        if self._held is not None:
            self._held.close()
            self._held = None
