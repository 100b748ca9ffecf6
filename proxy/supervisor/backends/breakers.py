"""The breakers of all workers: what each found is told to the others, and what matters of it to people.

A word of one worker holds for all of them, for they take it as their own; a worker that starts is greeted with what is
known. Whether, and how, a worker acts on what it is told is `proxy.routing.breaker`'s to say.
"""

import logging
from collections.abc import Callable, Collection
from typing import NamedTuple

from proxy.messages import BreakerChanged, BreakerTold
from proxy.routing.breaker import THROTTLED_LONG
from proxy.routing.candidate import Key
from proxy.supervisor.events.events import Event

_SET_ASIDE = ("open", "half_open", "misconfigured")

_log = logging.getLogger("penstock.breakers")


class BreakerSeen(NamedTuple):
    """A deployment's breaker at one worker, by its own word or as it was told; `until` is monotonic."""

    state: str
    reason: str
    until: float


class SharedBreakers:
    """`post` tells one worker, by its index. Times are monotonic seconds."""

    def __init__(
        self, workers: int, post: Callable[[int, BreakerTold], None], announce: Callable[[Event], None]
    ) -> None:
        self.by_key: dict[Key, dict[int, BreakerSeen]] = {}
        self._workers = workers
        self._post = post
        self._announce = announce
        self._aside: set[Key] = set()  # of which it was announced that they are
        self._long: set[Key] = set()  # throttled for longer than is believed

    def reconfigure(self, keys: Collection[Key]) -> None:
        """The deployments that there are from now on."""
        self.by_key = {key: seen for key, seen in self.by_key.items() if key in keys}
        self._aside &= set(keys)
        self._long &= set(keys)

    def forget(self, key: Key) -> None:
        """What was found of a deployment counts no more: somebody has said so."""
        self.by_key.pop(key, None)
        self._aside.discard(key)
        self._long.discard(key)

    def changed(self, worker: int, message: BreakerChanged, now: float) -> None:
        """A worker's breaker changed; the others are told."""
        _log.warning(
            "deployment %s/%s is %s at worker %d: %s",
            message.backend, message.deployment, message.state, worker, message.reason,
        )  # fmt: skip
        told = BreakerTold(message.backend, message.deployment, message.state, message.reason, message.seconds)
        self.tell(told, now, source=worker, asked=message.asked)

    def tell(self, told: BreakerTold, now: float, *, source: int | None = None, asked: float = 0.0) -> None:
        """Have all workers but the source keep to what was found."""
        key = told.backend, told.deployment
        seen = self.by_key.setdefault(key, {})
        news = told.state != "closed" or any(each.state != "closed" for each in seen.values())
        for worker in range(self._workers):
            seen[worker] = BreakerSeen(told.state, told.reason, now + told.seconds)
            if news and worker != source:
                self._post(worker, told)
        self._make_known(key, told, asked)

    def greeting(self, now: float) -> list[BreakerTold]:
        """What a new worker has to know."""
        found = []
        for key, by_worker in self.by_key.items():
            seen = max(by_worker.values(), key=lambda each: each.until)
            if seen.state in ("open", "half_open") or (seen.state != "closed" and seen.until > now):
                found.append(BreakerTold(*key, seen.state, seen.reason, max(0.0, seen.until - now)))
        return found

    def _make_known(self, key: Key, told: BreakerTold, asked: float) -> None:
        """Announce a deployment that is set aside by a failure, and that it is used again; each once."""
        name = f"{key[0]}/{key[1]}"
        facts: dict[str, str | int | float] = {"backend": key[0], "deployment": key[1], "reason": told.reason}
        if told.reason == THROTTLED_LONG and key not in self._long and told.state != "closed":
            self._long.add(key)
            soon = max(told.seconds, 0.0)
            text = f"deployment {name} asks to be left alone for {asked:.0f} s; it is probed in {soon:.0f} s"
            self._announce(Event(THROTTLED_LONG, "warning", text, facts | {"seconds": round(asked, 3)}))
        elif told.state in _SET_ASIDE and told.reason != THROTTLED_LONG and key not in self._aside | self._long:
            self._aside.add(key)
            self._announce(Event("breaker_opened", "warning", f"deployment {name} is set aside: {told.reason}", facts))
        elif told.state == "closed" and key in self._aside | self._long:
            kind = "breaker_closed" if key in self._aside else "throttled_long_over"
            self._aside.discard(key)
            self._long.discard(key)
            self._announce(Event(kind, "info", f"deployment {name} is used again", facts))
