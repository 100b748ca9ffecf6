"""How the gateway proves itself to its backends: kept fresh ahead of need, once for all workers.

A token is renewed in the middle of its remaining life, in a thread and bounded in time. While its source is out, it
serves for as long as it is valid, and the source is asked again every 1 to 30 seconds. Failure, the end of what served
meanwhile, and recovery are each announced once. One that a backend does not take is renewed before its time: once for
all who say so, and ever more rarely where that does not help.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping

import trio

from proxy.config.structs import Credential
from proxy.messages import UpstreamCredential
from proxy.supervisor.backends.credential_sources import CredentialFailed, build

_ANSWER_WITHIN = 10.0
_FIRST_BACKOFF = 1.0
_BACKOFF_AT_MOST = 30.0
_KEY_LIFE = 3600.0  # a key never expires, but the file it is in may be replaced
_LOOK_AT_CLOCK = 60.0
_REJECTED_FOR = 60.0
_REJECTED_AT_MOST = 600.0

Obtain = Callable[[], Awaitable[UpstreamCredential]]


def in_thread(name: str, credential: Credential) -> Obtain:
    """The source of a credential, asked in a thread: one at a time, so that a source that hangs holds up no other."""
    source = build(name, credential)
    limiter = trio.CapacityLimiter(1)

    async def obtain() -> UpstreamCredential:
        return await trio.to_thread.run_sync(source, abandon_on_cancel=True, limiter=limiter)

    return obtain


class _Rejections:
    """How often a credential may be renewed because it was not taken. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._wait = _REJECTED_FOR

    def may_renew(self, now: float) -> bool:
        """At first once a minute; where that does not help, half as often each time, down to once in ten minutes."""
        if now < self._until:
            return False
        helped = now - self._until > self._wait
        self._wait = _REJECTED_FOR if helped else min(self._wait * 2, _REJECTED_AT_MOST)
        self._until = now + self._wait
        return True


