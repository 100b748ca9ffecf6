"""The owner of budgets: what it grants, recalls and refuses, told as asks and answers."""

import pytest

from proxy.config.structs import Limits
from proxy.messages import Downward, Upward, decode_downward, decode_upward, encode
from proxy.policy.budget import HOLD, Ask, Budgets, Denied, Granted, Outgoing, Recall, Return, Usage
from proxy.policy.window import ends, forgotten, lease_slot

NOW = 1_000.0
SLOT = lease_slot(NOW)
A, B, C = 0, 1, 2


def owner(*, workers: int = 2, **limits: int) -> Budgets:
    return Budgets({"c": Limits(**limits)}, workers)  # type: ignore[arg-type]


def ask(
    requests: int = 0, tokens: int = 0, slots: int = 0, *, serial: int = 1, debt: int = 0, ahead: bool = False
) -> Ask:
    return Ask("c", serial, requests, tokens, slots, tokens, debt, ahead)


def back(
    requests: dict[int, int] | None = None,
    tokens: dict[int, int] | None = None,
    *,
    slots: int = 0,
    debt: int = 0,
    serial: int = 0,
) -> Return:
    return Return("c", serial, requests or {}, tokens or {}, debt, slots)


def granted(out: Outgoing) -> Granted:
    """The one answer in what the owner says, to whomever."""
    [answer] = [message for _, message in out if isinstance(message, Granted)]
    return answer


def recalls(out: Outgoing) -> dict[int, Recall]:
    return {worker: message for worker, message in out if isinstance(message, Recall)}


def shares(answer: Granted) -> tuple[int, int, int]:
    return answer.requests, answer.tokens, answer.slots


def test_the_first_ask_gets_what_it_asks_for_until_its_slot_ends() -> None:
    budgets = owner(requests_per_minute=100, tokens_per_minute=1000, concurrent_requests=10)
    [(worker, answer)] = budgets.ask(A, ask(1, 40, 1, serial=7), NOW)
    assert worker == A
    assert answer == Granted("c", 7, SLOT, 1, 40, 1, requests_left=99, tokens_left=960)
    assert budgets.usage("c", NOW) == Usage(1, 100, 40, 1000, 1, 10)


def test_a_busy_worker_gets_more_each_time_but_never_more_than_its_half_of_what_is_free() -> None:
    budgets = owner(requests_per_minute=1000)
    chunks = [granted(budgets.ask(A, ask(1), NOW + n * 0.01)).requests for n in range(6)]
    assert chunks[:4] == [1, 4, 16, 64]
    assert all(chunk <= 1000 // 4 for chunk in chunks)
    assert granted(budgets.ask(B, ask(1), NOW + 0.1)).requests == 1


def test_a_worker_that_slows_down_gets_less() -> None:
    budgets = owner(requests_per_minute=100_000)
    for n in range(4):
        before = granted(budgets.ask(A, ask(1), NOW + n * 0.01)).requests
    assert granted(budgets.ask(A, ask(1), NOW + 0.03 + 0.5)).requests == before // 2
    assert granted(budgets.ask(A, ask(1), NOW + 10)).requests == 1


def test_a_request_gets_what_it_needs_even_if_that_is_all_there_is() -> None:
    budgets = owner(workers=8, tokens_per_minute=1000)
    assert granted(budgets.ask(A, ask(tokens=1000), NOW)).tokens == 1000


def test_what_nobody_holds_is_refused_at_once_with_the_moment_it_is_free() -> None:
    budgets = owner(requests_per_minute=2)
    budgets.ask(A, ask(2), NOW)
    budgets.give_back(A, back(), NOW)
    late = NOW + 2  # the lease has ended long ago, and what is unspent of it would be back
    out = budgets.ask(B, ask(1), late)
    assert recalls(out) == {}
    answer = granted(out)
    assert shares(answer) == (0, 0, 0)
    assert answer.denied == Denied(forgotten(SLOT), (), slots=False)
    assert granted(budgets.ask(B, ask(1), forgotten(SLOT))).requests >= 1


def test_before_it_refuses_it_recalls_what_others_hold_and_grants_that() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(10), NOW)
    out = budgets.ask(B, ask(1), NOW + 0.1)
    recall = recalls(out)[A]
    assert recall == Recall("c", recall.serial, requests=True, tokens=False, slots=False)
    assert len(out) == 1
    [(worker, answer)] = budgets.give_back(A, back({SLOT: 4}, serial=recall.serial), NOW + 0.102)
    assert (worker, shares(answer)) == (B, (1, 0, 0))  # type: ignore[arg-type]
    assert budgets.usage("c", NOW + 0.102).requests == 7
    assert budgets.next_deadline(NOW) is None


