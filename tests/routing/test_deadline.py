"""What clients say of how long they wait."""

import pytest

from proxy.routing.deadline import client_timeout

PYTHON = (b"x-stainless-read-timeout", b"600")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"host", b"localhost")], None),
        ([PYTHON], 600.0),
        ([(b"x-stainless-read-timeout", b"2.5")], 2.5),
        ([(b"x-stainless-timeout", b"30")], 30.0),
        ([(b"x-penstock-timeout-ms", b"1500")], 1.5),
        ([PYTHON, (b"x-penstock-timeout-ms", b"900000")], 900.0),
        ([(b"x-penstock-timeout-ms", b"20"), (b"x-penstock-timeout-ms", b"10")], 0.01),
        ([(b"x-stainless-timeout", b"0")], None),
        ([(b"x-stainless-read-timeout", b"NOT_GIVEN"), (b"x-penstock-timeout-ms", b"-5")], None),
        ([(b"x-penstock-timeout-ms", b"1e9")], None),
        ([(b"x-penstock-timeout-ms", b"")], None),
        ([(b"x-penstock-timeout-ms", b"99999999999999999999")], None),
    ],
)
def test_headers(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert client_timeout(headers) == seconds
