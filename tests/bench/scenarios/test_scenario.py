"""A scenario's file: what happens when, and mistakes in it named by file and key."""

from pathlib import Path

import pytest

from bench.failure import BenchError
from bench.load.job import Identity
from bench.peers.peer import Access
from bench.scenarios.scenario import FAILURES, job, known, load, mock_config
from bench.scenarios.schedule import bands, lasting, steps
from bench.scenarios.structs import pool
from certs.pki import Pair, Pki

ACCESS = Access(url="https://localhost:1", root="root.pem")
BACKEND = '[[backends]]\nname = "swc"\nregion = "swedencentral"\n'
LOAD = "[[load]]\nrate = 10.0\n"
TOP = 'title = "t"\nstory = "s"\nduration = "10s"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", known())
def test_those_that_come_with_the_bench_are_valid_and_have_bars(name: str) -> None:
    scenario = load(name)
    assert scenario.bars
    assert job(scenario, ACCESS, ()).mixes
    assert lasting(scenario, 10.0).duration == 10.0


@pytest.mark.parametrize("name", known(FAILURES))
def test_failures_are_played_in_half_a_minute(name: str) -> None:
    scenario = load(name)
    assert scenario.duration <= 30
    assert scenario.arrivals is None


def test_what_was_asked_for_is_there() -> None:
    assert len(known(FAILURES)) >= 16
    assert set(known()) > {
        *("chat-200", "chat-400", "chat-1000", "chat-4000", "plain-saturation", "embeddings-bursts"),
        *("handshake-storm", "slow-readers", "mixed-regional-failure", "soak"),
    }


def test_a_load_at_rates_becomes_a_job(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, TOP + BACKEND + LOAD + '[[load]]\nclient = "x"\nrate = 30.0\nstreams = 0.0\n'))
    keys = tuple(Identity(client=name, api_key=name) for name in ("turbines", "x"))
    made = job(scenario, ACCESS, keys)
    assert made.url == "https://localhost:1"
    assert (made.arrivals.kind, made.arrivals.rate) == ("constant", 40.0)
    assert [(mix.kind, mix.share, mix.identities) for mix in made.mixes] == [
        ("stream", 5.0, ("turbines",)),
        ("plain", 5.0, ("turbines",)),
        ("plain", 30.0, ("x",)),
    ]
    assert made.mixes[0].tokens == (16, 16)
    assert made.mixes[0].interval == 0  # the backend jitters


POOL = """
[identities]
certificates = 2
keys = 1
[arrivals]
kind = "closed"
clients = 8
[[backends]]
name = "swc"
region = "swedencentral"
between_tokens = "25ms"
jitter = "0s"
[[load]]
by = "certificates"
streams = 1.0
tokens = [10, 20]
leaves = 0.5
[[load]]
kind = "embeddings"
share = 3.0
[[load]]
client = "x"
kind = "handshake"
"""


def test_a_pool_of_clients_becomes_a_job_and_a_mock(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, TOP + POOL))
    assert scenario.needs == {"certificates", "keys"}
    assert pool(scenario)["certificates"] == ("device-1", "device-2")
    everyone = tuple(Identity(client=name) for name in ("device-1", "device-2", "service-1", "x"))
    made = job(scenario, ACCESS, everyone)
    assert [(mix.kind, mix.share, mix.interval, mix.identities) for mix in made.mixes] == [
        ("stream", 1.0, 0.025, ("device-1", "device-2")),
        ("embeddings", 3.0, 0.0, ("device-1", "device-2", "service-1")),
        ("handshake", 1.0, 0.0, ("x",)),
    ]
    alone = job(scenario, ACCESS, (Identity(client="turbine-7"),))  # as with a peer that knows one client
    assert {mix.identities for mix in alone.mixes} == {()}
    pki = Pki(tmp_path, {"mock": Pair(tmp_path / "mock.pem", tmp_path / "mock.key")})
    (instance,) = mock_config(scenario, pki).instances
    assert [deployment.name for deployment in instance.deployments] == ["gpt-4o", "text-embedding-3-small"]


def test_a_scenario_can_be_shorter(tmp_path: Path) -> None:
    event = '[[events]]\nat = "2s"\nuntil = "9s"\non = "2s"\noff = "1s"\nfault = "reset"\n'
    bar = "[[bars]]\nsays = 'x'\nmetric = 'failed'\nsince = '4s'\nat_most = 1.0\n"
    scenario = lasting(load(written(tmp_path, TOP + BACKEND + LOAD + event + bar)), 5.0)
    assert [(band.since, band.until) for band in bands(scenario)] == [(1, 3), (4, 4.5)]
    assert float(scenario.bars[0].since) == 2


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
        ("[[events]]\nat = '30s'\nfault = 'reset'", "events[0]: is not within the scenario"),
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
        ("[[load]]\nrate = 1.0\nreads = nan", "load[1]: out of range"),
        ("[[load]]\nrate = 1.0\ntokens = 100000000", "load[1]: out of range"),
        ("[[events]]\nat = '1s'\nfault = 'reset'\non = '0.001s'\noff = '1s'", "events[0]: comes and goes too fast"),
        ("[[bars]]\nsays = 'x'\nmetric = 'failed'\nat_most = nan", "bars[0]: its limit is no number"),
        ("[[load]]\nshare = 0.5", "load[1].rate: missing; give requests a second"),
        ("[[load]]\nrate = 1.0\nby = 'keys'", "load[1].by: there are no keys in the pool"),
        ("[[load]]\nrate = 1.0\ntokens = [5, 1]", "load[1]: out of range"),
        ("[arrivals]\nkind = 'poisson'\nrate = 5.0", "load[0].rate: the rate is that of [arrivals]"),
        ("[arrivals]\nkind = 'replay'", 'arrivals.log: does not go with kind "replay"'),
        ("[arrivals]\nkind = 'sometimes'", 'arrivals.kind: "sometimes"; one of: '),
        ("[[bars]]\nsays = 'x'\nmetric = 'late_p99_ms'\nat_most = 1.0", "bars[0].metric: backends that jitter"),
        ("[[bars]]\nsays = 'x'\nmetric = 'failed'\nat_most = 1.0\nsince = '50ms'", "bars[0].since: is between two"),
        (
            "[[bars]]\nsays = 'x'\nmetric = 'handshake_p99_ms'\nat_most = 1.0\nsince = '1s'",
            "bars[0]: handshake_p99_ms is of the whole scenario",
        ),
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
