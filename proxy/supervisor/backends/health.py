"""Health probes: a backend that nobody has sent anything lately is asked for its models, which costs no token.

Where there is traffic, traffic tells. Without it, a backend that is out would be found out by the first requests that
need it. One that does not answer twice in a row is set aside at all workers, for as long as it stays so; one that
answers again is left to a probe of theirs, by a real request. Whatever is not a 5xx is an answer: a 401 or a 404 says
that somebody is there, and whether requests may be sent is for requests to find out.
"""

import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable

import trio

from proxy.config.structs import Backend, Config
from proxy.messages import BreakerTold, DeploymentsSeen, Snapshot, UpstreamCredential
from proxy.supervisor.backends.client import backend_client
from proxy.supervisor.events.events import Event
from proxy.wire.tls import backend_context

REASON = "health_probe"
_PATH = "/openai/models?api-version=2024-10-21"
_AT_ONCE = 4
_AGAIN = 1.0  # s until one that has not answered is asked once more
_RETURNS_WITHIN = 5.0  # s, at most, until one that is set aside is asked again
_LOOK_AGAIN = 3_600.0

Ask = Callable[[Backend, float], Awaitable[str | None]]
"""Ask a backend, within so many seconds; what is wrong, in one clean clause, or None."""


class HealthProbes:
    """Times are as `now` gives them; `uniform` is in [0, 1)."""

    def __init__(
        self,
        config: Config,
        ask: Ask,
        tell: Callable[[BreakerTold], None],
        announce: Callable[[Event], None],
        *,
        now: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._ask = ask
        self._tell = tell
        self._announce = announce
        self._now = now
        self._uniform = uniform
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._changed = trio.Event()
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        self._config = config
        self._due = {backend.name: self._due.get(backend.name, self._next()) for backend in config.backends}
        self._failures = {name: count for name, count in self._failures.items() if name in self._due}
        self._changed.set()

    def saw(self, message: DeploymentsSeen) -> None:
        """Where there is traffic, there need be no probe for a while."""
        for seen in message.deployments:
            if (seen.requests or seen.in_flight) and seen.backend in self._due:
                self._due[seen.backend] = self._next()
                if seen.requests > seen.failed:
                    self._failures.pop(seen.backend, None)  # it answers, as its breaker knows

    def _next(self) -> float:
        return self._now() + self._config.routing.probes.every * (1 + self._uniform() / 5)

    async def run(self) -> None:
        """Probe whoever is due, for ever."""
        limiter = trio.CapacityLimiter(_AT_ONCE)
        while True:
            self._changed = trio.Event()
            now = self._now()
            if self._config.routing.probes.every > 0:
                async with trio.open_nursery() as nursery:
                    for backend in self._config.backends:
                        if self._due[backend.name] <= now:
                            nursery.start_soon(self._probe, backend, limiter)
                wait = min(self._due.values(), default=now + _LOOK_AGAIN) - self._now()
            else:
                wait = _LOOK_AGAIN
            with trio.move_on_after(max(wait, 0.01)):
                await self._changed.wait()

    async def _probe(self, backend: Backend, limiter: trio.CapacityLimiter) -> None:
        settings = self._config.routing.probes
        async with limiter:
            wrong = await self._ask(backend, float(settings.within))
        if backend.name not in self._due:
            return
        self._due[backend.name] = self._next()
        if wrong is None:
            if self._failures.pop(backend.name, 0) > 1:
                self._set(backend, "half_open", 0.0)
                text = f"backend {backend.name} answers again"
                self._announce(Event("backend_answers", "info", text, {"backend": backend.name}))
            return
        failures = self._failures[backend.name] = self._failures.get(backend.name, 0) + 1
        if failures == 1:
            self._due[backend.name] = self._now() + _AGAIN * (1 + self._uniform())
            return
        again = min(settings.every, _RETURNS_WITHIN)
        self._due[backend.name] = self._now() + again
        # Until the next probe has had its time, and a little more.
        self._set(backend, "open", again * 1.5 + settings.within)
        if failures == 2:
            text = f"backend {backend.name} has no traffic and does not answer: {wrong}"
            self._announce(Event("backend_unreachable", "warning", text, {"backend": backend.name}))

    def _set(self, backend: Backend, state: str, seconds: float) -> None:
        for deployment in sorted(_deployments(self._config, backend.name)):
            self._tell(BreakerTold(backend.name, deployment, state, REASON, seconds))


def _deployments(config: Config, backend: str) -> Iterable[str]:
    return {each.deployment for model in config.models for each in model.deployments if each.backend == backend}


def asking(snapshot: Callable[[], Snapshot], credentials: Callable[[], dict[str, UpstreamCredential]]) -> Ask:
    """How backends are asked, by what is in force then. Without a credential nobody is asked, and nothing is wrong."""

    async def ask(backend: Backend, within: float) -> str | None:
        credential = credentials().get(backend.credential)
        if credential is None or credential.expires <= time.time():
            return None
        try:
            with trio.fail_after(2 * within):
                now = snapshot()
                trust = now.trust[backend.ca] if backend.ca else None
                context = await trio.to_thread.run_sync(backend_context, trust, now.shown.get(backend.name))
                client = backend_client(backend, context, within, now.forward_proxies.get(backend.name))
                headers = {credential.header: credential.value}
                async with client as http, http.stream("GET", _PATH, headers=headers) as response:
                    status = response.status_code
        except trio.TooSlowError:
            return f"no answer within {within:g} s"
        except ssl.SSLError as error:
            return f"TLS: {error.reason or type(error).__name__}"
        except Exception as error:  # whatever a library lets out, the gateway lives on
            return f"it cannot be reached ({type(error).__name__})"
        return f"it answered {status}" if status >= 500 else None

    return ask