def test_nothing_to_give_back_is_an_answer_too() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(10), NOW)
    recall = recalls(budgets.ask(B, ask(1), NOW + 0.1))[A]
    answer = granted(budgets.give_back(A, back(serial=recall.serial), NOW + 0.101))
    assert answer.denied is not None
    assert answer.denied.requests_at == forgotten(SLOT)


def test_all_holders_are_waited_for_unless_the_first_brings_enough() -> None:
    budgets = owner(workers=3, requests_per_minute=10)
    budgets.ask(A, ask(5), NOW)
    budgets.ask(B, ask(5), NOW)
    asked = recalls(budgets.ask(C, ask(1), NOW + 0.1))
    assert set(asked) == {A, B}
    assert budgets.give_back(A, back(serial=asked[A].serial), NOW + 0.101) == []
    assert granted(budgets.give_back(B, back({SLOT: 1}, serial=asked[B].serial), NOW + 0.102)).requests == 1


def test_who_does_not_answer_is_waited_for_no_longer_than_the_hold() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(10), NOW)
    budgets.ask(B, ask(1), NOW + 0.1)
    assert budgets.next_deadline(NOW + 0.1) == NOW + 0.1 + HOLD
    assert budgets.tick(NOW + 0.1 + HOLD / 2) == []
    [(worker, answer)] = budgets.tick(NOW + 0.1 + HOLD)
    assert worker == B
    assert isinstance(answer, Granted)
    assert answer.denied is not None
    assert budgets.next_deadline(NOW + 0.2) is None
    budgets.give_back(A, back({SLOT: 3}, serial=1), NOW + 0.2)  # late, and not lost
    assert granted(budgets.ask(B, ask(1, serial=2), NOW + 0.2)).requests == 1


def test_the_asking_worker_may_hold_what_it_lacks() -> None:
    budgets = owner(workers=1, tokens_per_minute=1000)
    budgets.ask(A, ask(tokens=600), NOW)
    recall = recalls(budgets.ask(A, ask(tokens=800, serial=2), NOW + 0.1))[A]
    answer = granted(budgets.give_back(A, back(tokens={SLOT: 600}, serial=recall.serial), NOW + 0.1))
    assert (answer.serial, answer.tokens) == (2, 800)


def test_asks_are_answered_in_their_order() -> None:
    budgets = owner(workers=3, tokens_per_minute=1000)
    budgets.ask(A, ask(tokens=900), NOW)
    recall = recalls(budgets.ask(B, ask(tokens=500), NOW + 0.1))[A]
    assert budgets.ask(C, ask(tokens=50), NOW + 0.101) == []  # it would have room, but comes second
    out = budgets.give_back(A, back(tokens={SLOT: 900}, serial=recall.serial), NOW + 0.102)
    assert [(worker, message.tokens) for worker, message in out if isinstance(message, Granted)] == [(B, 500), (C, 50)]


def test_a_second_ask_takes_the_place_of_the_first() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(10), NOW)
    budgets.ask(B, ask(1, serial=1), NOW + 0.1)
    budgets.ask(B, ask(1, serial=2), NOW + 0.105)
    [(_, answer)] = budgets.tick(NOW + 0.105 + HOLD)
    assert answer.serial == 2


def test_an_answer_for_tokens_tells_more_than_was_asked() -> None:
    budgets = owner(tokens_per_minute=1000)
    budgets.ask(A, ask(tokens=600), NOW)
    budgets.ask(A, ask(tokens=300, serial=2), NOW + 10)
    answer = granted(budgets.ask(B, ask(tokens=500), NOW + 20))
    assert answer.denied is not None
    assert answer.denied.requests_at == 0
    assert answer.denied.steps[0] == (100, NOW + 20)
    assert (700, forgotten(SLOT)) in answer.denied.steps
    assert answer.denied.steps[-1] == (1000, forgotten(lease_slot(NOW + 10)))