class Refresher:
    """Keeps every credential fresh. `publish` gets all of them when one changed, `announce` what people should know.

    `current` is what there is, expired ones included; `failing` names those whose source is out, and says why. `first`
    is set when each has been obtained or has failed once. Times are Unix times of `wall`; `uniform` is in [0, 1).
    """

    def __init__(
        self,
        credentials: Mapping[str, Credential],
        publish: Callable[[dict[str, UpstreamCredential]], None],
        announce: Callable[[str], None],
        *,
        obtainer: Callable[[str, Credential], Obtain] = in_thread,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.current: dict[str, UpstreamCredential] = {}
        self.failing: dict[str, str] = {}
        self.first = trio.Event()
        self._definitions = dict(credentials)
        self._publish = publish
        self._announce = announce
        self._obtainer = obtainer
        self._wall = wall
        self._uniform = uniform
        self._asleep: dict[str, trio.Event] = {}  # by name, those that wait for their time; set: it has come
        self._rejections: dict[str, _Rejections] = {}
        self._tasks: dict[str, trio.CancelScope] = {}
        self._announced: dict[str, bool] = {}  # failures, and whether there was something to serve with
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Refresher {len(self.current)}/{len(self._definitions)}, {len(self.failing)} failing>"

    async def run(self) -> None:
        """Refresh for ever, a task for each credential."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                for name, definition in self._definitions.items():
                    if name not in self._tasks:
                        self._tasks[name] = scope = trio.CancelScope()
                        nursery.start_soon(self._keep, name, self._obtainer(name, definition), scope)
                self._check_first()
                await self._changed.wait()

    def reconfigure(self, credentials: Mapping[str, Credential]) -> None:
        """New definitions. A token whose definition is unchanged stays; what changed serves on until the new is there.

        Keys are read again, and sources that failed are asked again, since files may have changed that they rest on.
        """
        for name, old in self._definitions.items():
            new = credentials.get(name)
            if new != old:
                self.failing.pop(name, None)
                self._announced.pop(name, None)
            elif old.kind != "api_key" and name not in self.failing:
                continue
            if name in self._tasks:
                self._tasks.pop(name).cancel()
            self._asleep.pop(name, None)
            self._rejections.pop(name, None)
        self._definitions = dict(credentials)
        self._adopt({name: held for name, held in self.current.items() if name in credentials})
        self._changed.set()

    def rejected(self, name: str, fingerprint: bytes, backend: str) -> None:
        """A backend does not take what is held of a credential: it is obtained anew, unless that was done just now."""
        held, asleep = self.current.get(name), self._asleep.get(name)
        if held is None or asleep is None or name in self.failing or held.fingerprint != fingerprint:
            return
        if self._rejections.setdefault(name, _Rejections()).may_renew(trio.current_time()):
            self._announce(f"backend '{backend}' does not take credential '{name}' (401); it is obtained anew")
            asleep.set()

    async def _keep(self, name: str, obtain: Obtain, scope: trio.CancelScope) -> None:
        backoff = _FIRST_BACKOFF
        with scope:
            while True:
                failed = None
                try:
                    fresh = await self._obtained(name, obtain)
                except CredentialFailed as error:
                    failed = error
                if scope.cancel_called:
                    return  # overtaken by a new definition while the answer was on its way
                if failed is not None:
                    self._note_failure(failed)
                    wait = max(_FIRST_BACKOFF, backoff * (0.5 + self._uniform() / 2))
                    backoff = min(backoff * 2, _BACKOFF_AT_MOST)
                else:
                    self._note_success(name)
                    self._adopt({**self.current, name: fresh})
                    wait = self._until_refresh(fresh)
                    backoff = _FIRST_BACKOFF
                self._check_first()
                await self._sleep(name, wait)

    async def _obtained(self, name: str, obtain: Obtain) -> UpstreamCredential:
        try:
            with trio.fail_after(_ANSWER_WITHIN):
                fresh = await obtain()
        except trio.TooSlowError:
            raise CredentialFailed(name, f"no answer within {_ANSWER_WITHIN:.0f} s") from None
        if fresh.expires <= self._wall():
            raise CredentialFailed(name, "the answer is a token that has expired")
        return fresh

    def _adopt(self, credentials: dict[str, UpstreamCredential]) -> None:
        if credentials != self.current:
            self.current = credentials
            self._publish(credentials)

    def _note_failure(self, failed: CredentialFailed) -> None:
        name = failed.name
        self.failing[name] = failed.fact
        held = self.current.get(name)
        left = held.expires - self._wall() if held is not None else 0.0
        serves = left > 0
        if self._announced.get(name) == serves:
            return
        self._announced[name] = serves
        if math.isinf(left):
            meanwhile = "the old one serves on"
        elif serves:
            meanwhile = f"the old one serves for {left / 60:.0f} min more"
        else:
            meanwhile = "its backends cannot be used"
        self._announce(f"{failed}; {meanwhile}, trying again")

    def _note_success(self, name: str) -> None:
        self.failing.pop(name, None)
        if self._announced.pop(name, None) is not None:
            self._announce(f"credential '{name}' is obtained again")

    def _until_refresh(self, fresh: UpstreamCredential) -> float:
        """Seconds to half of what is left, less up to a tenth. For tokens of ten minutes and more, that is at least
        five minutes before the end; a source that gives the same token again (IMDS does) is asked ever more often.
        """
        left = fresh.expires - self._wall()
        return _KEY_LIFE if math.isinf(left) else max(1.0, left / 2 * (1 - self._uniform() / 10))

    async def _sleep(self, name: str, seconds: float) -> None:
        """Until `seconds` have passed by either clock: one stands still while the machine sleeps, one may be set.

        Or until what is held is of no use.
        """
        self._asleep[name] = useless = trio.Event()
        woken, due = trio.current_time() + seconds, self._wall() + seconds
        while (left := min(woken - trio.current_time(), due - self._wall())) > 0 and not useless.is_set():
            with trio.move_on_after(min(left, _LOOK_AT_CLOCK)):
                await useless.wait()
        self._asleep.pop(name, None)

    def _check_first(self) -> None:
        if self._definitions.keys() <= self.current.keys() | self.failing.keys():
            self.first.set()
