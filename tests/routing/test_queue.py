"""Who is next: priority, turns between clients, room, and the few that are let through at first."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.routing.candidate import Key
from proxy.routing.queue import BATCH, INTERACTIVE, Gates, Queue, QueueFull, Ticket

A, B = ("swc", "gpt-4o"), ("frc", "gpt-4o")


def ticket(client: str = "c", priority: int = INTERACTIVE, keys: tuple[Key, ...] = (A, B)) -> Ticket:
    return Ticket(client, priority, keys)


def filled(*tickets: Ticket, size: int = 100) -> Queue:
    queue = Queue(size)
    for each in tickets:
        assert queue.join(each) is None
    return queue


def order(queue: Queue, usable: tuple[Key, ...] = (A, B)) -> list[str]:
    found = []
    while (entry := queue.next(usable)) is not None:
        found.append(entry[0].client)
    return found


def test_interactive_before_batch_and_clients_in_turns() -> None:
    queue = filled(
        ticket("batch", BATCH), *(ticket("greedy") for _ in range(3)), ticket("modest"), ticket("late", INTERACTIVE)
    )
    assert order(queue) == ["greedy", "modest", "late", "greedy", "greedy", "batch"]


def test_who_waits_for_something_else_is_passed_over_and_keeps_its_place() -> None:
    queue = filled(ticket("first", keys=(B,)), ticket("second"), ticket("third", keys=(B,)))
    assert order(queue, (A,)) == ["second"]
    assert order(queue, (B,)) == ["first", "third"]
    assert not queue.wanted


def test_the_best_of_what_is_usable_is_taken() -> None:
    queue = filled(ticket(keys=(A, B)))
    assert queue.next({B, A}) is not None
    queue = filled(ticket(keys=(A, B)))
    found = queue.next({B})
    assert found is not None
    assert found[1] == B


def test_leaving_twice_is_leaving() -> None:
    left = ticket()
    queue = filled(left, ticket("other"))
    queue.leave(left)
    queue.leave(left)
    assert (len(queue), order(queue)) == (1, ["other"])


@pytest.mark.parametrize(
    ("waiting", "newcomer", "displaced"),
    [
        ([("a", BATCH), ("a", INTERACTIVE)], ("b", INTERACTIVE), 0),
        ([("a", BATCH), ("b", BATCH)], ("b", INTERACTIVE), 0),
        ([("a", INTERACTIVE)] * 3, ("b", INTERACTIVE), 2),
        ([("a", INTERACTIVE)] * 3, ("a", INTERACTIVE), None),
        ([("a", INTERACTIVE), ("b", INTERACTIVE)], ("c", INTERACTIVE), None),
        ([("a", INTERACTIVE)] * 3, ("b", BATCH), None),
        ([], ("a", INTERACTIVE), None),
    ],
)
def test_who_gives_way_when_it_is_full(
    waiting: list[tuple[str, int]], newcomer: tuple[str, int], displaced: int | None
) -> None:
    tickets = [ticket(*each) for each in waiting]
    queue = filled(*tickets, size=len(tickets) or 1)
    queue.size = len(tickets)
    if displaced is None:
        with pytest.raises(QueueFull):
            queue.join(ticket(*newcomer))
    else:
        assert queue.join(ticket(*newcomer)) is tickets[displaced]
        assert not tickets[displaced].waits
    assert len(queue) == len(tickets)


def test_one_is_let_through_and_then_twice_as_many_for_each_that_is_answered() -> None:
    gates = Gates()
    for window in (1, 2, 4, 8):
        for _ in range(window):
            assert gates.open(A)
            gates.passed(A)
        assert not gates.open(A)
        gates.over(A, True)
        for _ in range(window - 1):
            gates.over(A, None)
    gates.passed(A)
    gates.over(A, False)
    gates.passed(A)
    assert not gates.open(A)
    assert gates.open(B)


class Waiting(RuleBasedStateMachine):
    """Whoever joins is released, displaced or leaves: once, in the order that is promised."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(6)
        self.inside: list[Ticket] = []

    @rule(
        client=st.sampled_from("abc"),
        priority=st.sampled_from([INTERACTIVE, BATCH]),
        keys=st.sampled_from([(A,), (B,), (A, B)]),
    )
    def join(self, client: str, priority: int, keys: tuple[Key, ...]) -> None:
        made = ticket(client, priority, keys)
        try:
            displaced = self.queue.join(made)
        except QueueFull:
            assert len(self.inside) == 6
            return
        if displaced is not None:
            assert displaced.priority >= priority
            self.inside.remove(displaced)
        self.inside.append(made)

    @rule(which=st.integers(0, 5))
    def leave(self, which: int) -> None:
        if self.inside:
            self.queue.leave(self.inside.pop(which % len(self.inside)))

    @rule(usable=st.sets(st.sampled_from([A, B])))
    def release(self, usable: set[Key]) -> None:
        found = self.queue.next(usable)
        could = [each for each in self.inside if usable & set(each.keys)]
        if found is None:
            assert not could
            return
        released, key = found
        assert key in usable
        assert released.priority == min(each.priority for each in could)
        assert next(e for e in could if (e.client, e.priority) == (released.client, released.priority)) is released
        self.inside.remove(released)

    @rule()
    def clients_take_turns(self) -> None:
        """Of those who wait for everything, none is released twice before each of its priority was once."""
        waiting = Counter(e.client for e in self.inside if e.priority == INTERACTIVE and e.keys == (A, B))
        if len(waiting) < 2 or any(e.keys != (A, B) for e in self.inside if e.priority == INTERACTIVE):
            return
        served = []
        for _ in waiting:
            found = self.queue.next({A, B})
            assert found is not None
            served.append(found[0].client)
            self.inside.remove(found[0])
        assert sorted(served) == sorted(waiting)

    @invariant()
    def it_knows_who_waits_for_what(self) -> None:
        assert len(self.queue) == len(self.inside)
        assert set(self.queue.wanted) == {key for each in self.inside for key in each.keys}
        assert {id(each) for each in self.queue} == {id(each) for each in self.inside}


Waiting.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWaiting = Waiting.TestCase