@pytest.mark.parametrize(
    ("limits", "wanted", "denied"),
    [
        ({"requests_per_minute": 1, "tokens_per_minute": 100}, ask(1, 10), "requests_at"),
        ({"requests_per_minute": 5, "tokens_per_minute": 10}, ask(1, 10), "steps"),
        ({"requests_per_minute": 5, "concurrent_requests": 1}, ask(1, 0, 1), "slots"),
    ],
)
def test_nothing_is_taken_of_one_budget_if_another_lacks(limits: dict[str, int], wanted: Ask, denied: str) -> None:
    budgets = owner(**limits)
    first = granted(budgets.ask(A, wanted, NOW))
    recalled = recalls(budgets.ask(B, wanted, NOW))
    for worker, recall in recalled.items():
        out = budgets.give_back(worker, back(serial=recall.serial), NOW)
    answer = granted(out)
    assert getattr(answer.denied, denied)
    usage = budgets.usage("c", NOW)
    assert (usage.requests, usage.tokens, usage.concurrent) == shares(first)


def test_ahead_of_need_nobody_gives_up_a_share_and_nothing_is_refused() -> None:
    budgets = owner(requests_per_minute=10, tokens_per_minute=1000, concurrent_requests=2)
    budgets.ask(A, ask(10, 600, 1), NOW)
    out = budgets.ask(B, ask(1, 500, 1, ahead=True), NOW)
    assert recalls(out) == {}
    answer = granted(out)
    assert shares(answer) == (0, 0, 1)  # of requests there are none, of tokens too few
    assert answer.denied is None
    assert shares(granted(budgets.ask(B, ask(1, 400, 1, ahead=True), NOW))) == (0, 400, 0)


def test_debt_is_paid_before_the_ask_that_brings_it() -> None:
    budgets = owner(workers=1, tokens_per_minute=1000)
    answer = granted(budgets.ask(A, ask(tokens=10, debt=995), NOW))
    assert answer.denied is not None
    assert budgets.usage("c", NOW).tokens == 995
    later = forgotten(SLOT)
    assert granted(budgets.ask(A, ask(tokens=10), later)).tokens == 10


def test_debt_beyond_the_limit_is_waited_for() -> None:
    budgets = owner(tokens_per_minute=1000)
    budgets.give_back(A, back(debt=5000), NOW)
    answer = granted(budgets.ask(A, ask(tokens=1), NOW + 59))
    assert answer.denied is not None
    assert answer.denied.steps[-1] == (1000, forgotten(SLOT))


def test_what_a_dead_worker_held_is_spent_until_its_slot_leaves_and_its_slots_are_free() -> None:
    budgets = owner(requests_per_minute=10, concurrent_requests=3)
    budgets.ask(A, ask(10, 0, 3), NOW)
    assert budgets.worker_gone(A, NOW + 0.1) == []
    assert budgets.usage("c", NOW + 0.1) == Usage(10, 10, 0, None, 0, 3)
    out = budgets.ask(B, ask(1, 0, 1), NOW + 0.1)
    assert recalls(out) == {}
    assert granted(out).denied == Denied(forgotten(SLOT), (), slots=False)
    assert granted(budgets.ask(B, ask(1, 0, 1), forgotten(SLOT))).denied is None


def test_a_death_answers_those_who_waited_for_the_dead() -> None:
    budgets = owner(concurrent_requests=3)
    budgets.ask(A, ask(slots=3), NOW)
    assert set(recalls(budgets.ask(B, ask(slots=1), NOW))) == {A}
    [(worker, answer)] = budgets.worker_gone(A, NOW + 0.001)
    assert (worker, shares(answer)) == (B, (0, 0, 1))  # type: ignore[arg-type]


