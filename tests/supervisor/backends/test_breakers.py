"""The breakers of several workers with the supervisor between them: what one finds, all keep to.

The workers' `Breakers` and the supervisor's `SharedBreakers` are the real ones; messages arrive in order and late.
"""

import random
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from proxy.config.structs import Breaker, Seconds
from proxy.messages import BreakerChanged, BreakerTold
from proxy.routing.breaker import GRACE, PROBE_FOR
from proxy.routing.breakers import Breakers, Change
from proxy.routing.outcome import Outcome
from proxy.supervisor.backends.breakers import SharedBreakers
from proxy.supervisor.events.events import Event

KEY = ("swc", "gpt-4o")
SETTINGS = Breaker(failures=2, open_for=Seconds(4), open_at_most=Seconds(16), misconfigured_for=Seconds(5))


class Fleet:
    """Workers that share their breakers. Nothing moves between them until `deliver`."""

    def __init__(self, workers: int) -> None:
        self.now = 1_000.0
        self.events: list[Event] = []
        self.shared = SharedBreakers(workers, self._post, self.events.append)
        self.workers = [Breakers([KEY], SETTINGS, random.Random(n).random) for n in range(workers)]
        self._up: deque[tuple[int, BreakerChanged]] = deque()
        self._down: deque[tuple[int, BreakerTold]] = deque()

    def _post(self, worker: int, told: BreakerTold) -> None:
        self._down.append((worker, told))

    def announce(self, worker: int, change: Change | None) -> None:
        if change is not None:
            seconds = change.until - self.now
            told = BreakerChanged(*KEY, change.state, change.reason, seconds, change.asked)
            self._up.append((worker, told))

    def begin(self, worker: int) -> bool:
        probe = self.workers[worker].begin(KEY)
        if probe:
            self.announce(worker, self.workers[worker].probing(KEY, self.now))
        return probe

    def end(self, worker: int, outcome: Outcome, *, probe: bool, wait: float | None = None) -> None:
        self.announce(worker, self.workers[worker].judge(KEY, outcome, self.now, wait, probe=probe))

    def attempt(self, worker: int, outcome: Outcome, wait: float | None = None) -> None:
        self.end(worker, outcome, probe=self.begin(worker), wait=wait)

    def step(self) -> bool:
        """Deliver one message; false if there is none."""
        if self._up:
            worker, changed = self._up.popleft()
            self.shared.changed(worker, changed, self.now)
        elif self._down:
            worker, told = self._down.popleft()
            self._tell(worker, told)
        return bool(self._up or self._down)

    def _tell(self, worker: int, told: BreakerTold) -> None:
        until = self.now + told.seconds
        self.announce(worker, self.workers[worker].told(KEY, told.state, told.reason, until, self.now))

    def deliver(self) -> None:
        for _ in range(10_000):
            if not self.step():
                return
        raise AssertionError("they never stop telling each other")

    def restart(self, worker: int) -> None:
        self._up = deque(entry for entry in self._up if entry[0] != worker)
        self._down = deque(entry for entry in self._down if entry[0] != worker)
        self.workers[worker] = Breakers([KEY], SETTINGS, random.Random(worker).random)
        for told in self.shared.greeting(self.now):
            self._tell(worker, told)

    def usable(self) -> list[int]:
        return [n for n, breakers in enumerate(self.workers) if breakers.unavailable(KEY, self.now) is None]

    @property
    def states(self) -> set[str]:
        return {breakers.view(self.now)[0].state for breakers in self.workers}


def opened(workers: int = 4) -> Fleet:
    """Worker 0 has found it broken, and everybody knows."""
    fleet = Fleet(workers)
    for _ in range(2):
        fleet.attempt(0, Outcome.CONNECT_FAILED)
    fleet.deliver()
    return fleet


def test_what_one_finds_broken_all_leave_alone() -> None:
    fleet = opened()
    assert fleet.usable() == []
    assert fleet.states == {"open"}
    assert [event.kind for event in fleet.events] == ["breaker_opened"]


def test_who_opened_it_probes_first_and_the_others_take_its_word_at_once() -> None:
    fleet = opened()
    fleet.now += 4
    assert fleet.usable() == [0]
    assert fleet.begin(0)
    fleet.deliver()
    fleet.now += 3 * GRACE
    assert fleet.usable() == []
    fleet.end(0, Outcome.OK, probe=True)
    fleet.deliver()
    assert fleet.usable() == [0, 1, 2, 3]
    assert [event.kind for event in fleet.events] == ["breaker_opened", "breaker_closed"]
    assert {seen.state for seen in fleet.shared.by_key[KEY].values()} == {"closed"}


def test_an_opener_that_has_no_requests_holds_up_nobody() -> None:
    fleet = opened()
    fleet.now += 4 + 2 * GRACE
    assert fleet.usable() == [0, 1, 2, 3]
    assert fleet.begin(2)
    fleet.deliver()
    assert fleet.usable() == []


def test_a_probe_that_fails_is_not_repeated_by_every_worker() -> None:
    fleet = opened()
    probes = 0
    for _ in range(600):
        fleet.now += 0.1
        for worker in fleet.usable():
            probes += fleet.begin(worker)
            fleet.deliver()
            fleet.end(worker, Outcome.CONNECT_FAILED, probe=True)
            fleet.deliver()
    assert probes <= 7  # after 4, 8, 16, 16 … seconds, less a fifth


