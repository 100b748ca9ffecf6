"""Curves, sizes and units: what is asked for is known before anything is simulated."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench.failure import BenchError
from bench.plan import deployments
from bench.plan.demand import curve, synthetic
from bench.plan.latency import bucket, percentile, seconds
from bench.plan.recorded import recorded
from bench.plan.structs import Client, Mix, Plan, Unit
from tests.bench.plan.plans import tiny

EVEN = (1.0,) * 24


@pytest.mark.parametrize(
    ("day", "weekend", "week", "hour", "value"),
    [
        (EVEN, (), (1.0,) * 7, 0, 1.0),
        (EVEN, (), (2.0,) * 7, 100, 1.0),
        ((*[0.0] * 12, *[2.0] * 12), (), (1.0,) * 7, 0, 0.0),
        ((*[0.0] * 12, *[2.0] * 12), (), (1.0,) * 7, 12, 2.0),
        (EVEN, (), (1.0, 1, 1, 1, 1, 0, 0), 0, 7 / 5),
        (EVEN, (), (1.0, 1, 1, 1, 1, 0, 0), 24 * 5, 0.0),
        (EVEN, (3.0,) * 24, (1.0,) * 7, 24 * 6 + 1, 21 / 11),
        ((1.0, *[0.0] * 23), (), (1.0, 0, 0, 0, 0, 0, 0), 0, 168.0),
    ],
)
def test_a_week_by_hours(
    day: tuple[float, ...], weekend: tuple[float, ...], week: tuple[float, ...], hour: int, value: float
) -> None:
    found = curve(day, weekend, week)
    assert found[hour] == pytest.approx(value)
    assert sum(found) == pytest.approx(168)


@pytest.mark.parametrize(
    ("units", "minimum", "step", "rounded"),
    [(0, 15, 5, 15), (15, 15, 5, 15), (15.01, 15, 5, 20), (42, 15, 5, 45), (45, 15, 5, 45), (51, 50, 50, 100)],
)
def test_units_come_in_steps(units: float, minimum: int, step: int, rounded: int) -> None:
    unit = Unit(tokens_per_minute=2_500, completion=3, minimum=minimum, step=step)
    assert deployments.rounded(units, unit) == rounded


@pytest.mark.parametrize(
    ("utilisation", "times"), [(-1.0, 1.0), (0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0), (7.0, 2.0)]
)
def test_latency_rises_with_utilisation(utilisation: float, times: float) -> None:
    assert deployments.rise(((0.5, 1.0), (1.0, 2.0)), utilisation) == pytest.approx(times)


def test_percentiles_of_buckets() -> None:
    counts = {bucket(0.1): 98.0, bucket(5.0): 2.0}
    assert percentile(counts, 0.5) == pytest.approx(0.1, rel=0.05)
    assert percentile(counts, 0.99) == pytest.approx(5.0, rel=0.05)
    assert percentile({}, 0.5) is None
    assert seconds(bucket(0.0)) == pytest.approx(0.001)


def test_sizes_are_as_they_are_given() -> None:
    plan = tiny(mixes=(Mix(prompt=(1_000, 4_000), completion=(100, 300), cached=0.5, streams=0.25, max_tokens=200),))
    asker = synthetic(plan).askers[0]
    prompts = sorted(size.prompt for size in asker.sizes)
    assert prompts[len(prompts) // 2] == pytest.approx(1_000, rel=0.1)
    assert prompts[len(prompts) * 95 // 100] == pytest.approx(4_000, rel=0.2)
    assert max(size.completion for size in asker.sizes) == 200
    assert asker.means.cached == pytest.approx(asker.means.prompt / 2, rel=0.01)
    assert asker.means.streams == pytest.approx(0.25, abs=0.05)


def test_rates_add_up_to_what_a_day_has() -> None:
    plan = tiny(requests_per_day=86_400.0, clients=(Client(name="a", share=3), Client(name="b", day=(*EVEN[:23], 5.0))))
    demand = synthetic(plan)
    assert [sum(asker.rates) / 168 for asker in demand.askers] == pytest.approx([0.75, 0.25])
    assert demand.grown(2) == pytest.approx((1 + plan.workload.growth) ** 2)


# What was recorded.


def line(at: float, client: str = "web", prompt: int = 100, **more: object) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    tokens = {"prompt": prompt, "completion": 10, "total": prompt + 10, "cached": 0, "reasoning": 0, "estimated": False}
    record = {"seq": 1, "time": time, "client": client, "tenant": "t", "model": "m", "stream": True, "status": 200}
    return json.dumps(record | {"decision": "allowed", "tokens": tokens} | more)


MONDAY = datetime(2026, 1, 5, tzinfo=UTC).timestamp()


def log(tmp_path: Path, *lines: str) -> Plan:
    path = tmp_path / "audit.jsonl"
    path.write_text("\n".join(lines))
    plan = tiny()
    workload = msgspec.structs.replace(plan.workload, recorded=str(path))
    return msgspec.structs.replace(
        plan, workload=workload, clients=(Client(name="web", timeout=plan.clients[0].timeout),)
    )


def test_a_recorded_day_is_carried_over_to_the_week(tmp_path: Path) -> None:
    noon = [line(MONDAY + 12 * 3600 + number) for number in range(3_600)]
    others = [line(MONDAY + hour * 3600 + 1, "batch", 900) for hour in range(24)]
    refused = [
        line(MONDAY + 5, decision="refused", status=401, tokens=None),  # was never asked for
        line(MONDAY + 6, decision="refused", status=429, tokens=None),
        line(MONDAY + 7, model="another"),
        "{not JSON",
    ]
    last = line(MONDAY + 24 * 3600 - 1, "batch", 900)
    plan = log(tmp_path, *refused, *others, *noon, last)
    demand = recorded(plan, str(plan.workload.recorded))
    batch, web = demand.askers
    assert (batch.name, web.name) == ("batch", "web")
    assert web.rates[12] == pytest.approx(1.0, rel=0.01)
    assert web.rates[12] == web.rates[24 + 12] == web.rates[24 * 6 + 12], "as Monday's noon is all others'"
    assert web.rates[0] == pytest.approx(1 / 3600, rel=0.01)
    assert {size.prompt for size in batch.sizes} == {900}
    assert demand.unevenness == pytest.approx(0, abs=0.01)
    assert any("144 of the 168 hours" in note for note in demand.notes)


def test_bursts_of_a_log_are_unevenness(tmp_path: Path) -> None:
    bursts = [line(MONDAY + 60 * minute + number / 10) for minute in range(60) for number in range(90)]
    plan = log(tmp_path, *bursts)
    demand = recorded(plan, str(plan.workload.recorded))
    assert demand.unevenness == pytest.approx(5, rel=0.2), "all of a minute in a sixth of it"


def test_a_log_without_the_model_is_an_error(tmp_path: Path) -> None:
    plan = log(tmp_path, line(MONDAY, model="other"), line(MONDAY + 9_000, model="other"))
    with pytest.raises(BenchError, match=r"audit\.jsonl: has too little of m \(2 requests for other models\)"):
        recorded(plan, str(plan.workload.recorded))
    with pytest.raises(BenchError, match="cannot be read"):
        recorded(plan, str(tmp_path / "none.jsonl"))