def test_the_dead_are_not_answered() -> None:
    budgets = owner(concurrent_requests=3)
    budgets.ask(A, ask(slots=3), NOW)
    budgets.ask(B, ask(slots=1), NOW)
    assert budgets.worker_gone(B, NOW + 0.001) == []
    assert budgets.tick(NOW + 1) == []
    assert budgets.next_deadline(NOW + 1) is None


def test_concurrency_comes_back_slot_by_slot_and_never_more_than_was_held() -> None:
    budgets = owner(concurrent_requests=4)
    budgets.ask(A, ask(slots=4), NOW)
    budgets.give_back(A, back(slots=1), NOW)
    assert budgets.usage("c", NOW).concurrent == 3
    budgets.give_back(A, back(slots=9), NOW)
    budgets.give_back(B, back(slots=9), NOW)
    assert budgets.usage("c", NOW).concurrent == 0
    assert granted(budgets.ask(B, ask(slots=4), NOW)).slots == 4


def test_a_worker_without_idle_slots_is_not_asked_for_them_again_at_once() -> None:
    budgets = owner(concurrent_requests=2)
    budgets.ask(A, ask(slots=2), NOW)
    recall = recalls(budgets.ask(B, ask(slots=1), NOW))[A]
    budgets.give_back(A, back(serial=recall.serial), NOW + 0.001)
    out = budgets.ask(B, ask(slots=1, serial=2), NOW + 0.002)
    assert recalls(out) == {}
    assert granted(out).denied == Denied(0.0, (), slots=True)
    assert set(recalls(budgets.ask(B, ask(slots=1, serial=3), NOW + 0.02))) == {A}


def test_a_raised_limit_answers_those_who_wait() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(10), NOW)
    budgets.ask(B, ask(1), NOW)
    [(worker, answer)] = budgets.reconfigure({"c": Limits(requests_per_minute=20)}, NOW)
    assert (worker, shares(answer)) == (B, (1, 0, 0))  # type: ignore[arg-type]


def test_under_a_lowered_limit_what_is_spent_stays_spent() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(8), NOW)
    budgets.reconfigure({"c": Limits(requests_per_minute=5)}, NOW + 2)
    answer = granted(budgets.ask(B, ask(1), NOW + 2))
    assert answer.denied is not None
    assert answer.denied.requests_at == forgotten(SLOT)
    assert granted(budgets.ask(B, ask(1), forgotten(SLOT))).requests == 1


def test_a_client_that_is_removed_is_forgotten_when_nothing_of_it_is_left() -> None:
    budgets = owner(requests_per_minute=10)
    budgets.ask(A, ask(8), NOW)
    budgets.reconfigure({}, NOW + 1)
    assert "c" in budgets._accounts
    budgets.reconfigure({}, forgotten(SLOT))
    assert not budgets._accounts
    assert granted(budgets.ask(A, ask(1), forgotten(SLOT))).denied is None  # a worker that has not heard yet
    assert budgets.usage("never heard of", NOW) == Usage(0, None, 0, None, 0, None)


def test_clients_have_budgets_of_their_own() -> None:
    budgets = Budgets({name: Limits(requests_per_minute=1) for name in ("c", "d")}, 1)
    assert granted(budgets.ask(A, Ask("c", 1, 1, 0, 0, 0), NOW)).requests == 1
    assert granted(budgets.ask(A, Ask("d", 1, 1, 0, 0, 0), NOW)).requests == 1


@pytest.mark.parametrize(
    "message",
    [
        ask(1, 2, 3, serial=4, debt=5, ahead=True),
        ask(1),
        back({SLOT: 1}, {SLOT: 2, SLOT + 1: 3}, slots=1, debt=4, serial=5),
    ],
)
def test_what_workers_say_arrives_as_it_was_said(message: Upward) -> None:
    assert decode_upward(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Granted("c", 1, SLOT, 1, 2, 3, 4, 5),
        Granted("c", 1, 0, 0, 0, 0, 0, 1 << 62, Denied(ends(SLOT), ((0, NOW), (1 << 62, NOW)), slots=True)),
        Recall("c", 1, requests=True, tokens=False, slots=True),
    ],
)
def test_what_the_owner_says_arrives_as_it_was_said(message: Downward) -> None:
    assert decode_downward(encode(message)) == message
