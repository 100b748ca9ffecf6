"""What must hold in any run, whatever happens in it. Each law looks at the account, and names what broke it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from bench.simulate.account import Account
from bench.simulate.fleet import DEPLOYMENT
from bench.simulate.scenario import Client, Scenario
from proxy.routing.candidate import Key
from proxy.routing.outcome import Outcome

_SLACK = 1e-6  # s
_PROBES_A_WORKER = 1


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
    """No request is tried more often than configured, nor twice at one deployment."""
    tried: dict[int, list[Key]] = defaultdict(list)
    for attempt in account.attempts:
        tried[attempt.request].append(attempt.key)
    for request, keys in tried.items():
        if len(keys) > scenario.routing.attempts or len(set(keys)) < len(keys):
            yield f"request {request} was tried at {[key[0] for key in keys]}"


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
        if ended.how == "refused" and unused and ended.attempts < scenario.routing.attempts:
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
)
