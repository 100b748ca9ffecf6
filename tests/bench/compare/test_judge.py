"""Bars judge what they should, by the median of what was measured together, and nothing where there is nothing."""

import msgspec
import pytest

from bench.compare.bars import BARS, Against, Bar
from bench.compare.judge import failed, failure, noisy, values, verdict, verdicts, wrong
from bench.report.stored import Band, Measured


def bar(against: Against, limit: float = 2.0, aim: float | None = None, other: str = "nginx") -> Bar:
    return Bar(phase="plain", figure="x_ms", title="x", against=against, other=other, limit=limit, aim=aim)


def one(
    proxy: str, value: float, repeat: int = 0, *, streams: int = 0, workers: int = 1, others: float = 0.0
) -> Measured:
    figures = {"x_ms": value, "share_of_others": others}
    return Measured(scenario="plain", proxy=proxy, repeat=repeat, streams=streams, workers=workers, figures=figures)


def runs(ours: list[float], theirs: list[float], other: str = "nginx") -> list[Measured]:
    return [
        measured
        for proxy, each in (("penstock", ours), (other, theirs))
        for repeat, value in enumerate(each)
        for measured in (one(proxy, value, repeat),)
    ]


@pytest.mark.parametrize(
    ("against", "measured", "expected"),
    [
        (Against.NOTHING, runs([59.0, 61.0], [1.0]), [59.0, 61.0]),
        (Against.RATIO, runs([30, 20, 90], [10, 20, 30]), [3.0, 1.0, 3.0]),
        (Against.RATIO, runs([20, 90], [0, 30]), [float("inf"), 3.0]),
        (Against.RATIO, runs([20, 90], [10]), [2.0]),
        (Against.CHEAPER, runs([20.0], [400.0]), [20.0]),
        (Against.DIFFERENCE, runs([5.0], [0.0]), [5.0]),
        (Against.STREAMS, [one("penstock", v, streams=s) for s, v in ((4000, 9.0), (400, 10.0), (1000, 12.0))], [1.2]),
        (Against.STREAMS, [one("penstock", 9.0, streams=400)], []),
        (
            Against.WORKERS,
            [one("penstock", v, r, workers=w) for r, w, v in ((0, 2, 21), (0, 1, 20), (1, 1, 9))],
            [1.05],
        ),
        (Against.RATIO, runs([20.0], [10.0], "envoy"), []),
        (Against.RATIO, [], []),
    ],
)
def test_a_repeat_gives_one_value(against: Against, measured: list[Measured], expected: list[float]) -> None:
    assert [value.value for value in values(bar(against), measured)] == pytest.approx(expected)


def test_others_are_compared_with_what_is_alike() -> None:
    measured = [one(p, v, streams=s) for p, v, s in (("penstock", 30, 50), ("nginx", 10, 400), ("nginx", 15, 50))]
    assert [value.value for value in values(bar(Against.RATIO), measured)] == [2.0]


@pytest.mark.parametrize(
    ("ours", "limit", "aim", "holds", "reached"),
    [
        ([20, 20, 90], 2.0, 1.0, True, False),
        ([30, 20, 90], 2.0, None, False, False),
        ([10, 10, 90], 2.0, 1.0, True, True),
    ],
)
def test_held_by_the_median(ours: list[float], limit: float, aim: float | None, holds: bool, reached: bool) -> None:
    judged = verdict(bar(Against.RATIO, limit, aim), runs(ours, [10, 10, 10]))
    assert judged is not None
    assert (judged.holds, judged.reached) == (holds, reached)
    assert judged.what == "x, against nginx"
    assert judged.bar == "≤ 2 ×"
    assert judged.aim == ("" if aim is None else "≤ 1 ×")


def test_how_much_cheaper_is_a_least() -> None:
    judged = verdict(bar(Against.CHEAPER, 15.0, 50.0), runs([10.0], [200.0]))
    assert judged is not None
    assert (judged.measured, judged.bar, judged.holds, judged.reached) == ("20 ×", "≥ 15 ×", True, False)


def test_growth_says_between_what() -> None:
    growth = Bar(phase="plain", figure="x_ms", title="x", against=Against.STREAMS, limit=1.25, streams=(400, 4000))
    judged = verdict(growth, [one("penstock", v, streams=s) for v, s in ((10.0, 400), (11.0, 4000), (50.0, 50))])
    assert judged is not None
    assert judged.measured == "1.1 ×; 400, 4,000 streams"


