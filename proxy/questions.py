"""What a worker asks its supervisor about credentials it has never seen: each question once for all who wait for it.

A wait is bounded, and so are those who wait, for one question and for all: then it is a 503, and the next asks anew.
"""

from collections.abc import Callable

import trio

from proxy.identity.known import Question, Settled
from proxy.refusal import Reason, Refused

_WAIT = 2.0
_QUESTIONS = 1_000
_WAITERS = 2_000
_WAITERS_EACH = 500  # for one question, so that one slow source does not keep those of others out


class _Asked:
    """A question that the supervisor was asked, and those who wait for its answer."""

    __slots__ = ("available", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.available = False

    @property
    def waiters(self) -> int:
        return self.settled.statistics().tasks_waiting


class Questions:
    """Those of one worker; `post` sends one to the supervisor."""

    def __init__(self, post: Callable[[Question], object]) -> None:
        self._post = post
        self._asked: dict[str, _Asked] = {}
        self._waiters = 0

    async def settle(self, question: Question) -> None:
        """Have the supervisor settle what only it can. Raises `Refused`."""
        asked = self._asked.get(question.about)
        if asked is None and len(self._asked) < _QUESTIONS:
            asked = self._asked[question.about] = _Asked()
            self._post(question)
        if asked is not None and self._waiters < _WAITERS and asked.waiters < _WAITERS_EACH:
            self._waiters += 1
            try:
                with trio.move_on_after(_WAIT):
                    await asked.settled.wait()
                    if asked.available:
                        return
            finally:
                self._waiters -= 1
                if not asked.settled.is_set() and self._asked.get(question.about) is asked:
                    del self._asked[question.about]  # the next one asks anew
        raise Refused(Reason.IDENTITY_UNAVAILABLE, question.about, retry_after=1.0)

    def settled(self, settled: Settled) -> None:
        """The supervisor's answer: what there is to know is known by now, or cannot be had."""
        asked = self._asked.pop(settled.about, None)
        if asked is not None:
            asked.available = settled.available
            asked.settled.set()
