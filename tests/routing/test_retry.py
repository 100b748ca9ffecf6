"""When a request may be tried again: the whole table of outcomes and of what a request is."""

from itertools import product

import pytest

from proxy.config.structs import Routing
from proxy.routing.outcome import Outcome
from proxy.routing.retry import may_retry

DEFAULT = Routing()
CONFIGURED = Routing(retry_first_byte_timeout=True)

ALWAYS = {
    Outcome.CONNECT_FAILED,
    Outcome.CONNECT_TIMEOUT,
    Outcome.THROTTLED,
    Outcome.MISCONFIGURED,
    Outcome.CREDENTIAL_REJECTED,
    Outcome.NO_CREDENTIAL,
}
IF_SAFE = {Outcome.BACKEND_ERROR, Outcome.RESET_BEFORE_HEAD}
IF_CONFIGURED = {Outcome.FIRST_BYTE_TIMEOUT, Outcome.ANSWER_TIMEOUT}


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize(("inference", "bytes_sent", "whole", "configured"), [*product((False, True), repeat=4)])
def test_the_whole_table(outcome: Outcome, inference: bool, bytes_sent: bool, whole: bool, configured: bool) -> None:
    if bytes_sent and not whole:
        allowed = False  # a part of its body is gone
    elif outcome in ALWAYS:
        allowed = True
    elif outcome in IF_SAFE:
        allowed = inference or not bytes_sent
    else:
        allowed = outcome in IF_CONFIGURED and configured and inference
    settings = CONFIGURED if configured else DEFAULT
    assert may_retry(outcome, inference=inference, bytes_sent=bytes_sent, whole=whole, settings=settings) is allowed


def test_by_default_a_backend_that_may_be_thinking_is_not_paid_twice() -> None:
    assert not may_retry(Outcome.FIRST_BYTE_TIMEOUT, inference=True, bytes_sent=True, whole=True, settings=DEFAULT)


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.CLIENT_ERROR, Outcome.BROKEN_MID_ANSWER, Outcome.CANCELLED])
def test_what_the_client_has_seen_or_caused_is_never_repeated(outcome: Outcome) -> None:
    assert not may_retry(outcome, inference=True, bytes_sent=False, whole=True, settings=CONFIGURED)
