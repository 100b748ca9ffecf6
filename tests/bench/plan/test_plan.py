"""What the planner promises, on plans that are over in a moment: through the gateway's own routing and limits."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.__main__ import main
from bench.failure import BenchError
from bench.plan import stretch
from bench.plan.costs import costed, hour, unit_price
from bench.plan.demand import synthetic
from bench.plan.files import known, load, problems
from bench.plan.ladder import Ladders
from bench.plan.plan import planned
from bench.plan.stretch import LIMITED, REFUSED, REQUESTS
from bench.plan.structs import Bursts, Client, Mix, Plan, Provisioned, Service
from proxy.config.structs import Limits, Queueing, Routing, Seconds
from tests.bench.plan.plans import LATENCY, standard, tiny

PLANS = st.builds(
    tiny,
    mixes=st.sampled_from(
        [
            (Mix(prompt=(500, 900), completion=(50, 90)),),
            (Mix(prompt=(200, 3_000), completion=(20, 200), cached=0.5, streams=0.5, max_tokens=300),),
        ]
    ),
    clients=st.sampled_from(
        [
            (Client(name="web"),),
            (Client(name="web"), Client(name="job", limits=Limits(priority="batch", tokens_per_minute=9_000))),
            (Client(name="ptu", tiers=("provisioned",), timeout=Seconds(5)), Client(name="web", share=2)),
        ]
    ),
    workload=st.sampled_from([{}, {"bursts": Bursts(per_hour=6, lasts=Seconds(30), times=3)}]),
    standard=st.sampled_from([(), (standard(),), (standard("a", 6_000), standard("b", 6_000, requests_per_minute=30))]),
    seed=st.integers(0, 2**32),
    workers=st.integers(1, 3),
    routing=st.sampled_from([Routing(), Routing(queue=Queueing(wait=Seconds(0)))]),
)
FEW = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_WANTED", 60), ("_WARM", 20.0), ("_LEAST", 40.0), ("_MOST", 60.0)):
        monkeypatch.setattr(stretch, name, value)


@FEW
@given(PLANS, st.sampled_from([0, 2, 6]))
def test_every_token_is_in_one_place_and_all_accounts_add_up(plan: Plan, units: int) -> None:
    if not units and not plan.standard:
        units = 2
    ladders = Ladders(plan, synthetic(plan))
    found = costed(ladders, units)
    for month in found.months:
        grown = ladders.demand.grown(month.number)
        for asker, client in zip(ladders.demand.askers, month.clients, strict=True):
            requests = sum(asker.rates) / 168 * 730 * 3600 * grown
            assert client.requests == pytest.approx(requests)
            assert client.prompt * 1e6 == pytest.approx(requests * asker.means.prompt)
            assert client.completion * 1e6 == pytest.approx(requests * asker.means.completion)
        for of in ("requests", "prompt", "completion", "cached", "cost"):
            by_place = sum(getattr(share, of) for share in month.places)
            assert by_place == pytest.approx(sum(getattr(share, of) for share in month.clients))
        assert month.cost == pytest.approx(sum(share.cost for share in month.clients))
        assert month.provisioned == pytest.approx(units * unit_price(plan))
        assert all(share.requests >= 0 for share in month.places)
        unserved = [share for share in month.places if share.name in (LIMITED, REFUSED)]
        assert all(share.cost == 0 for share in unserved)


@settings(FEW, derandomize=True)
@given(PLANS)
def test_more_units_do_not_refuse_more(plan: Plan) -> None:
    """Beyond what chance makes of some dozens of requests."""
    ladders = Ladders(plan, synthetic(plan))
    few, many = costed(ladders, 2), costed(ladders, 12)
    for before, after in zip(few.months, many.months, strict=True):
        assert after.refused <= before.refused + 0.05
        assert after.spilled <= before.spilled + 0.05


@FEW
@given(PLANS)
def test_it_is_the_same_each_time(plan: Plan) -> None:
    demand = synthetic(plan)
    rates = demand.rates(0)
    assert stretch.run(plan, demand, 4, rates, "x") == stretch.run(plan, demand, 4, rates, "x")


def test_limits_are_kept_and_refusals_are_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WARM", "_LEAST"):
        monkeypatch.setattr(stretch, name, 60.0)
    limits = Limits(requests_per_minute=30)
    plan = tiny(clients=(Client(name="web", limits=limits),), workload={"growth": 0.0})
    month = costed(Ladders(plan, synthetic(plan)), 0).months[0]
    assert month.limited == pytest.approx(0.5, abs=0.05), "sixty a minute, of which thirty are allowed"
    assert month.refused == 0
    none = tiny(standard=(standard(tokens_per_minute=1_000),), routing=Routing(queue=Queueing(wait=Seconds(0))))
    found = costed(Ladders(none, synthetic(none)), 0)
    assert found.months[0].refused > 0.9
    assert found.misses[0].startswith("refused: 9")


def test_units_that_are_full_do_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "_LEAST", 300.0)
    monkeypatch.setattr(stretch, "_MOST", 300.0)
    plan = tiny(requests_per_day=3 * 86_400.0, months=1)
    found = hour(Ladders(plan, synthetic(plan)), 6, 0, 0)
    assert found.utilisation == pytest.approx(1.0, abs=0.1)
    assert found.provisioned == pytest.approx(1 - sum(found.spilled))
    assert 0.6 < sum(found.spilled) < 0.75, "of three requests a second, they do one"


def test_what_is_hardly_ever_asked_for_is_accounted_for() -> None:
    plan = tiny(requests_per_day=0.5, months=1)
    month = costed(Ladders(plan, synthetic(plan)), 0).months[0]
    assert month.clients[0].requests == pytest.approx(0.5 * 730 / 24)
    assert month.spilled == pytest.approx(1.0)


def test_batch_waits_while_interactive_is_served() -> None:
    """On units that are too few for both, and nothing else."""
    clients = (Client(name="web"), Client(name="job", limits=Limits(priority="batch")))
    plan = tiny(clients=clients, standard=(), months=1, workload={"growth": 0.0})
    ladders = Ladders(plan, synthetic(plan))
    ends = stretch.places(plan)
    found = ladders.run(4, ladders.demand.rates(0), "x")
    web, job = (found.of(asker)[REQUESTS][ends.index(REFUSED)] for asker in range(2))
    assert web < job
    assert found.queued > 0


def test_a_plan_from_its_file_to_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(
        title="A <tiny> plan",
        provisioned=Provisioned(name="ptu", price_per_hour=0.5, reservation_per_month=100.0, latency=LATENCY),
        service=Service(refused_at_most=0.01, first_p99_at_most=Seconds(5)),
        workload={"day": (*[1.0] * 12, *[3.0] * 12)},
    )
    monkeypatch.setattr("bench.plan.run.load", lambda _name: plan)
    assert main(["plan", "tiny.toml", "--out", str(tmp_path / "out"), "--months", "3"]) == 0
    captured = capsys.readouterr()
    assert "are the cheapest that hold the service" in captured.out or "alone cost" in captured.out
    assert " units: " in captured.err
    told = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert len(told["chosen"]["months"]) == len(told["monthly"]) == 3
    assert len(told["week"]) == 168
    assert told["chosen"]["units"] in [one["units"] for one in told["looked_at"]]
    html = (tmp_path / "out" / "plan.html").read_text()
    assert "A &lt;tiny&gt; plan" in html
    assert "<script" not in html
    assert (tmp_path / "out" / "plan.md").read_text() == captured.out


def test_what_is_read_off_is_what_is_run_where_nothing_happens_between() -> None:
    plan = tiny(workload={"day": (*[1.0] * 12, *[1.5] * 11, 2.0)})
    found = planned(plan)
    assert found.deviation is not None
    assert abs(found.deviation.cost) < 0.1
    assert found.deviation.refused == 0
    ladders = Ladders(plan, found.demand)
    assert hour(ladders, 0, 0, 0).spilled == pytest.approx((1.0,))


# Files.


def test_the_examples_are_plans_and_say_that_their_prices_are_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(known()) == {"night-batch", "office-chat"}
    for name in known():
        assert "EXAMPLE" in load(name).prices
    assert main(["plan", "--list"]) == 0
    assert main(["plan", "--example", "office-chat"]) == 0
    assert capsys.readouterr().out.endswith(known()["office-chat"].read_text())
    assert main(["plan"]) == 2


@pytest.mark.parametrize(
    ("changed", "to", "said"),
    [
        ("months = 6", "months = 0", "months: out of range; from 1 to 120"),
        ('model = "gpt-4o"', 'model = "gpt-5"', 'workload.model: "gpt-5"; one of `units`'),
        ("weekend = [2,", "weekend = [", "workload.weekend: is no curve; give 24 numbers"),
        ("cached = 0.3", "cached = 3", "workload.mixes[0].cached: is no share; from 0 to 1"),
        ('{ priority = "batch",', "{ tokens_per_day = 5,", "clients[2].limits.tokens_per_day: is not modelled"),
        ("share = 0.62", "shares = 0.62", "clients[0].shares"),
        ("requests_per_day = 250_000", 'recorded = "audit.jsonl"', "workload: is recorded, and made up as well"),
        ("[service]", "[service", "is not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_key(tmp_path: Path, changed: str, to: str, said: str) -> None:
    text = known()["office-chat"].read_text()
    assert changed in text
    path = tmp_path / "plan.toml"
    path.write_text(text.replace(changed, to))
    with pytest.raises(BenchError) as error:
        load(str(path))
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))


def test_an_unknown_name_is_told_from_a_file() -> None:
    with pytest.raises(BenchError, match="'chat' is unknown; there are: night-batch, office-chat"):
        load("chat")
    assert not list(problems(msgspec.structs.replace(tiny(), months=1)))
