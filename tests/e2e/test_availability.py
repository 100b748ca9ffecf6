"""Backends that throttle and fail, before two workers: what one worker finds holds for both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, split

BREAKER = """
[routing.breaker]
failures = 3
open_for = "1s"
open_at_most = "1s"
retry_after_at_most = "1s"
"""


@pytest.fixture
def two_workers(tmp_path: Path, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    mock.forget()
    with gateway(tmp_path, pki, mock, config_text(pki, mock, more=BREAKER)) as running:
        yield running
    mock.clear()


def test_what_one_worker_finds_holds_for_all(two_workers: Gateway, mock: MockProcess) -> None:
    """A breaker that opened, then a 429 of a day: both kept to by both workers, announced, and over when they are."""
    mock.fault("error", instance="swc", status=500)
    answered = [split(two_workers.raw(ask()))[0] for _ in range(20)]
    assert answered == [200] * 20
    assert 3 <= len(mock.received("swc")) <= 6  # three in a row open it, at one of two workers
    mock.clear()
    wait_for(lambda: b"backend: swc" in two_workers.raw(ask()))
    assert wait_for(lambda: "deployment swc/gpt-4o is used again" in two_workers.log)

    mock.fault("throttle", instance="swc", retry_after=86_400)
    mock.forget()
    wait_for(lambda: b"backend: frc" in two_workers.raw(ask()) and mock.received("swc"))
    wait_for(lambda: "throttled_long: deployment swc/gpt-4o asks to be left alone for 86400 s" in two_workers.log)
    mock.clear()
    wait_for(lambda: b"backend: swc" in two_workers.raw(ask()))
    wait_for(lambda: "throttled_long_over" in two_workers.log)
    assert len(mock.received("swc")) < 10
    assert two_workers.log.count("throttled_long: ") == 1
