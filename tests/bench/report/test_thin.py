"""Long runs have few places, and no peak is lost."""

from hypothesis import given
from hypothesis import strategies as st

from bench.report.stored import Second
from bench.report.thin import MOST, names, thin

SECONDS = st.lists(
    st.builds(
        Second,
        at=st.integers(-(10**12), 10**12) | st.integers(0, 2000),
        asked=st.integers(0, 1000),
        ttft_p99=st.none() | st.floats(0, 1e6),
        more=st.dictionaries(st.sampled_from(("memory_mb", "cpu_share", "worker_1_memory_mb")), st.floats(0, 1e6)),
    ),
    max_size=50,
)


@given(SECONDS)
def test_any_run_has_few_places_and_keeps_its_peaks(seconds: list[Second]) -> None:
    found = thin(seconds)
    assert len(found.places) <= MOST
    assert found.starts == sorted(found.starts)
    known = [one.ttft_p99 for one in seconds if one.ttft_p99 is not None]
    shown = [value for value in found.most(lambda one: one.ttft_p99) if value is not None]
    assert max(shown, default=None) == max(known, default=None)
    assert set(names([found])) == {name for one in seconds for name in one.more}
    for name in names([found]):
        assert len(found.more(name)) == len(found.places)


def test_half_an_hour() -> None:
    seconds = [
        Second(at=at, asked=100, ttft_p99=900.0 if at == 777 else 50.0, more={"cpu_share": 0.5}) for at in range(1800)
    ]
    found = thin(seconds)
    assert found.width == 8
    assert found.end == 1800
    assert set(found.mean(lambda one: one.asked)) == {100}
    assert [
        start for start, value in zip(found.starts, found.most(lambda one: one.ttft_p99), strict=True) if value == 900
    ] == [776]
    assert set(found.more("cpu_share")) == {0.5}
