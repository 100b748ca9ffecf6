"""How the deployments do, added up over the workers: what people see of it, and what each worker has to know.

Workers report what is new (`seen`), and are told what the others have in flight and have sent within the last minute,
with what people have set (`told`): only where that has changed. Times are monotonic. Pure.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from proxy.messages import DeploymentsSeen, DeploymentsTold
from proxy.record.metrics import FIRST_BYTE_BUCKETS
from proxy.routing.candidate import Key
from proxy.routing.shared import DeploymentSeen, DeploymentTold
from proxy.supervisor.backends.overrides import Overrides
from proxy.supervisor.backends.sliding import Counts, Lately, Minute, Percentiles

_RATE_WITHIN = 10.0
_REPORTED_FOR = 60.0  # what a backend has reported of its minute says nothing after one
_TOLD_FOR = 1.5  # workers are told each second, and take what they are told for news
_ERRORS = 5
_ERROR_LENGTH = 200


class LastError(msgspec.Struct, frozen=True):
    """What went wrong, how often in a row, and when last, monotonic."""

    text: str
    count: int
    time: float


class Figures(msgspec.Struct, frozen=True):
    """A deployment over all workers.

    `requests_per_second` is of the last ten seconds; `tokens`, `error_share` and `throttled_share` are of the last
    minute, the shares of the requests then, None where there were none. `first_byte` is of the last five minutes.
    What a backend reports is as it was reported last, None if that is over a minute ago. `errors`: the newest first.
    """

    in_flight: int = 0
    requests_per_second: float = 0.0
    tokens: int = 0
    error_share: float | None = None
    throttled_share: float | None = None
    remaining_tokens: int | None = None
    remaining_requests: int | None = None
    utilisation: float | None = None
    first_byte: Percentiles | None = None
    errors: tuple[LastError, ...] = ()


class _Reported:
    """A figure of the backend's own, which is of no use once it is old."""

    def __init__(self) -> None:
        self._value: float | None = None
        self._time = 0.0
        self._worker = -1

    def take(self, value: float | None, worker: int, now: float) -> None:
        if value is not None:
            self._value, self._time, self._worker = value, now, worker

    def news(self, worker: int, now: float) -> float | None:
        """What was reported just now, to another worker than this one."""
        return self._value if self._worker != worker and now - self._time < _TOLD_FOR else None

    def at(self, now: float) -> float | None:
        return self._value if now - self._time < _REPORTED_FOR else None

    def whole(self, now: float) -> int | None:
        value = self.at(now)
        return None if value is None else int(value)


class _AtWorker:
    """What one worker has under way at a deployment, and has sent there."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.sent = Minute()


class _Deployment:
    """What is kept of one: what each worker does there, and all of them together, those that are gone included."""

    def __init__(self) -> None:
        self.workers: dict[int, _AtWorker] = {}
        self.in_flight = 0
        self.sent = Minute()
        self.remaining_tokens = _Reported()
        self.remaining_requests = _Reported()
        self.utilisation = _Reported()
        self.first_byte = Lately(FIRST_BYTE_BUCKETS)
        self.errors: deque[LastError] = deque(maxlen=_ERRORS)

    def seen(self, worker: int, told: DeploymentSeen, now: float) -> None:
        at = self.workers.setdefault(worker, _AtWorker())
        self.in_flight += told.in_flight - at.in_flight
        at.in_flight = told.in_flight
        counts = Counts(told.requests, told.tokens, told.failed, told.throttled)
        at.sent.add(counts, now)
        self.sent.add(counts, now)
        self.remaining_tokens.take(told.remaining_tokens, worker, now)
        self.remaining_requests.take(told.remaining_requests, worker, now)
        self.utilisation.take(told.utilisation, worker, now)
        self.first_byte.add(told.ttfb, now)
        if told.last_error:
            self._note(_clean(told.last_error), max(1, told.failed + told.throttled), now)

    def _note(self, text: str, count: int, now: float) -> None:
        """The same as before is one that happened more often."""
        if self.errors and self.errors[0].text == text:
            count += self.errors.popleft().count
        self.errors.appendleft(LastError(text, count, now))

    def worker_gone(self, worker: int) -> None:
        gone = self.workers.pop(worker, None)
        if gone is not None:
            self.in_flight -= gone.in_flight

    def told(self, key: Key, worker: int, overrides: Overrides, now: float) -> DeploymentTold:
        own = self.workers.get(worker)
        tokens = self.sent.total(now).tokens
        return DeploymentTold(
            *key,
            in_flight=self.in_flight - (0 if own is None else own.in_flight),
            tokens=max(0, tokens if own is None else tokens - own.sent.total(now).tokens),
            drained=key in overrides.drained,
            weight=overrides.weight(key, now),
            utilisation=self.utilisation.news(worker, now),
        )


class Deployments:
    """All that are configured; reports of others are of an earlier configuration, and passed over."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._deployments: dict[Key, _Deployment] = {}
        self._told: dict[int, dict[Key, DeploymentTold]] = {}
        self.reconfigure(keys)

    def reconfigure(self, keys: Iterable[Key]) -> None:
        """A new configuration; what is known of those that remain stays."""
        self._deployments = {key: self._deployments.get(key) or _Deployment() for key in keys}
        for told in self._told.values():
            for key in [key for key in told if key not in self._deployments]:
                del told[key]

    def seen(self, worker: int, message: DeploymentsSeen, now: float) -> None:
        for told in message.deployments:
            deployment = self._deployments.get((told.backend, told.deployment))
            if deployment is not None:
                deployment.seen(worker, told, now)

    def worker_gone(self, worker: int) -> None:
        """What it had under way is no more; what it has sent counts on. The next one in its place knows nothing."""
        self._told.pop(worker, None)
        for deployment in self._deployments.values():
            deployment.worker_gone(worker)

    def told(self, worker: int, overrides: Overrides, now: float) -> DeploymentsTold | None:
        """What has changed since this worker was told last; None if nothing has."""
        before = self._told.setdefault(worker, {})
        changed = []
        for key, deployment in self._deployments.items():
            told = deployment.told(key, worker, overrides, now)
            if told.utilisation is not None or told != before.get(key, DeploymentTold(*key)):
                before[key] = told
                changed.append(told)
        return DeploymentsTold(tuple(changed)) if changed else None

    def anew(self, worker: int, overrides: Overrides, now: float) -> DeploymentsTold | None:
        """The same for a worker that has been told nothing yet."""
        self._told.pop(worker, None)
        return self.told(worker, overrides, now)

    def figures(self, key: Key, now: float) -> Figures:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Figures()
        minute = deployment.sent.total(now)
        return Figures(
            in_flight=deployment.in_flight,
            requests_per_second=deployment.sent.lately(now, _RATE_WITHIN).requests / _RATE_WITHIN,
            tokens=max(0, minute.tokens),
            error_share=minute.failed / minute.requests if minute.requests else None,
            throttled_share=minute.throttled / minute.requests if minute.requests else None,
            remaining_tokens=deployment.remaining_tokens.whole(now),
            remaining_requests=deployment.remaining_requests.whole(now),
            utilisation=deployment.utilisation.at(now),
            first_byte=deployment.first_byte.percentiles(now),
            errors=tuple(deployment.errors),
        )


def _clean(text: str) -> str:
    """One short line of printable characters, whatever a backend has said."""
    return "".join(c if c.isprintable() else " " for c in text[:_ERROR_LENGTH])
