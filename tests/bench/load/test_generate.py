"""A job over real sockets: what is asked for is asked, what comes back is counted once, seconds and totals agree."""

import msgspec
import pytest

from bench.load.generate import generate, generating
from bench.load.job import Arrivals, Identity, Job, Mix
from bench.load.outcome import Outcome
from bench.mock.process import MockProcess
from bench.report.stored import Second
from certs.pki import Pki

KEYED = Identity(client="turbines", api_key="bench")
STREAM = Mix(kind="stream", model="paced", tokens=(4, 8), interval=0.005)


@pytest.fixture
def job(mock: MockProcess, pki: Pki) -> Job:
    return Job(
        url=mock.urls["swc"],
        root=str(pki.server_root),
        identities=(KEYED,),
        mixes=(STREAM,),
        arrivals=Arrivals(kind="poisson", rate=60.0),
        duration=1.1,
        warm_up=0.2,
        connections=50,
    )


def consistent(outcome: Outcome) -> None:
    """All that was due has one end, whichever way it is looked at."""
    results = outcome.results
    ends = sum(second.answered + second.refused + second.failed + second.broken for second in outcome.timeline)
    ends += sum(int(second.more["left"]) for second in outcome.timeline)
    assert ends == sum(second.asked for second in outcome.timeline) > 0
    assert results.ttft.count <= results.first_byte.count


def test_an_open_loop_of_mixed_requests(job: Job) -> None:
    mixes = (
        msgspec.structs.replace(STREAM, share=0.4),
        Mix(kind="plain", share=0.2, prompt=(1, 60_000), tokens=(1, 40)),
        Mix(kind="embeddings", share=0.2, prompt=(10, 400)),
        Mix(kind="handshake", share=0.1),
        msgspec.structs.replace(STREAM, share=0.1, leaves=1.0, leave_after=3),
    )
    watched: list[Second] = []
    outcome = generate(msgspec.structs.replace(job, mixes=mixes), watched.append)
    consistent(outcome)
    assert not outcome.results.errors
    assert not outcome.unfinished
    assert outcome.results.left > 0
    assert outcome.results.answers > 0
    assert [second.at for second in watched] == [0, 1]
    assert outcome.own.cpu_us_per_event > 0
    assert set(outcome.histograms()) == {
        "handshake", "waited", "first_byte", "ttft", "between_events", "last_byte", "late",
    }  # fmt: skip


def test_a_closed_loop_in_steps_counts_what_comes_between_them(job: Job) -> None:
    arrivals = Arrivals(kind="closed", clients=3, ramp=0.0)
    with generating(msgspec.structs.replace(job, arrivals=arrivals, mixes=(Mix(kind="plain"),))) as load:
        load.run(0.2)
        load.fresh()
        load.run(0.2)
        load.finish()
        outcome = load.outcome()
    consistent(outcome)
    assert not outcome.results.errors
    assert outcome.seconds < 5.0
    assert outcome.rates.answers > 0
