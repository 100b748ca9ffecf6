"""What must hold in any run, whatever happens in it. Each law looks at the account, and names what broke it. Pure."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from bench.simulate.account import Account, Attempt, Wait
from bench.simulate.fleet import DEPLOYMENT
from bench.simulate.scenario import Client, Scenario
from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome

_SLACK = 1e-6  # s
_AMPLE = 100  # retries in that time, which no scenario needs
_BUDGETED = 10.0  # s, over which retries have a budget


def broken(scenario: Scenario, account: Account) -> list[str]:
    """Every law that was broken, in a sentence each; none, if all is well."""
    return [f"{law.__name__.strip('_')}: {what}" for law in _LAWS for what in law(scenario, account)]


def _residency(scenario: Scenario, account: Account) -> Iterator[str]:
    """A request never goes where its client may not."""
    regions = {client.name: client.regions for client in scenario.clients}
    clients = {ended.request: ended.client for ended in account.ended}
    for attempt in account.attempts:
        allowed = regions[clients[attempt.request]]
        if allowed and attempt.region not in allowed:
            yield f"request {attempt.request} of a client bound to {allowed} went to {attempt.region}"


def _every_request_ends_once(scenario: Scenario, account: Account) -> Iterator[str]:
    """And nothing is left that routers count as under way."""
    counts = Counter(ended.request for ended in account.ended)
    for request, count in counts.items():
        if count != 1:
            yield f"request {request} ended {count} times"
    if len(counts) != account.asked:
        yield f"{account.asked - len(counts)} requests never ended"
    for (worker, key), count in account.in_flight.items():
        yield f"worker {worker} counts {count} under way at {key[0]} when nothing is"


def _attempts_are_bounded(scenario: Scenario, account: Account) -> Iterator[str]:
    """No request is tried more often than configured, nor twice at one deployment, unless that throttled it and was
    waited for.
    """
    tried: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in account.attempts:
        tried[attempt.request].append(attempt)
    for request, attempts in tried.items():
        done = [one.key for one in attempts if one.outcome is not Outcome.THROTTLED]
        if len(attempts) > scenario.routing.attempts or len(set(done)) < len(done):
            yield f"request {request} was tried at {[one.key[0] for one in attempts]}"


def _throttled_is_left_alone(scenario: Scenario, account: Account) -> Iterator[str]:
    """Who answers 429 is not asked again by that worker before the time it said, or the most that is believed."""
    until: dict[tuple[int, int, Key], float] = {}
    at_most = float(scenario.routing.breaker.retry_after_at_most)
    events: list[tuple[float, int, int]] = []
    for number, attempt in enumerate(account.attempts):
        events.append((attempt.began, 1, number))
        if attempt.outcome is Outcome.THROTTLED and attempt.over is not None:
            events.append((attempt.over, 0, number))
    for at, begins, number in sorted(events):
        attempt = account.attempts[number]
        place = attempt.worker, attempt.life, attempt.key
        if not begins:
            wait = 1.0 if attempt.left is None else attempt.left
            until[place] = max(until.get(place, 0.0), at + min(wait, at_most))
        elif at < until.get(place, 0.0) - _SLACK:
            yield f"{attempt.key[0]} was asked at {at:.3f} s though it is throttled until {until[place]:.3f} s"


def _healthy_is_used(scenario: Scenario, account: Account) -> Iterator[str]:
    """No request is refused, or given up for lack of somebody to ask, while there is a deployment for it that nothing
    is wrong with all the time, and it has not been asked.
    """
    always_well = {(one.name, DEPLOYMENT) for one in scenario.backends if _always_well(scenario, one.name)}
    for ended in account.ended:
        unused = always_well.intersection(ended.untried)
        budgeted = (
            ended.attempts and scenario.routing.retries.at_least < _AMPLE
        )  # one that was tried may be out of budget
        if ended.how == "refused" and unused and not budgeted and ended.attempts < scenario.routing.attempts:
            yield f"request {ended.request} was refused at {ended.began:.3f} s ({ended.reason}) beside {sorted(unused)}"


def _always_well(scenario: Scenario, name: str) -> bool:
    (one,) = (one for one in scenario.backends if one.name == name)
    return not one.troubles and not one.capacity and not one.tokens_per_minute


def _everybody_comes_back(scenario: Scenario, account: Account) -> Iterator[str]:
    """When trouble is over, everybody who is of the first priority for somebody is used again, and no breaker that
    traffic passes by is anything but closed.
    """
    calm = scenario.duration - scenario.calm
    used = Counter(attempt.key for attempt in account.attempts if attempt.began >= calm)
    expected = {(name, DEPLOYMENT) for client in scenario.clients for name in _first_of(scenario, client)}
    for key in sorted(expected):
        if not used[key]:
            yield f"{key[0]} was not asked in the last {scenario.calm:g} s"
    for stuck in account.stuck:
        if stuck.key in expected and _meets_traffic(scenario, account, stuck.worker, calm):
            yield f"{stuck.key[0]} is {stuck.state} ({stuck.reason}) at worker {stuck.worker} in the end"


def _first_of(scenario: Scenario, client: Client) -> list[str]:
    eligible = [one for one in scenario.backends if not client.regions or one.region in client.regions]
    first = min((one.priority for one in eligible), default=0)
    return [one.name for one in eligible if one.priority == first]


def _meets_traffic(scenario: Scenario, account: Account, worker: int, calm: float) -> bool:
    """Enough, for the worker to have found out for itself or be told."""
    return sum(1 for ended in account.ended if ended.worker == worker and ended.began >= calm) >= 20


def _all_is_well_in_the_end(scenario: Scenario, account: Account) -> Iterator[str]:
    """In the calm after it all, nobody is refused and nothing fails."""
    calm = scenario.duration - scenario.calm
    limited = any(one.capacity or one.tokens_per_minute for one in scenario.backends)
    for ended in account.ended:
        if ended.began >= calm and ended.how not in ("answered", "left") and not limited:
            yield f"request {ended.request} at {ended.began:.3f} s: {ended.how} ({ended.reason})"


def _refusals_are_honest(scenario: Scenario, account: Account) -> Iterator[str]:
    """Where waiting helps the client is told how long, and never longer than anything can be set aside."""
    at_most = max(float(scenario.routing.breaker.retry_after_at_most), float(scenario.routing.breaker.open_at_most))
    for ended in account.ended:
        if ended.how != "refused":
            continue
        if ended.reason == "backends_throttled" and ended.told is None:
            yield f"request {ended.request} was throttled without a time"
        if ended.told is not None and not 0 < ended.told <= at_most + 15.0:
            yield f"request {ended.request} was told to wait {ended.told:.3f} s"


def _probes_are_few(scenario: Scenario, account: Account) -> Iterator[str]:
    """A deployment that is set aside meets one probe of a worker at a time."""
    under_way: dict[tuple[int, int, Key], float] = {}
    for attempt in account.attempts:
        if attempt.probe and attempt.over is not None and attempt.outcome is not Outcome.OK:
            place = attempt.worker, attempt.life, attempt.key
            if attempt.began < under_way.get(place, 0.0) - _SLACK:
                yield f"worker {attempt.worker} probed {attempt.key[0]} at {attempt.began:.3f} s while it did already"
            under_way[place] = attempt.over if attempt.outcome is not Outcome.BROKEN_MID_ANSWER else attempt.began


def _retries_are_budgeted(scenario: Scenario, account: Account) -> Iterator[str]:
    """In any ten seconds, attempts beyond the first are within a share of a worker's requests, or few."""
    budget = scenario.routing.retries
    further: dict[tuple[int, int], list[float]] = defaultdict(list)
    requests: dict[tuple[int, int], list[float]] = defaultdict(list)
    for attempt in account.attempts:
        if attempt.further:
            further[attempt.worker, attempt.life].append(attempt.began)
    for ended in account.ended:
        requests[ended.worker, ended.life].append(ended.began)
    for worker, times in further.items():
        begun = sorted(requests[worker])
        for number, at in enumerate(times):
            since = at - _BUDGETED
            spent = number + 1 - bisect_right(times, since)
            earned = bisect_right(begun, at) - bisect_right(begun, since)
            if spent > max(budget.at_least, budget.ratio * earned):
                yield f"worker {worker[0]} made {spent} further attempts for {earned} requests by {at:.3f} s"


