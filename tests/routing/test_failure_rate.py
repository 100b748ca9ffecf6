"""The share of failures over a sliding window, against a count of every single answer."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Breaker as Settings
from proxy.config.structs import Seconds
from proxy.routing.failure_rate import FailureRate

SETTINGS = Settings(ratio=0.5, window=Seconds(10), volume=4)


@given(st.lists(st.tuples(st.floats(0, 15), st.booleans()), max_size=60))
def test_it_counts_all_of_nine_tenths_of_the_window_and_nothing_that_has_left_it(
    steps: list[tuple[float, bool]],
) -> None:
    rate = FailureRate()
    now = 5.0
    answers: list[tuple[float, bool]] = []
    for wait, failed in steps:
        now += wait
        answers.append((now, failed))
        said = rate.count(now, SETTINGS, failed=failed)
        within = [[bad for at, bad in answers if at > now - seconds] for seconds in (9.0, 10.001)]
        verdicts = {
            failed and len(counted) >= 4 and sum(counted) >= len(counted) / 2
            for counted in (within[0] + extra for extra in _suffixes(answers, now))
        }
        assert said in verdicts


def _suffixes(answers: list[tuple[float, bool]], now: float) -> list[list[bool]]:
    """What may still be counted of the window's last tenth: the newest of it, if anything."""
    between = [bad for at, bad in answers if now - 10.001 < at <= now - 9.0]
    return [between[index:] for index in range(len(between) + 1)]


def test_a_window_of_another_length_goes_on_counting() -> None:
    rate = FailureRate()
    for number in range(10):
        rate.count(100.0 + number, SETTINGS, failed=True)
    longer = Settings(ratio=0.5, window=Seconds(60), volume=4)
    said = [rate.count(110.0, longer, failed=True) for _ in range(4)]
    assert said[-1]
