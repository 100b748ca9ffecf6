"""Whose fault an answer is, and how long a throttled backend asks to wait."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.outcome import Outcome, Retry, classify_status, error_code, retry_after

WALL = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, None, Outcome.CLIENT_ERROR),
        (400, "content_filter", Outcome.CLIENT_ERROR),
        (400, "DeploymentNotFound", Outcome.CLIENT_ERROR),
        (401, None, Outcome.CREDENTIAL_REJECTED),
        (401, "401", Outcome.CREDENTIAL_REJECTED),
        (402, None, Outcome.CLIENT_ERROR),
        (403, None, Outcome.MISCONFIGURED),
        (403, "content_filter", Outcome.MISCONFIGURED),
        (404, "DeploymentNotFound", Outcome.MISCONFIGURED),
        (404, "deploymentnotfound", Outcome.CLIENT_ERROR),
        (404, "404", Outcome.CLIENT_ERROR),
        (404, None, Outcome.CLIENT_ERROR),
        (405, None, Outcome.CLIENT_ERROR),
        (408, None, Outcome.BACKEND_ERROR),
        (409, None, Outcome.CLIENT_ERROR),
        (413, None, Outcome.CLIENT_ERROR),
        (415, None, Outcome.CLIENT_ERROR),
        (422, None, Outcome.CLIENT_ERROR),
        (429, None, Outcome.THROTTLED),
        (429, "insufficient_quota", Outcome.THROTTLED),
        (499, None, Outcome.CLIENT_ERROR),
        (500, None, Outcome.BACKEND_ERROR),
        (502, None, Outcome.BACKEND_ERROR),
        (503, "DeploymentNotFound", Outcome.BACKEND_ERROR),
        (504, None, Outcome.BACKEND_ERROR),
        (599, None, Outcome.BACKEND_ERROR),
    ],
)
def test_whose_fault_a_status_is(status: int, code: str | None, outcome: Outcome) -> None:
    assert classify_status(status, code) is outcome


@pytest.mark.parametrize(
    ("outcome", "reason", "breaker", "retry"),
    [
        (Outcome.OK, "ok", False, Retry.NEVER),
        (Outcome.CLIENT_ERROR, "client_error", False, Retry.NEVER),
        (Outcome.THROTTLED, "throttled", False, Retry.ALWAYS),
        (Outcome.BACKEND_ERROR, "backend_error", True, Retry.IF_SAFE),
        (Outcome.MISCONFIGURED, "misconfigured", False, Retry.ALWAYS),
        (Outcome.CREDENTIAL_REJECTED, "credential_rejected", False, Retry.ALWAYS),
        (Outcome.NO_CREDENTIAL, "no_credential", False, Retry.ALWAYS),
        (Outcome.CONNECT_FAILED, "connect_failed", True, Retry.ALWAYS),
        (Outcome.CONNECT_TIMEOUT, "connect_timeout", True, Retry.ALWAYS),
        (Outcome.RESET_BEFORE_HEAD, "reset_before_head", True, Retry.IF_SAFE),
        (Outcome.FIRST_BYTE_TIMEOUT, "first_byte_timeout", True, Retry.IF_CONFIGURED),
        (Outcome.ANSWER_TIMEOUT, "first_byte_timeout", False, Retry.IF_CONFIGURED),
        (Outcome.DEADLINE, "deadline", False, Retry.NEVER),
        (Outcome.BROKEN_MID_ANSWER, "broken_mid_answer", True, Retry.NEVER),
        (Outcome.IDLE_TIMEOUT, "idle_timeout", True, Retry.NEVER),
        (Outcome.CANCELLED, "cancelled", False, Retry.NEVER),
    ],
)
def test_what_follows(outcome: Outcome, reason: str, breaker: bool, retry: Retry) -> None:
    assert outcome.value == (reason, breaker, retry)
    assert outcome.reason == reason


def test_no_outcome_is_another_name_for_one() -> None:
    assert len(Outcome) == len(Outcome.__members__) == 17


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":"DeploymentNotFound","message":"x"}}', "DeploymentNotFound"),
        (b'{"error":{"code":429}}', "429"),
        (b'{"error":{"code":null}}', None),
        (b'{"error":{"message":"x"}}', None),
        (b'{"error":null}', None),
        (b'{"error":"DeploymentNotFound"}', None),
        (b'{"error":{"code":["x"]}}', None),
        (b'{"error":{"code":true}}', None),
        (b'{"code":"DeploymentNotFound"}', None),
        (b'[{"error":{"code":"x"}}]', None),
        (b'{"error":{"code":"x"}', None),
        (b"<html>DeploymentNotFound</html>", None),
        (b'{"error":{"code":"\xff"}}', None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_code_of_an_error(body: bytes, code: str | None) -> None:
    assert error_code(body) == code


@given(st.binary(max_size=200))
def test_any_body_may_be_an_error(body: bytes) -> None:
    assert error_code(body) is None or b"error" in body


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ([], 1.0),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after", b" 7 ")], 7.0),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"7")], 7.0),
        ([(b"retry-after-ms", b"-5"), (b"retry-after", b"7")], 7.0),
        ([(b"retry-after-ms", b"")], 1.0),
        ([(b"retry-after", b"7"), (b"retry-after", b"9")], 7.0),
        ([(b"retry-after", b"99999999")], 86_400.0),
        ([(b"retry-after-ms", b"99999999999")], 86_400.0),
        ([(b"retry-after", b"9" * 31)], 86_400.0),
        ([(b"retry-after", b"9" * 4000)], 1.0),
        ([(b"retry-after", b"-7")], 1.0),
        ([(b"retry-after", b"inf")], 1.0),
        ([(b"retry-after", b"nan")], 1.0),
        ([(b"retry-after", b"1e3")], 1.0),
        ([(b"retry-after", b"1_0")], 1.0),
        ([(b"retry-after", b"1.2.3")], 1.0),
        ([(b"retry-after", b".")], 1.0),
        ([(b"retry-after", "٣".encode())], 1.0),
        ([(b"retry-after", b"tomorrow")], 1.0),
        ([(b"retry-after", b"")], 1.0),
        # RFC 9110 section 5.6.7: the three forms of a date, and what has no zone is UTC.
        ([(b"retry-after", b"Thu, 15 Jan 2026 12:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Thursday, 15-Jan-26 12:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Thu Jan 15 12:00:30 2026")], 30.0),
        ([(b"retry-after", b"Thu, 15 Jan 2026 12:00:30")], 30.0),
        ([(b"retry-after", b"Thu, 15 Jan 2026 12:00:30 -0000")], 30.0),
        ([(b"retry-after", b"Thu, 15 Jan 2026 13:00:30 +0100")], 30.0),
        ([(b"retry-after", b"Thu, 15 Jan 2026 11:59:59 GMT")], 0.0),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:00:00 GMT")], 0.0),
        ([(b"retry-after", b"Fri, 31 Dec 9999 23:59:59 GMT")], 86_400.0),
        ([(b"retry-after", b"Fri, 32 Dec 2026 23:59:59 GMT")], 1.0),
        ([(b"retry-after", b"Fri, 31 Dec 99999 23:59:59 GMT")], 1.0),
    ],
)
def test_how_long_to_wait(headers: list[tuple[bytes, bytes]], wait: float) -> None:
    assert retry_after(dict(reversed(headers)), WALL) == pytest.approx(wait)


def test_a_date_without_a_zone_is_utc_wherever_this_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert retry_after({b"retry-after": b"Thu, 15 Jan 2026 12:00:30 -0000"}, WALL) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"retry-after", b"retry-after-ms"]),
            st.binary(max_size=40)
            | st.integers(-5, 10**9).map(lambda n: b"%d" % n)
            | st.datetimes().map(lambda at: format_datetime(at.replace(tzinfo=UTC), usegmt=True).encode())
            | st.text(" ,:-+0123456789JanFebMonTueGMT", max_size=40).map(str.encode),
        ),
        max_size=4,
    )
)
def test_whatever_a_backend_says_the_wait_is_a_bounded_number(headers: list[tuple[bytes, bytes]]) -> None:
    assert 0 <= retry_after(dict(headers), WALL) <= 86_400
