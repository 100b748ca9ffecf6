"""What the gateway's audit log says was asked for: by client and hour of the week, with sizes as they were.

The log is read once, line by line; what is kept does not grow with it. A log of less than a week is carried over: an
hour of the week that it does not have is as the same hour of its other days of the same sort, working days or the
weekend, and if there is none, of all days. Hours are of UTC, as the log's times.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.plan.demand import POOL, Asker, Demand, Size
from bench.plan.structs import HOURS_A_WEEK, Client, Plan
from proxy.record.record import Tokens

_CLIENTS = 64
_OTHERS = "others"
_HOUR, _SLOT = 3600, 10  # s
_SEEN = 600.0  # s of an hour of the week that the log has, or the hour counts as one that it has not
_KEPT = 3  # hours, of which slots are still counted: records are written when requests end
_LEAST = 3  # requests of a slot, on average, or it tells nothing of unevenness
_SENT = (429, 503)  # with these, those who were refused had asked for what they were allowed


class _Line(msgspec.Struct):
    time: str = ""
    client: str | None = None
    tenant: str | None = None
    model: str | None = None
    stream: bool = False
    decision: str = ""
    status: int | None = None
    tokens: Tokens | None = None


class _Client:
    """What is kept of one: requests by hour of the week, and sizes, each as likely as any other."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.hours = [0] * HOURS_A_WEEK
        self.sizes: list[Size] = []
        self._seen = 0

    def size(self, size: Size, uniform: random.Random) -> None:
        self._seen += 1
        if len(self.sizes) < POOL:
            self.sizes.append(size)
        elif (at := int(uniform.random() * self._seen)) < POOL:
            self.sizes[at] = size


class _Unevenness:
    """How counts in slots of ten seconds vary within an hour, beyond chance: a sum over hours, by their requests."""

    def __init__(self) -> None:
        self._open: dict[int, dict[int, int]] = {}
        self._sum = self._weight = 0.0

    def count(self, at: float) -> None:
        slots = self._open.setdefault(int(at // _HOUR), {})
        slot = int(at % _HOUR) // _SLOT
        slots[slot] = slots.get(slot, 0) + 1
        if len(self._open) > _KEPT:
            self._close(self._open.pop(min(self._open)))

    def value(self) -> float:
        for slots in self._open.values():
            self._close(slots)
        self._open = {}
        return self._sum / self._weight if self._weight else 0.0

    def _close(self, slots: dict[int, int]) -> None:
        first, last = min(slots), max(slots)
        counts = [slots.get(slot, 0) for slot in range(first + 1, last)]  # the first and the last may be cut
        mean = sum(counts) / len(counts) if counts else 0.0
        if mean >= _LEAST and len(counts) > 1:
            variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
            self._sum += max(0.0, (variance - mean) / mean**2) * sum(counts)
            self._weight += sum(counts)


def recorded(plan: Plan, name: str) -> Demand:
    """From a log. Raises `BenchError` where there is too little in it."""
    path, model = Path(name), plan.workload.model
    clients: dict[str, _Client] = {}
    uneven, uniform = _Unevenness(), random.Random(f"{plan.seed} recorded")
    first, last, others, refused = float("inf"), float("-inf"), 0, 0
    for line, at in _lines(path):
        first, last = min(first, at), max(last, at)
        if line.model != model:
            others += 1
            continue
        if line.decision != "allowed":
            if line.status not in _SENT:
                continue
            refused += 1
        name = line.client or "nobody"
        if name not in clients and len(clients) >= _CLIENTS:
            name = _OTHERS
        client = clients.setdefault(name, _Client(line.tenant or name))
        client.hours[_hour_of_week(at)] += 1
        uneven.count(at)
        used = line.tokens
        if used is not None and used.total:
            client.size(Size(used.prompt, used.completion, used.cached, 0, line.stream), uniform)
    sizes = [size for client in clients.values() for size in client.sizes][:POOL]
    if last - first < _SEEN or not sizes:
        there = f"{others} requests for other models" if others else "none at all"
        raise BenchError(f"{path}: has too little of {model} ({there}); give a log of a day or more that was served")
    seen = _seen(first, last)
    missing = sum(span < _SEEN for span in seen)
    configured = {client.name: client for client in plan.clients}
    askers = tuple(
        _asker(name, client, configured.get(name), seen, tuple(client.sizes or sizes))
        for name, client in sorted(clients.items())
    )
    notes = [*_notes(path, first, last, missing, others)]
    if refused:
        notes.append(f"{refused} requests were refused for want of room: each counts, also one that came again.")
    return Demand(askers, plan.workload.growth, None, uneven.value(), tuple(notes))


def _asker(name: str, client: _Client, configured: Client | None, seen: list[float], sizes: tuple[Size, ...]) -> Asker:
    given = Client(name=name) if configured is None else configured
    tenant = given.tenant or client.tenant
    return Asker(
        name, tenant, _carried_over(client.hours, seen), sizes, given.limits, given.tiers, float(given.timeout)
    )


def _notes(path: Path, first: float, last: float, missing: int, others: int) -> Iterator[str]:
    since, until = (datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes") for at in (first, last))
    yield f"Recorded in {path.name}, from {since} to {until}."
    yield "The log does not say what requests wanted at most: the mean of their client's is what is expected of each."
    if missing:
        yield f"{missing} of the 168 hours of a week are not in the log, and carried over from its other days."
    if others:
        yield f"{others} requests for other models are left out."


def _lines(path: Path) -> Iterator[tuple[_Line, float]]:
    """Each record with its Unix time; what is none is passed over."""
    decode = msgspec.json.Decoder(_Line).decode
    try:
        with path.open("rb") as file:
            for text in file:
                try:
                    line = decode(text)
                    at = datetime.fromisoformat(line.time).timestamp()
                except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
                    continue
                yield line, at
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a readable audit log") from None


def _hour_of_week(at: float) -> int:
    return (int(at // _HOUR) + 3 * 24) % HOURS_A_WEEK  # 1970 began on a Thursday


def _seen(first: float, last: float) -> list[float]:
    """Seconds of each hour of the week that lie between two times."""
    seen = [0.0] * HOURS_A_WEEK
    at = first
    while at < last:
        end = min(last, (at // _HOUR + 1) * _HOUR)
        seen[_hour_of_week(at)] += end - at
        at = end
    return seen


def _carried_over(counts: list[int], seen: list[float]) -> tuple[float, ...]:
    """Requests a second in each hour of the week."""
    there = [hour for hour in range(HOURS_A_WEEK) if seen[hour] >= _SEEN]
    there = there or [max(range(HOURS_A_WEEK), key=lambda hour: seen[hour])]
    rates = {hour: counts[hour] / seen[hour] for hour in there}
    mean = sum(rates.values()) / len(rates)
    found = []
    for hour in range(HOURS_A_WEEK):
        alike = [other for other in there if other % 24 == hour % 24]
        same_sort = [other for other in alike if (other >= 5 * 24) == (hour >= 5 * 24)]
        from_ = [hour] if hour in rates else same_sort or alike
        found.append(sum(rates[other] for other in from_) / len(from_) if from_ else mean)
    return tuple(found)
