"""Where a host is: its addresses, asked for once, and kept fresh behind the backs of those who connect.

Only the first answer is waited for. One that has grown old is used at once, and whoever keeps it fresh sees that it
`is_stale`. One that led nowhere is doubted: it is asked for again before it is used. A name service that fails changes
nothing; the addresses of before stand. Those that answered late or not at all come last until the next answer.
"""

import errno
import math
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest

import trio

Address = tuple[socket.AddressFamily, tuple[object, ...]]

FRESH_FOR = 30.0  # s
_ANSWER_WITHIN = 5.0  # s
_DOUBTED_WITHIN = 1.0  # s, where there are addresses of before
_AT_MOST = 16


class Addresses:
    """The addresses of one host and port. Times are trio's."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._known: tuple[Address, ...] = ()
        self._asked_at = -math.inf
        self._doubted = True
        self._used_old = False
        self._late: set[Address] = set()
        self._turn = 0
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<Addresses {self.host}:{self.port} {len(self._known)}>"

    async def order(self) -> Sequence[Address]:
        """The addresses in the order in which to try them, each time another first. Raises `OSError` if there are none.

        Families alternate, the one that the system prefers first (RFC 8305 section 4).
        """
        if self._doubted:
            async with self._asking:
                if self._doubted:
                    await self._ask(_DOUBTED_WITHIN if self._known else _ANSWER_WITHIN)
        elif trio.current_time() - self._asked_at >= FRESH_FOR:
            self._used_old = True
        if len(self._known) == 1:
            return self._known
        self._turn += 1
        return sorted(interleaved(self._known, self._turn - 1), key=self._late.__contains__)

    def is_stale(self) -> bool:
        """Whether an old answer was used, and nobody is asking for a new one."""
        return self._used_old and not self._asking.locked()

    async def refresh(self) -> None:
        """Ask anew; nothing changes where that fails, and it is tried again when an answer has grown old again."""
        async with self._asking:
            await self._ask(_ANSWER_WITHIN)

    def doubt(self) -> None:
        """None of them answered."""
        self._doubted = True

    def late(self, addresses: Iterable[Address]) -> None:
        """Another one, tried after these, answered before they did."""
        self._late.update(addresses)

    async def _ask(self, within: float) -> None:
        found: list[Address] = []
        failure = OSError(errno.EHOSTUNREACH, "its name leads to no address")
        with trio.move_on_after(within):
            try:
                answer = await trio.socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                found = [(socket.AddressFamily(entry[0]), entry[4]) for entry in answer[:_AT_MOST]]
            except OSError as error:
                failure = error
            except UnicodeError:
                failure = OSError(errno.EINVAL, "its name is no host's")
        if not found and not self._known:
            raise failure
        self._known = tuple(found) or self._known
        self._asked_at = trio.current_time()
        self._doubted = self._used_old = False
        self._late.clear()


def interleaved(addresses: Iterable[Address], turn: int) -> list[Address]:
    """Families in turn, each family's own addresses rotated by `turn`."""
    families: dict[socket.AddressFamily, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rotated = [family[turn % len(family) :] + family[: turn % len(family)] for family in families.values()]
    return [address for row in zip_longest(*rotated) for address in row if address is not None]
