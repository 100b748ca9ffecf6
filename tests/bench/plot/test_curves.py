"""Curves and bars are well-formed, show ranges, and say what they show."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from bench.plot import Bar, Curve, Plane, Point, bars, curves, look

PLANE = Plane(title="CPU per <event>", unit="µs", along="streams", across="logarithmic")
AMOUNTS = st.floats(0, 1e12)
PRINTABLE = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40)


def titles(figure: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in figure.iter("title")]


def test_a_point_says_its_place_its_value_and_its_range() -> None:
    figure = ElementTree.fromstring(
        curves(PLANE, [Curve("<nginx>", [Point(50, 36.0, 30.0, 40.0), Point(4000, 20.0)], look(0))])
    )
    assert titles(figure) == ["<nginx>, 50: 36 µs (30 to 40)", "<nginx>, 4000: 20 µs"]
    assert len([one for one in figure.iter("path") if one.attrib.get("class") == "range"]) == 1


def test_shares_of_all_are_said_as_such() -> None:
    plane = Plane(title="TTFT", unit="ms", along="share", across="nines", nines=3)
    figure = ElementTree.fromstring(curves(plane, [Curve("a", [Point(0.999, 12.0)], look(1), bare=[Point(0.0, 3.0)])]))
    assert titles(figure) == ["a, 99.9 %: 12 ms"]
    assert "99.9 %" in [one.text for one in figure.iter("text")]


def test_what_was_not_measured_has_a_row_and_no_bar() -> None:
    figure = ElementTree.fromstring(
        bars("t", "ms", [Bar(name="a", value=2.0, least=1.0, most=3.0), Bar(name="b", value=None)])
    )
    assert titles(figure) == ["a: 2 (1 to 3)", "b: not measured"]
    assert len([one for one in figure.iter("rect") if "style" in one.attrib]) == 1


@given(st.lists(st.tuples(PRINTABLE, st.none() | AMOUNTS, AMOUNTS, AMOUNTS), max_size=9), st.booleans())
def test_any_rows_make_a_chart(rows: list[tuple[str, float | None, float, float]], logarithmic: bool) -> None:
    drawn = [Bar(name=name, value=value, least=least, most=most) for name, value, least, most in rows]
    ElementTree.fromstring(bars("t", "u", drawn, logarithmic=logarithmic))


@given(
    st.lists(st.builds(Point, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS), max_size=9),
    st.sampled_from(("even", "logarithmic", "nines")),
    st.booleans(),
)
def test_any_points_make_a_chart(points: list[Point], across: str, logarithmic: bool) -> None:
    plane = Plane(title="t", unit="u", along="a", across=across, logarithmic=logarithmic)  # type: ignore[arg-type]
    ElementTree.fromstring(curves(plane, [Curve("one", points, look(3)), Curve("none", [], look(9))]))


def test_no_two_of_many_look_the_same() -> None:
    looks = [look(number) for number in range(32)]
    assert len({(one.colour, one.dash) for one in looks}) == 32
    assert len({one.dash for one in looks[:8]}) == 8
