"""What got slower is said to be, on whatever machine; what did not is not."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report.earlier import Became, Change, changes, subject
from bench.report.stored import Machine, Measured, Proxy, Stored
from bench.report.together import lay

MACHINE = Machine(cpu="a", cores="2", kernel="6.1", python="3.11", openssl="3.0")
OTHER = msgspec.structs.replace(MACHINE, cpu="another")


def run(
    rows: dict[str, list[float]], figure: str = "cpu_us_per_event", machine: Machine = MACHINE, nginx: str = "1.22"
) -> Stored:
    """Each proxy's values of one figure, repeat by repeat."""
    return Stored(
        command="",
        began="",
        commit="",
        machine=machine,
        proxies=tuple(Proxy(name=name, version=nginx if name == "nginx" else "1") for name in rows),
        measured=tuple(
            Measured(scenario="s", proxy=proxy, repeat=repeat, figures={figure: value})
            for proxy, values in rows.items()
            for repeat, value in enumerate(values)
        ),
    )


def became(before: Stored, now: Stored, proxy: str = "penstock") -> Became:
    return found(before, now, proxy).became


def found(before: Stored, now: Stored, proxy: str = "penstock") -> Change:
    (one,) = (one for one in changes(lay([before]), lay([now])) if one.proxy == proxy)
    return one


AMOUNTS = st.lists(st.floats(0, 1e9), min_size=1, max_size=6)
NOISE = st.lists(st.floats(0.98, 1.02), min_size=3, max_size=6)
NAMES = st.sampled_from(("cpu_us_per_event", "kb_per_stream", "late_p99_ms", "errors", "requests_per_second"))


@given(AMOUNTS, NAMES, st.booleans())
def test_identical_runs_are_never_slower(values: list[float], name: str, peer: bool) -> None:
    one = run({"penstock": values, **({"nginx": values[::-1]} if peer else {})}, name)
    assert became(one, one) in (Became.SAME, Became.UNKNOWN)


@given(NOISE, NOISE, st.floats(1, 1e6), NAMES)
def test_a_doubled_cost_with_small_noise_is_slower(
    one: list[float], other: list[float], size: float, name: str
) -> None:
    size = max(size, 50.0)
    before = run({"penstock": [size * value for value in one]}, name)
    now = run({"penstock": [2 * size * value for value in other]}, name)
    doubled = Became.BETTER if name == "requests_per_second" else Became.WORSE
    assert became(before, now) is doubled
    assert became(now, before) is (Became.WORSE if doubled is Became.BETTER else Became.BETTER)


@given(NOISE, st.floats(0.2, 5))
def test_a_slower_machine_is_not_a_slower_proxy(noise: list[float], speed: float) -> None:
    costs = {"penstock": [60 * value for value in noise], "nginx": [36 / value for value in noise]}
    before = run(costs)
    now = run({name: [speed * value for value in values] for name, values in costs.items()}, machine=OTHER)
    assert became(before, now) in (Became.SAME, Became.UNKNOWN)
    assert found(before, now).beside == ("nginx",)


@settings(max_examples=30)
@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_it_is_the_same_both_ways(a: list[float], b: list[float], c: list[float], d: list[float]) -> None:
    before, now = run({"penstock": a, "nginx": b}), run({"penstock": c, "nginx": d})
    there, back = found(before, now), found(now, before)
    mirrored = {Became.WORSE: Became.BETTER, Became.BETTER: Became.WORSE}
    assert back.became is mirrored.get(there.became, there.became)
    assert there.beside == back.beside


def test_with_few_repeats_nothing_can_be_told() -> None:
    one = found(run({"penstock": [10.0, 10.0]}), run({"penstock": [99.0, 99.0, 99.0]}))
    assert one.became is Became.UNKNOWN
    assert one.why == "fewer than 3 repeats"
    assert one.ratio is None


def test_another_job_tells_nothing() -> None:
    before, now = run({"penstock": [10.0] * 3}), run({"penstock": [99.0] * 3})
    (measured, *others) = now.measured
    now = msgspec.structs.replace(now, measured=(msgspec.structs.replace(measured, title="eight thousand"), *others))
    one = found(before, now)
    assert (one.became, one.why) == (Became.UNKNOWN, "another job then: s")


def test_another_machine_tells_nothing_of_costs_without_a_peer_of_the_same_version() -> None:
    before, now = {"penstock": [10.0] * 3, "nginx": [5.0] * 3}, {"penstock": [30.0] * 3, "nginx": [5.0] * 3}
    assert became(run(before), run(now, machine=OTHER)) is Became.WORSE
    upgraded = found(run(before), run(now, machine=OTHER, nginx="1.23"))
    assert upgraded.became is Became.UNKNOWN
    assert upgraded.why == "another machine, and no proxy to compare with"


def test_memory_is_compared_on_any_machine() -> None:
    before, now = ({"penstock": [value, value + 0.1, value]} for value in (40.0, 60.0))
    one = found(run(before, "kb_per_stream"), run(now, "kb_per_stream", OTHER))
    assert (one.became, one.word, one.beside) == (Became.WORSE, "larger", ())


def test_what_is_alone_must_change_by_more() -> None:
    before, now = {"penstock": [100.0, 100.1, 99.9]}, {"penstock": [106.0, 106.1, 105.9]}
    assert became(run(before), run(now)) is Became.SAME
    peer = {"nginx": [50.0, 50.0, 50.0]}
    assert became(run(before | peer), run(now | peer)) is Became.WORSE


def test_several_steady_proxies_are_steadier_than_one() -> None:
    before = {
        "penstock": [60.0, 66.0, 54.0],
        "nginx": [30.0, 33.0, 27.0],
        "envoy": [40.0, 44.0, 36.0],
        "litellm": [900.0] * 3,
    }
    now = {name: [value * 1.5 for value in values] for name, values in before.items()} | {
        "penstock": [108.0, 118.8, 97.2]
    }
    one = found(run(before), run(now))
    assert one.beside == ("nginx", "envoy")
    assert one.became is Became.WORSE
    assert one.ratio == pytest.approx(1.2, rel=0.01)


def test_the_report_is_about_penstock_where_it_was_measured() -> None:
    both = changes(
        lay([run({"penstock": [1.0] * 3, "x": [1.0] * 3})]), lay([run({"penstock": [1.0] * 3, "x": [9.0] * 3})])
    )
    assert [one.proxy for one in subject(both)] == ["penstock"]
    other = changes(lay([run({"x": [20.0] * 3})]), lay([run({"x": [90.0] * 3})]))
    assert [one.became for one in subject(other)] == [Became.WORSE]
