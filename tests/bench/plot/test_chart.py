"""Charts are well-formed, show what they are given where it belongs, and say it in words."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plot import Band, Chart, Series, lines, stacked

CHART = Chart(title="Answers <by> backend", unit="a second", starts=[0, 1, 2], end=3, bands=[Band("swc & frc", 1, 2)])


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_stacked_bars_stand_on_each_other() -> None:
    figure = parsed(stacked(CHART, [Series("a", [10, 20, 0], "c1"), Series("b", [10, 0, None], "bad")]))
    bars = [one for one in figure.iter("rect") if "style" in one.attrib and "rx" not in one.attrib]
    assert len(bars) == 3
    first, second, above = bars
    assert float(above.attrib["y"]) + float(above.attrib["height"]) == pytest.approx(float(first.attrib["y"]))
    assert float(second.attrib["height"]) == pytest.approx(2 * float(first.attrib["height"]), abs=0.2)


def test_lines_break_where_there_is_no_value() -> None:
    figure = parsed(lines(CHART, [Series("p99", [1.0, None, 3.0], "c2")]))
    path = next(one for one in figure.iter("path") if "h0.1" in one.attrib["d"])
    assert path.attrib["d"].count("M") == 2
    assert "L" not in path.attrib["d"]


def test_what_is_shown_is_said_and_escaped() -> None:
    markup = lines(CHART, [Series("<p99>", [1.0, 2.0, 3.0], "c1"), Series("none", [None, None, None], "c2")])
    figure = parsed(markup)
    svg = next(one for one in figure.iter("svg") if one.attrib.get("role") == "img")
    assert svg.attrib["aria-label"] == "Answers <by> backend, a second. <p99>: from 1 to 3; none: no values"
    assert [one.text for one in figure.iter("text") if one.attrib.get("class") == "what"] == ["swc & frc"]
    (band,) = (one for one in figure.iter("rect") if one.attrib.get("class") == "band")
    assert float(band.attrib["width"]) > 100


def test_a_moment_has_an_edge_and_no_breadth() -> None:
    chart = Chart(title="t", unit="u", starts=[0], end=1, bands=[Band("kill", 0.5, 0.5)])
    figure = parsed(stacked(chart, [Series("a", [1], "c1")]))
    assert not [one for one in figure.iter("rect") if one.attrib.get("class") == "band"]
    assert len([one for one in figure.iter("line") if one.attrib["class"] == "edge"]) == 1


@given(
    st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=30),
    st.booleans(),
    st.lists(st.tuples(st.text(max_size=50), st.floats(-5, 50), st.floats(-5, 50)), max_size=5),
)
def test_any_figures_make_a_chart(
    values: list[float | None], logarithmic: bool, bands: list[tuple[str, float, float]]
) -> None:
    chart = Chart(
        title="t",
        unit="u",
        starts=[float(n) for n in range(len(values))],
        end=float(len(values)),
        bands=[Band("".join(c for c in what if c.isprintable()), since, until) for what, since, until in bands],
        logarithmic=logarithmic,
    )
    for figure in (
        parsed(lines(chart, [Series("a", values, "c1")])),
        parsed(stacked(chart, [Series("a", values, "c1")])),
    ):
        sizes = ("x", "y", "width", "height")
        drawn = (one for one in figure.iter() if one.tag in ("rect", "text"))
        numbers = [float(value) for one in drawn for name, value in one.attrib.items() if name in sizes]
        assert all(math.isfinite(number) for number in numbers)
