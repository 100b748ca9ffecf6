"""A job over real sockets: what is asked for is asked, what comes back is counted once, seconds and totals agree."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bench.failure import BenchError
from bench.load.generate import generate, generating
from bench.load.job import Arrivals, Identity, Job, Mix
from bench.load.outcome import Outcome, Told
from bench.load.processes import Apart
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
    assert [second.at for second in watched] == [0]
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


def test_processes_share_a_job_and_count_it_once(job: Job) -> None:
    told: list[Told] = []
    watched: list[Second] = []
    shared = msgspec.structs.replace(job, processes=2)
    with generating(shared, watched.append, told=told.append) as load:
        load.run(0.1)
        load.fresh()
        load.run(1.1)
        load.finish()
        outcome = load.outcome()
    consistent(outcome)
    assert not outcome.results.errors
    assert outcome.own.processes == 2
    assert [second.at for second in watched] == [0]
    assert sum(one.due >= load.began for one in told) >= sum(second.asked for second in outcome.timeline)
    assert {one.client for one in told} == {"turbines"}


def test_a_load_apart_goes_on_while_its_parent_acts(job: Job, mock: MockProcess) -> None:
    mock.forget()
    with generating(job, apart=True) as load:
        until = time.monotonic() + 20.0
        while len(mock.received()) < 5:
            assert time.monotonic() < until
        load.fresh()
        assert load.outcome().results.failed == 0


def test_a_process_that_cannot_begin_says_why(job: Job) -> None:
    with pytest.raises(BenchError, match="two"):
        generate(
            msgspec.structs.replace(job, processes=2, mixes=(msgspec.structs.replace(STREAM, identities=("two",)),))
        )


def test_a_process_that_ends_before_its_time_is_missed(job: Job) -> None:
    with generating(job, apart=True) as load:
        assert isinstance(load, Apart)
        load.processes[0].process.kill()
        with pytest.raises(BenchError, match="ended before its time"):
            load.run(30.0)


def test_processes_end_when_their_parent_is_killed(job: Job) -> None:
    script = (
        "import msgspec, sys\n"
        "from bench.load.generate import generating\n"
        "from bench.load.job import Job\n"
        "with generating(msgspec.json.decode(sys.argv[1], type=Job), apart=True) as load:\n"
        "    print(load.processes[0].process.pid, flush=True)\n"
        "    load.run(60.0)\n"
    )
    command = [sys.executable, "-c", script, msgspec.json.encode(job).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20.0
    while (
        Path(f"/proc/{child}/cmdline").exists() and b"bench.load.child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ):
        assert time.monotonic() < until
        time.sleep(0.01)
