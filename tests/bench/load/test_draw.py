"""What is drawn has the shares that are asked for, is the same for the same seed, and takes bounded memory."""

from collections import Counter
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.failure import BenchError
from bench.load.draw import Choice, Draw, Sizes
from bench.load.job import Arrivals, Identity, Job, Mix
from bench.load.replay import Recorded

IDENTITIES = (
    Identity(client="a", api_key="1"),
    Identity(client="b", api_key="2", weight=3.0),
    Identity(client="c", token="3", weight=0.0),
)
JOB = Job(
    url="https://localhost:1",
    root="root.pem",
    identities=IDENTITIES,
    mixes=(
        Mix(kind="stream", share=3.0, prompt=(10, 1000), tokens=(1, 30), leaves=0.5),
        Mix(kind="plain", share=1.0, identities=("a",)),
    ),
    arrivals=Arrivals(kind="closed", clients=100),
    duration=1.0,
)
DRAW, OTHER = Draw(JOB, "localhost"), Draw(JOB, "localhost")


def client(draw: Draw, number: int) -> str:
    caller = draw.request(number).caller
    assert caller is not None
    return caller.client


def test_an_open_loop_has_its_shares() -> None:
    plans = [DRAW.request(number) for number in range(4000)]
    mixes = Counter(plan.mix for plan in plans)
    assert abs(mixes[0] / 4000 - 0.75) < 0.05
    assert abs(sum(plan.leave_after > 0 for plan in plans) / mixes[0] - 0.5) < 0.05
    streams = Counter(plan.caller.client for plan in plans if plan.mix == 0 and plan.caller)
    assert abs(streams["a"] / streams["b"] - 1 / 3) < 0.1
    assert streams["c"] == 0
    assert {plan.caller.client for plan in plans if plan.mix == 1 and plan.caller} == {"a"}


def test_at_a_constant_rate_each_mix_comes_evenly() -> None:
    mixes = tuple(Mix(kind="plain", share=share) for share in (24.0, 6.0, 20.0))
    draw = Draw(msgspec.structs.replace(JOB, mixes=mixes, arrivals=Arrivals(kind="constant", rate=50.0)), "localhost")
    for second in range(40):
        counts = Counter(draw.request(50 * second + number).mix for number in range(50))
        assert all(abs(counts[mix] - due) <= 2 for mix, due in enumerate((24, 6, 20)))


def test_sizes_fill_their_ranges() -> None:
    workloads = [DRAW.request(number).workload for number in range(4000)]
    tokens = [one.tokens for one in workloads if one is not None and one.ends]
    assert min(tokens) <= 2
    assert max(tokens) >= 29
    assert abs(sum(tokens) / len(tokens) - 15.5) < 1.5
    assert len({id(one) for one in workloads}) <= 65


@given(st.integers(0, 2**40))
def test_a_request_is_the_same_whoever_asks_for_it(number: int) -> None:
    assert OTHER.request(number).workload == DRAW.request(number).workload
    assert client(OTHER, number) == client(DRAW, number)


def test_another_seed_asks_for_something_else() -> None:
    other = Draw(msgspec.structs.replace(JOB, seed=1), "localhost")
    assert [client(other, number) for number in range(50)] != [client(DRAW, number) for number in range(50)]


def test_a_client_of_a_closed_loop_stays_with_its_mix_and_its_name() -> None:
    firsts = [list(islice(DRAW.client(number), 5)) for number in range(100)]
    assert Counter(plans[0].mix for plans in firsts) == {0: 75, 1: 25}
    for plans in firsts:
        assert len({(plan.mix, plan.caller) for plan in plans}) == 1


def test_what_a_log_has_is_asked_by_the_client_of_that_name_in_about_that_size() -> None:
    plan = DRAW.replayed(5, Recorded(0.0, "b", "stream", "gpt-4o", 100, 200))
    assert plan.caller is not None
    assert plan.caller.client == "b"
    assert plan.workload is not None
    assert 180 <= plan.workload.tokens <= 200
    unknown = [DRAW.replayed(number, Recorded(0.0, "192.0.2.1", "plain")) for number in range(50)]
    assert {plan.mix for plan in unknown} == {1}
    assert len({plan.caller for plan in unknown}) == 1


def test_what_is_kept_of_odd_sizes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.draw._DECK_BYTES", 1 << 20)
    sizes = Sizes(JOB, "localhost")
    kind = DRAW._kinds[0]
    for size in range(1, 1000):
        sizes.of(kind, size, size)
    assert sum(one.weight for one in sizes._kept.values()) == sizes._bytes <= 1 << 20


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mixes": ()}, "mixes: none can be chosen"),
        ({"mixes": (Mix(share=0.0),)}, "mixes: none can be chosen"),
        ({"mixes": (Mix(identities=("nobody",)),)}, "'nobody' is no identity"),
        ({"mixes": (Mix(identities=("c",)),)}, r"mixes\[0\].identities: none can be chosen"),
        ({"identities": (Identity(client="x", certificate="x.pem"),)}, "needs its private_key"),
        ({"identities": (Identity(client="x", api_key="a\r\nb"),)}, "one line of ASCII"),
    ],
)
def test_what_cannot_be_drawn_from_is_said(more: dict[str, object], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        Draw(msgspec.structs.replace(JOB, **more), "localhost")


@given(
    st.lists(st.floats(0.0, 10.0), min_size=1).filter(lambda weights: sum(weights) > 0.01),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_choice_never_falls_on_what_has_no_weight(weights: list[float], place: float) -> None:
    chosen = Choice(weights, "it").at(place)
    assert weights[chosen] > 0
