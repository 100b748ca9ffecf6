"""A trial finds out whether a peer works: before a real mock, with the plainest of the peers."""

import pytest

from bench.peers.command import Options, described, run
from bench.peers.known import PEERS
from bench.peers.passthrough import PASSTHROUGH
from bench.peers.trial import Tried, trial


def test_the_pass_through_works() -> None:
    tried = trial(PASSTHROUGH, streams=2)
    assert tried.works, str(tried)
    assert (tried.answers, tried.streams) == (12, 2)


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (Tried(answers=4, streams=2, at_once=0, wrong={}), "works: 4 plain answers, 2 streams, events one by one"),
        (Tried(answers=4, streams=2, at_once=2, wrong={}), "does not work: 2 of 2 streams came all at once"),
        (Tried(answers=3, streams=2, at_once=0, wrong={"status 500": 1}), "does not work: 1 × status 500"),
        (Tried(answers=0, streams=0, at_once=0, wrong={}), "does not work: nothing was answered"),
    ],
)
def test_what_a_trial_says(tried: Tried, said: str) -> None:
    assert str(tried) == said


def test_peers_are_listed_with_what_they_lack(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Options()) == 0
    listed = capsys.readouterr().out
    for name in PEERS:
        assert f"\n{name} " in f"\n{listed}"
    assert "lacks TLS towards clients; client certificates" in described(PEERS["portkey"])
