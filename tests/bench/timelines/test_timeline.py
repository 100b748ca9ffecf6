"""A timeline's file: what happens when, and mistakes in it named by file and key."""

from pathlib import Path

import pytest

from bench.failure import BenchError
from bench.timelines.timeline import bands, known, load, steps

BACKEND = '[[backends]]\nname = "swc"\nregion = "swedencentral"\n'
LOAD = "[[load]]\nrate = 10.0\n"
TOP = 'title = "t"\nstory = "s"\nduration = "10s"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", known())
def test_those_that_come_with_the_bench_are_valid_and_have_bars(name: str) -> None:
    timeline = load(known()[name])
    assert timeline.bars
    assert timeline.events or any(backend.url for backend in timeline.backends) or timeline.bars
    assert timeline.duration <= 30


def test_there_are_eleven_at_least() -> None:
    assert len(known()) >= 11


def test_faults_come_and_go(tmp_path: Path) -> None:
    event = '[[events]]\nat = "2s"\nuntil = "9s"\non = "2s"\noff = "1s"\nfault = "reset"\nbackend = "swc"\n'
    timeline = load(written(tmp_path, TOP + BACKEND + LOAD + event))
    assert [(step.at, step.off) for step in steps(timeline)] == [
        (2, False),
        (4, True),
        (5, False),
        (7, True),
        (8, False),
        (9, True),
    ]
    assert [(band.since, band.until) for band in bands(timeline)] == [(2, 4), (5, 7), (8, 9)]
    assert timeline.calm_until == 2


def test_what_is_done_to_the_gateway_is_a_moment(tmp_path: Path) -> None:
    event = '[[events]]\nat = "2s"\ngateway = "reload"\n'
    timeline = load(written(tmp_path, TOP + BACKEND + LOAD + event))
    assert bands(timeline) == [("reload", 2, 2)]
    assert [(step.at, step.off) for step in steps(timeline)] == [(2, False)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[[events]]\nat = 3\nfault = 'reset'", "events[0].at: found a number"),
        ("[[events]]\nat = '3s'\nfault = 'meteor'", 'events[0].fault: "meteor" is unknown'),
        (
            "[[events]]\nat = '3s'\nfault = 'reset'\nbackend = 'atlantis'",
            'events[0].backend: "atlantis" is not defined',
        ),
        ("[[events]]\nat = '3s'\nfault = 'error'\nstatus = 99", "events[0]: status is from 200 to 599"),
        ("[[events]]\nat = '30s'\nfault = 'reset'", "events[0]: is not within the timeline"),
        ("[[events]]\nat = '3s'\nfault = 'reset'\non = '1s'", "events[0]: on and off go together"),
        ("[[events]]\nat = '3s'", "events[0]: neither or both of fault and gateway"),
        ("[[bars]]\nsays = 'x'\nmetric = 'beauty'\nat_most = 1.0", 'bars[0].metric: "beauty"'),
        ("[[bars]]\nsays = 'x'\nmetric = 'failed'", "bars[0]: 0 limits"),
        ("[[bars]]\nsays = 'x'\nmetric = 'share'\nat_most = 1.0", "bars[0].backend: share is of one backend"),
        (
            "[[bars]]\nsays = 'x'\nmetric = 'failed'\nat_most = 1.0\nclient = 'y'",
            'bars[0].client: "y" asks for nothing',
        ),
        ("[[bars]]\nsays = 'x'\nmetric = 'failed'\nat_most = 1.0\nsince = '11s'", "bars[0]: is not within"),
        ("[[backend]]", "backend: unknown key; did you mean backends?"),
        ("[[load]]\nrate = 0.0", "load[1]: out of range"),
        ("x = ", "is not valid TOML"),
    ],
)
def test_mistakes_are_named_by_file_and_key(tmp_path: Path, more: str, said: str) -> None:
    path = written(tmp_path, TOP + BACKEND + LOAD + more)
    with pytest.raises(BenchError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        load(tmp_path / "none.toml")