def test_noise_is_told_and_kept() -> None:
    measured = [one("penstock", 20), one("nginx", 10, others=0.4), one("penstock", 40, 1), one("nginx", 10, 1)]
    assert [noisy(each) for each in measured] == [False, True, False, False]
    judged = verdict(bar(Against.RATIO, 3.5), measured)
    assert judged is not None
    assert judged.measured == "3 × (2 × – 4 ×); 1 of 2 noisy"


def could_not(proxy: str, repeat: int = 0) -> Measured:
    return Measured(scenario="plain", proxy=proxy, repeat=repeat, verdicts=(failed("it did not start"),))


@pytest.mark.parametrize(
    ("against", "measured", "said"),
    [
        (
            Against.RATIO,
            [could_not("penstock"), one("nginx", 1)],
            "nothing; penstock failed in 1 of 1: it did not start",
        ),
        (
            Against.RATIO,
            [*runs([10.0], [10.0]), could_not("penstock", 1), one("nginx", 10, 1)],
            "1 ×; penstock failed in 1 of 2: it did not start",
        ),
        (Against.NOTHING, [could_not("penstock")], "nothing; penstock failed in 1 of 1: it did not start"),
        (Against.RATIO, [one("penstock", 1), could_not("nginx")], None),
        (Against.RATIO, [could_not("penstock")], None),
    ],
)
def test_what_could_not_be_measured_of_the_gateway_holds_nothing(
    against: Against, measured: list[Measured], said: str | None
) -> None:
    judged = verdict(bar(against, 100.0, 50.0, other="nginx" if against is Against.RATIO else ""), measured)
    assert (judged and judged.measured) == said
    assert judged is None or not (judged.holds or judged.reached)


def test_a_control_that_failed_is_told() -> None:
    judged = verdict(bar(Against.DIFFERENCE, other="control"), [one("penstock", 1), could_not("control")])
    assert judged is not None
    assert (judged.measured, judged.holds) == ("nothing; control failed in 1 of 1: it did not start", False)


def test_what_must_be_known_beside_a_figure_is_said_with_it() -> None:
    figures = {"x_ms": 1.0, "share_of_rate": 0.8, "share_of_capacity": 0.27}
    ours = Measured(scenario="plain", proxy="penstock", repeat=0, figures=figures)
    theirs = msgspec.structs.replace(one("nginx", 1.0), verdicts=(wrong("9 × status 502"),))
    judged = verdict(bar(Against.RATIO), [ours, theirs])
    assert judged is not None
    assert judged.measured == (
        "1 ×; down to 80 % of the events that were due; at 27 % of what a core carries; "
        "not every answer of nginx was right"
    )


def test_nothing_to_judge_by_is_no_verdict() -> None:
    assert verdict(bar(Against.RATIO), runs([1.0], [1.0], "envoy")) is None
    assert verdicts([]) == ()


def test_errors_of_the_gateway_are_judged_and_those_of_others_are_not() -> None:
    figures = {"errors": 2.0}
    ours = Measured(scenario="plain", proxy="penstock", repeat=0, figures=figures)
    theirs = Measured(scenario="plain", proxy="litellm", repeat=0, figures=figures)
    assert [(judged.measured, judged.holds) for judged in verdicts([ours, theirs])] == [("2", False)]


def test_no_error_is_not_enough_where_something_could_not_be_measured() -> None:
    judged = verdicts([one("penstock", 1.0), could_not("penstock", 1)])[-1]
    assert (judged.measured, judged.holds) == ("0; 1 of 2 could not be measured", False)


def test_what_is_made_to_fail_is_no_error_of_the_gateway() -> None:
    ours = Measured(scenario="x", proxy="penstock", repeat=0, figures={"errors": 2.0}, bands=(Band("down", 1.0, 2.0),))
    assert verdicts([ours])[-1].holds


def test_a_failure_is_kept_with_its_reason() -> None:
    broken = Measured(scenario="plain", proxy="portkey", repeat=0, verdicts=(failed("no request came through"),))
    assert failure(broken) == "no request came through"
    assert failure(one("nginx", 1.0)) == ""


def test_every_aim_lies_beyond_its_bar() -> None:
    for each in BARS:
        if each.aim is not None:
            assert each.allows(each.aim, each.limit), each.what
    assert len({each.what for each in BARS}) == len(BARS)
