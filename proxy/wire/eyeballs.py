"""Which of several addresses to connect to: the first that answers (happy eyeballs, RFC 8305).

They are tried one after another, `STAGGER` apart or as soon as the one before has failed, and the rest is given up when
one answers.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import trio

from proxy.wire.resolve import Address

STAGGER = 0.25  # s, the "connection attempt delay" that RFC 8305 section 8 recommends


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


async def first_to_answer(
    addresses: Sequence[Address], attempt: Callable[[Address], Awaitable[T]], stagger: float = STAGGER
) -> tuple[T, int]:
    """What `attempt` made at the first address that answered, and its place in `addresses`.

    Those before it have failed, or were overtaken. Raises the last failure, an `OSError`, if all have failed.
    """
    if len(addresses) == 1:
        return await attempt(addresses[0]), 0
    won: list[tuple[T, int]] = []
    failures = [OSError("no address")]

    async def run(place: int, over: trio.Event) -> None:
        try:
            made = await attempt(addresses[place])
        except OSError as error:
            failures.append(error)
            over.set()
            return
        if won:
            made.close()  # both answered in one turn
        else:
            won.append((made, place))
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for place in range(len(addresses)):
                over = trio.Event()
                nursery.start_soon(run, place, over)
                with trio.move_on_after(stagger):
                    await over.wait()
    except BaseException:
        for made, _ in won:
            made.close()
        raise
    if not won:
        raise failures[-1]
    return won[0]