def _waits_are_bounded(scenario: Scenario, account: Account) -> Iterator[str]:
    """No request waits longer in all than configured, nor past its client's deadline."""
    timeouts = {client.name: client.timeout for client in scenario.clients}
    began = {ended.request: ended.began for ended in account.ended}
    waited: defaultdict[int, float] = defaultdict(float)
    for wait in account.waits:
        if wait.over is None:
            continue
        waited[wait.request] += wait.over - wait.since
        if waited[wait.request] > scenario.routing.queue.wait + _SLACK:
            yield f"request {wait.request} waited {waited[wait.request]:.3f} s"
        if wait.over > began[wait.request] + timeouts[wait.client] + _SLACK:
            yield f"request {wait.request} waited past its deadline"


def _turns_are_fair(scenario: Scenario, account: Account) -> Iterator[str]:
    """Of those who wait for a deployment, the better priority goes first, and within one nobody has two turns while
    another client has none.
    """
    waits: dict[tuple[int, int], list[Wait]] = defaultdict(list)
    for wait in account.waits:
        if wait.over is not None:
            waits[wait.worker, wait.life].append(wait)
    for mine in waits.values():
        last: dict[tuple[str, int], Wait] = {}
        for turn in sorted((wait for wait in mine if wait.released), key=lambda wait: wait.turn):
            at = turn.over or 0.0
            before = last.get((turn.client, turn.priority))
            for other in mine:
                if turn.released not in other.keys or not other.since < at < (other.over or 0.0):
                    continue
                if other.priority < turn.priority:
                    yield f"request {other.request} waited at {at:.3f} s while one of a worse priority went on"
                elif before is not None and _is_passed_over(other, turn, before, last):
                    yield f"{other.client} had no turn from {before.over:.3f} to {at:.3f} s, {turn.client} two"
            last[turn.client, turn.priority] = turn


def _is_passed_over(other: Wait, turn: Wait, before: Wait, last: dict[tuple[str, int], Wait]) -> bool:
    """Whether one waits since before the last turn of a client that has a turn again, and had none itself."""
    if other.priority != turn.priority or other.client == turn.client or other.since >= (before.over or 0.0):
        return False
    own = last.get((other.client, other.priority))
    return own is None or own.turn < before.turn


_LAWS: tuple[Callable[[Scenario, Account], Iterator[str]], ...] = (
    _residency,
    _every_request_ends_once,
    _attempts_are_bounded,
    _throttled_is_left_alone,
    _healthy_is_used,
    _everybody_comes_back,
    _all_is_well_in_the_end,
    _refusals_are_honest,
    _probes_are_few,
    _retries_are_budgeted,
    _waits_are_bounded,
    _turns_are_fair,
)
