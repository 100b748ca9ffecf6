"""The table judges what it should, by the median of pairs, and says when there is nothing to judge by."""

import pytest

from bench.compare.report import BARS, Against, Bar, Runs, judge, table

RATIO = Bar("cost", Against.PEER_RATIO, 2.0)
OVER = Bar("time", Against.PEER_DIFFERENCE, 2.0)
DIRECT = Bar("time", Against.DIRECT_DIFFERENCE, 10.0)
ALONE = Bar("memory", Against.NOTHING, 60.0)


def runs(figure: str, ours: list[float], peer: list[float], direct: list[float] | None = None) -> Runs:
    found = {"penstock": [{figure: v} for v in ours], "nginx": [{figure: v} for v in peer]}
    return found if direct is None else found | {"direct": [{figure: v} for v in direct]}


@pytest.mark.parametrize(
    ("bar", "given", "median", "holds"),
    [
        (RATIO, runs("x", [30, 20, 90], [10, 20, 30]), 3.0, False),
        (RATIO, runs("x", [20, 20, 90], [10, 20, 30]), 2.0, True),
        (RATIO, runs("x", [20, 90], [0, 30]), 3.0, False),
        (OVER, runs("x", [5.0], [4.0]), 1.0, True),
        (OVER, runs("x", [5.0], [0.0]), 5.0, False),
        (DIRECT, runs("x", [11.0], [50.0], [1.0]), 10.0, True),
        (ALONE, runs("x", [59.0, 61.0, 62.0], [1.0]), 61.0, False),
    ],
)
def test_judged_by_the_median_of_pairs(bar: Bar, given: Runs, median: float, holds: bool) -> None:
    judged = judge(bar, "x", given, "nginx")
    assert judged is not None
    assert (judged.median, judged.holds) == (median, holds)


@pytest.mark.parametrize(
    ("bar", "given", "peer"),
    [
        (RATIO, {"penstock": [{"x": 1.0}]}, None),
        (DIRECT, runs("x", [1.0], [1.0]), "nginx"),
        (RATIO, runs("y", [1.0], [1.0]), "nginx"),
        (RATIO, {}, "nginx"),
    ],
)
def test_nothing_to_judge_by(bar: Bar, given: Runs, peer: str | None) -> None:
    assert judge(bar, "x", given, peer) is None


def test_a_table_has_a_row_for_every_figure_and_a_verdict_where_there_is_a_bar() -> None:
    figure = "cpu_us_per_event"
    given = runs(figure, [30.0], [10.0])
    given["penstock"][0]["late_p99_ms"] = 1.5
    rows = table(given, "nginx").splitlines()
    assert len({row.count("|") for row in rows}) == 1
    assert f"| {BARS[figure].title} | 30.00 | 10.00 | **3.00** (3.00–3.00) | ≤ 2.2 × nginx | **missed** |" in rows
    assert any(row.startswith("| late p99 ms | 1.50 | – |") for row in rows)
