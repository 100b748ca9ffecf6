"""The engine: clients on one epoll, lean enough to share a core with the mock.

Closed loop: a client asks again when it has its answer. Open loop: requests fall due by a schedule whatever became of
the earlier ones, and their times count from when they were due, so that a proxy that falls behind cannot hide it.
"""

import heapq
import random
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, repeat

from bench.load.connection import CONNECTING, Asked, Connection, Plan, State
from bench.load.histogram import Histogram
from bench.load.identities import Caller, Contexts
from bench.load.results import Moments, Results, Tally
from bench.load.source import Closed, Open

_BATCH = 256
_EXACT = 0.002  # seconds before something is due from which on epoll's millisecond is too coarse
_SELECTABLE = 1024  # descriptors that select can wait for


class Target:
    """Where the load goes: an address, and how to speak to it; without a root, in plain HTTP. Raises `OSError` or
    `ssl.SSLError` for bad files.
    """

    def __init__(self, host: str, port: int, root: str | None, certificate: tuple[str, str] | None = None) -> None:
        self.host = host
        self.port = port
        self.address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls = root is not None
        if root is not None:
            self.context.load_verify_locations(root)
        if certificate is not None:
            self.context.load_cert_chain(*certificate)
        self.contexts = Contexts(root)


class Load:
    """Clients against one target; they live while `run` or `finish` does.

    `asked` counts the requests sent. `failed` says by local port why a connection failed, `left` the Unix times at
    which tagged requests were left. `told`, where it is set, hears of every request that is over. Of requests that were
    due before `since` (monotonic) no times are kept, and `results.tallies` count their `moments` from there. `results`
    can be replaced at any time, to count anew. `ending`: no client asks again.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.results = Results()
        self.since = 0.0
        self.moments = Moments()
        self.asked = 0
        self.left: dict[str, float] = {}
        self.failed: dict[int, str] = {}
        self.told: Callable[[Asked], None] | None = None
        self.ending = False
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer = count()
        self._opened: list[Open] = []
        self._tags = count()

    # What is to be done.

    def start(self, clients: int, plan: Plan, ramp: float = 0.0) -> None:
        """Add clients, closed loop, over about `ramp` seconds, at odd moments: even ones would keep them in step."""
        moments = random.Random(0)
        for _ in range(clients):
            Closed(self, repeat(plan)).begin()
            self.run(moments.uniform(0, 2 * ramp / clients))

    def follow(self, arrivals: Iterator[tuple[float, Plan]], connections: int) -> None:
        """From now on what `arrivals` say falls due when (monotonic, in order), over at most so many connections."""
        self._opened.append(Open(self, arrivals, connections))

    def offer(self, rate: float, plan: Plan | Sequence[Plan], connections: int) -> None:
        """From now on requests fall due at `rate` a second, over at most `connections`; of several plans, in turn."""
        plans = (plan,) if isinstance(plan, Plan) else tuple(plan)
        now = time.monotonic()
        self.follow(((now + number / rate, one) for number, one in enumerate(cycle(plans))), connections)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time (monotonic)."""
        heapq.heappush(self._timers, (when, next(self._timer), what))

    def run(self, seconds: float) -> None:
        """Serve the clients for a time."""
        self.run_until(time.monotonic() + seconds)

    def run_until(self, moment: float) -> None:
        """Serve the clients up to a monotonic time."""
        timers, by_fd = self._timers, self._by_fd
        while (now := time.monotonic()) < moment:
            while timers and timers[0][0] <= now:
                heapq.heappop(timers)[2]()
                now = time.monotonic()
            due = timers[0][0] if timers and timers[0][0] < moment else moment
            for fd, mask in self._wait(max(0.0, due - now)):
                connection = by_fd.get(fd)
                if connection is not None:
                    connection.ready(mask)

    def finish(self, seconds: float) -> int:
        """Let what is under way come to its end, for at most so long; how many requests still had none."""
        self.ending = True
        for one in self._opened:
            one.stop()
        for connection in list(self._by_fd.values()):
            if connection.state is State.IDLE or not connection.plan.reads:
                connection.close()
        until = time.monotonic() + seconds
        while (self._by_fd or self._waiting) and time.monotonic() < until:
            self.run(0.05)
        return len(self._by_fd) + self._waiting

    def abandon(self) -> None:
        """Give up on what is under way: it counts as never answered, and what could not even be sent as that."""
        self.ending = True
        for one in self._opened:
            one.stop()
            for due, plan in one.drop():
                self.lost(due, plan, "never sent")
        for connection in list(self._by_fd.values()):
            connection.give_up()

    def close(self) -> None:
        self.ending = True
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

    # What connections and their sources ask for.

    def register(self, connection: Connection) -> None:
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, CONNECTING)

    def watch(self, connection: Connection, mask: int) -> None:
        self._epoll.modify(connection.fd, mask)

    def unregister(self, connection: Connection) -> None:
        if self._by_fd.pop(connection.fd, None) is not None:
            self._epoll.unregister(connection.fd)

    def context_of(self, caller: Caller | None) -> ssl.SSLContext:
        return self.target.context if caller is None else self.target.contexts.of(caller.pair)

    def next_tag(self) -> str:
        return f"bench-{next(self._tags)}"

    def came_due(self, due: float, plan: Plan) -> None:
        """A request is due, or is sent because its client has nothing better to do."""
        self.results.asked += 1
        if due >= self.since:
            self.tally(due, plan)[0].asked += 1

    def lost(self, due: float, plan: Plan, kind: str) -> None:
        """A request that was due was never sent."""
        self.results.wrong(kind)
        if due >= self.since:
            self.tally(due, plan)[0].failed += 1

    def tally(self, due: float, plan: Plan) -> tuple[Tally, Histogram]:
        """Of the requests that were due in the same moment, of the same client if it is counted apart."""
        client = plan.caller.client if plan.caller is not None else ""
        return self.results.tally(self.moments.place(due - self.since, client))

    # Time.

    @property
    def _waiting(self) -> int:
        return sum(one.waiting for one in self._opened)

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        """What is ready, once something is, or after so long: to the microsecond, where that is near."""
        if seconds > _EXACT:
            return self._epoll.poll(seconds - _EXACT / 2, _BATCH)
        if self._epoll.fileno() < _SELECTABLE and not select.select((self._epoll,), (), (), seconds)[0]:
            return []
        return self._epoll.poll(0, _BATCH)
