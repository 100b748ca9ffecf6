"""The engine: clients on one epoll, lean enough to share a core with the mock.

Closed loop: a client asks again when it has its answer. Open loop: requests fall due at a constant rate whatever became
of the earlier ones, and their times count from when they were due, so that a proxy that falls behind cannot hide it.
The resolution of both is epoll's millisecond.
"""

import random
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle

import msgspec

from bench.load.connection import CONNECTING, Asked, Connection, Plan, State
from bench.load.results import Results

_BREATH = 0.01  # before a client that failed is replaced
_BACKLOG = 100_000
_BATCH = 256


class Target:
    """Where the load goes: an address, and how to speak to it. Raises `OSError` or `ssl.SSLError` for bad files."""

    def __init__(self, host: str, port: int, root: str, certificate: tuple[str, str] | None = None) -> None:
        self.host = host
        self.port = port
        self.address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(root)
        if certificate is not None:
            self.context.load_cert_chain(*certificate)


class _Offer(msgspec.Struct):
    """Requests at a rate, over at most so many connections; `turns` says what the next one asks for."""

    plans: tuple[Plan, ...]
    turns: Iterator[Plan]
    every: float
    next: float
    connections: int
    backlog: deque[tuple[float, Plan]]


class Load:
    """Clients against one target; they live while `run` or `finish` does.

    `asked` counts the requests sent. `failed` says by local port why a connection failed, `left` the Unix times at
    which tagged requests were left. `told`, where it is set, hears of every request that is over.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.results = Results()
        self.asked = 0
        self.left: dict[str, float] = {}
        self.failed: dict[int, str] = {}
        self.told: Callable[[Asked], None] | None = None
        self._again = True
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._breathing: deque[tuple[float, Plan]] = deque()
        self._offer: _Offer | None = None
        self._idle: list[Connection] = []
        self._tags = count()

    # What is to be done.

    def start(self, clients: int, plan: Plan, ramp: float = 0.0) -> None:
        """Add clients, closed loop, over about `ramp` seconds, at odd moments: even ones would keep them in step."""
        moments = random.Random(0)
        for _ in range(clients):
            Connection(self, plan)
            self.run(moments.uniform(0, 2 * ramp / clients))

    def offer(self, rate: float, plan: Plan | Sequence[Plan], connections: int) -> None:
        """From now on requests fall due at `rate` a second, over at most `connections`; of several plans, in turn."""
        plans = (plan,) if isinstance(plan, Plan) else tuple(plan)
        self._offer = _Offer(plans, cycle(plans), 1 / rate, time.monotonic(), connections, deque())

    def run(self, seconds: float) -> None:
        """Serve the clients for a time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for fd, mask in self._epoll.poll(min(left, self._next_due()), _BATCH):
                connection = self._by_fd.get(fd)
                if connection is not None:
                    connection.ready(mask)
            if self._breathing or self._offer is not None:
                self._fall_due(time.monotonic())

    def finish(self, seconds: float) -> int:
        """Let what is under way come to its end, for at most so long; how many clients were still waiting."""
        self._again = False
        self._breathing.clear()
        self._offer = None
        for connection in list(self._by_fd.values()):
            if connection.state is State.IDLE:
                connection.close()
        until = time.monotonic() + seconds
        while self._by_fd and time.monotonic() < until:
            self.run(0.05)
        return len(self._by_fd)

    def abandon(self) -> None:
        """Give up on what is under way: it counts as never answered."""
        self._again = False
        for connection in list(self._by_fd.values()):
            connection.give_up()

    def close(self) -> None:
        self._again = False
        for connection in list(self._by_fd.values()):
            connection.close()
        self._epoll.close()

    @property
    def open(self) -> int:
        return len(self._by_fd)

    @property
    def ports(self) -> set[int]:
        """The local ports of all open connections."""
        return {connection.port for connection in self._by_fd.values()}

    # What connections ask for.

    def register(self, connection: Connection) -> None:
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, CONNECTING)

    def watch(self, connection: Connection, mask: int) -> None:
        self._epoll.modify(connection.fd, mask)

    def unregister(self, connection: Connection) -> None:
        if self._by_fd.pop(connection.fd, None) is not None:
            self._epoll.unregister(connection.fd)

    def next_tag(self) -> str:
        return f"bench-{next(self._tags)}"

    def finished(self, connection: Connection, *, failed: bool = False) -> None:
        """The connection has its answer, or is closed."""
        if not self._again:
            connection.close()
        elif self._offer is not None and connection.plan in self._offer.plans:
            self._freed(connection, self._offer)
        elif failed and not connection.plan.returns:
            return
        elif failed:
            self._breathing.append((time.monotonic() + _BREATH, connection.plan))
        elif connection.state is State.CLOSED:
            Connection(self, connection.plan)
        else:
            connection.ask()

    def _freed(self, connection: Connection, offer: _Offer) -> None:
        if connection.state is not State.CLOSED:
            if offer.backlog:
                due, connection.plan = offer.backlog.popleft()
                connection.ask(due)
            else:
                self._idle.append(connection)
        elif offer.backlog:
            due, plan = offer.backlog.popleft()
            Connection(self, plan, due)

    # Time.

    def _next_due(self) -> float:
        """Seconds until something falls due."""
        if not self._breathing and self._offer is None:
            return 3600.0
        due = self._breathing[0][0] if self._breathing else float("inf")
        if self._offer is not None:
            due = min(due, self._offer.next)
        return max(0.0, due - time.monotonic())

    def _fall_due(self, now: float) -> None:
        while self._breathing and self._breathing[0][0] <= now:
            Connection(self, self._breathing.popleft()[1])
        offer = self._offer
        while offer is not None and offer.next <= now:
            self._place(offer, offer.next)
            offer.next += offer.every

    def _place(self, offer: _Offer, due: float) -> None:
        """Give a request that is due to a connection: an idle one, a new one, or the next to come free."""
        plan = next(offer.turns)
        while self._idle:
            connection = self._idle.pop()
            if connection.state is State.IDLE:
                connection.plan = plan
                connection.ask(due)
                return
        if len(self._by_fd) < offer.connections:
            Connection(self, plan, due)
        elif len(offer.backlog) < _BACKLOG:
            offer.backlog.append((due, plan))
        else:
            self.results.errors["overrun"] += 1
