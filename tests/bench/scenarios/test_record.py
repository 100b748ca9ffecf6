"""What is stored of a run says no more than was measured."""

import pytest

from bench.load.histogram import Histogram
from bench.load.results import Results, Tally
from bench.scenarios.measure import Moment, Played
from bench.scenarios.record import markdown, record
from bench.scenarios.scenario import load
from bench.scenarios.vitals import Vitals

MOMENT = Moment(at=0, events=100, handshakes=0, open=4, late_p99=None, vitals={"supervisor": Vitals(0.1, 40.0, 20)})
PLAYED = Played(
    grain=0.1,
    results=Results(),
    tallies={(0, ""): (Tally(asked=1), Histogram())},
    attempts={},
    moments={0: MOMENT},
    clients=("",),
    took=1.0,
)


@pytest.mark.parametrize(
    ("name", "streams", "has", "has_not"),
    [
        (
            "chat-400",
            400,
            {"cpu_us_per_event", "events_per_second", "memory_mb"},
            {"cpu_us_per_request", "ttft_p50_ms"},
        ),
        ("plain-saturation", 0, {"failed"}, {"cpu_us_per_event"}),
        ("mixed-regional-failure", 0, {"failed"}, {"cpu_us_per_event", "cpu_us_per_request"}),
        ("handshake-storm", 0, {"failed"}, {"cpu_us_per_event", "cpu_us_per_request"}),
    ],
)
def test_figures_are_of_what_there_was(name: str, streams: int, has: set[str], has_not: set[str]) -> None:
    scenario = load(name)
    stored = record(name, scenario, PLAYED, ())
    assert has <= set(stored.figures)
    assert not has_not & set(stored.figures)
    assert (stored.streams, stored.scenario, len(stored.seconds)) == (streams, name, int(scenario.duration))
    assert not stored.histograms
    text = markdown(stored, {"status 503": 2})
    assert text.startswith(f"## {name}: {scenario.title}\n\n{scenario.story}")
    assert "0 failed, 0 broken; 2 × status 503." in text