def test_a_prober_that_dies_holds_up_the_others_for_a_bounded_time() -> None:
    fleet = opened()
    fleet.now += 4
    assert fleet.begin(0)
    fleet.deliver()
    fleet.restart(0)
    fleet.now += PROBE_FOR + 2 * GRACE
    assert fleet.usable()


def test_a_new_worker_knows_what_the_others_know() -> None:
    fleet = opened()
    fleet.restart(3)
    assert fleet.usable() == []
    fleet.attempt(1, Outcome.OK)
    fleet.deliver()
    fleet.restart(3)
    assert 3 in fleet.usable()


def test_a_429_is_everybodys_and_no_event() -> None:
    fleet = Fleet(2)
    fleet.attempt(0, Outcome.THROTTLED, 5.0)
    fleet.deliver()
    assert fleet.usable() == []
    fleet.now += 5
    assert fleet.usable() == [0, 1]
    assert fleet.events == []


def test_a_429_of_a_day_is_announced_once_and_so_is_its_end() -> None:
    fleet = Fleet(2)
    fleet.attempt(0, Outcome.THROTTLED, 86_400.0)
    fleet.deliver()
    for _ in range(3):
        fleet.now += 60 + 2 * GRACE
        fleet.attempt(fleet.usable()[0], Outcome.THROTTLED, 80_000.0)
        fleet.deliver()
    assert [(event.kind, event.facts["seconds"]) for event in fleet.events] == [("throttled_long", 86_400.0)]
    assert fleet.usable() == []
    fleet.now += 60 + 2 * GRACE
    fleet.attempt(fleet.usable()[0], Outcome.OK)
    fleet.deliver()
    assert [event.kind for event in fleet.events] == ["throttled_long", "throttled_long_over"]
    assert fleet.usable() == [0, 1]


def test_two_that_open_it_at_once_agree_when_one_has_closed_it() -> None:
    fleet = Fleet(2)
    for worker in (0, 1):
        for _ in range(2):
            fleet.attempt(worker, Outcome.CONNECT_FAILED)
    fleet.deliver()
    fleet.now += 4
    assert fleet.usable() == [0, 1]
    fleet.attempt(1, Outcome.OK)
    fleet.deliver()
    assert fleet.usable() == [0, 1]
    assert {seen.state for seen in fleet.shared.by_key[KEY].values()} == {"closed"}


def test_what_is_not_configured_any_more_is_forgotten() -> None:
    fleet = opened()
    fleet.shared.reconfigure(set())
    assert fleet.shared.greeting(fleet.now) == []
    assert fleet.shared.by_key == {}


class Sharing(RuleBasedStateMachine):
    """Requests, verdicts, late messages and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(3)
        self.under_way: list[tuple[int, bool]] = []
        self.began: dict[int, float] = {}  # by worker, its last probe

    @rule(worker=st.integers(0, 2))
    def ask(self, worker: int) -> None:
        if worker in self.fleet.usable():
            probe = self.fleet.begin(worker)
            if probe:
                lone = not any(entry == (worker, True) for entry in self.under_way)
                assert lone or self.fleet.now >= self.began[worker] + PROBE_FOR, "one at a time, unless it has no end"
                self.began[worker] = self.fleet.now
            self.under_way.append((worker, probe))

    @rule(which=st.integers(0, 50), outcome=st.sampled_from(Outcome), wait=st.none() | st.floats(0, 1e5))
    def end(self, which: int, outcome: Outcome, wait: float | None) -> None:
        if self.under_way:
            worker, probe = self.under_way.pop(which % len(self.under_way))
            self.fleet.end(worker, outcome, probe=probe, wait=wait)

    @rule(messages=st.integers(1, 9))
    def deliver(self, messages: int) -> None:
        for _ in range(messages):
            self.fleet.step()

    @rule(seconds=st.sampled_from([0.01, 1.0, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.fleet.now += seconds

    @rule(worker=st.integers(0, 2))
    def restart(self, worker: int) -> None:
        self.under_way = [entry for entry in self.under_way if entry[0] != worker]
        self.fleet.restart(worker)

    @rule(state=st.sampled_from(["open", "half_open", "closed"]), seconds=st.sampled_from([0.0, 20.0]))
    def somebody_else_says(self, state: str, seconds: float) -> None:
        self.fleet.shared.tell(BreakerTold(*KEY, state, "operator", seconds), self.fleet.now)

    def teardown(self) -> None:
        """A deployment that is healthy from now on is used by all, after a bounded time and few probes."""
        fleet = self.fleet
        for worker, probe in self.under_way:
            fleet.end(worker, Outcome.CANCELLED, probe=probe)
        fleet.deliver()
        probes = 0
        for _ in range(800):
            fleet.now += 1
            for worker in fleet.usable():
                probe = fleet.begin(worker)
                probes += probe
                fleet.deliver()
                fleet.end(worker, Outcome.OK, probe=probe)
                fleet.deliver()
        assert fleet.usable() == [0, 1, 2]
        assert fleet.states == {"closed"}
        assert probes <= 3
        assert all(
            seen.state == "closed" or seen.until <= fleet.now for seen in fleet.shared.by_key.get(KEY, {}).values()
        )


Sharing.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSharing = Sharing.TestCase
