"""Every way to refuse: a status of the contract, Azure's shape, words that help an honest client and nobody else."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import answer
from proxy.refusal import Reason, Refused, error_body

CONTRACT = {400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 421, 429, 431, 502, 503, 504}
"""Design section 6; 417 is RFC 9110's answer to an `Expect` nobody knows, 500 is a fault of our own."""

INSIDE = re.compile(
    r"worker|supervisor|snapshot|lease|breaker|journal|slot|trio|python|traceback|exception|proxy\.|bounds|rule|config"
    r"|thumbprint|fingerprint|issuer|signature|jwks|kid|expired|revoked|unknown|hash|_|\d",
    re.IGNORECASE,
)
"""What would tell a stranger how it is made, or which of a credential's checks said no."""

COMES_AND_GOES = {408, 429, 502, 503, 504, 500}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_terms_of_the_contract(reason: Reason) -> None:
    terms = reason.terms
    assert terms.status in CONTRACT | {417, 500}
    assert re.fullmatch(r"[A-Z][A-Za-z]+|\d{3}", terms.code)
    assert not terms.code.isdigit() or int(terms.code) == terms.status
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.value)


@pytest.mark.parametrize("reason", Reason)
def test_words_help_and_tell_nothing(reason: Reason) -> None:
    message = reason.terms.message
    assert message[0].isupper()
    assert message.endswith(".")
    assert len(message) <= 120
    assert reason.value not in message
    assert not INSIDE.search(message.replace("100-continue", ""))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.terms.status == 401])
def test_no_401_says_what_was_wrong_with_a_credential(reason: Reason) -> None:
    """One sentence for all that was presented and is no good; others only where something is missing."""
    if reason in (Reason.NO_CREDENTIAL, Reason.CREDENTIAL_MISSING):
        return
    assert reason.terms == Reason.UNKNOWN_KEY.terms


@pytest.mark.parametrize("reason", Reason)
def test_official_clients_try_again_exactly_where_waiting_may_help(reason: Reason) -> None:
    never = (Reason.REQUEST_LARGER_THAN_LIMIT, Reason.DEADLINE)  # who gave it has stopped waiting
    expected = reason.terms.status in COMES_AND_GOES and reason not in never
    assert reason.terms.retry == expected


def test_reasons_are_told_apart() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason) == len(Reason.__members__)


def parts(refused: Refused, *, close: bool = False) -> tuple[int, dict[str, str], dict[str, object]]:
    head, body = answer.refusal(refused, "0123abc", close=close)
    status, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    assert status.startswith("HTTP/1.1 ")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return int(status.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize("reason", Reason)
def test_on_the_wire(reason: Reason) -> None:
    secret = "client turbine-7: grants[3]"
    status, headers, body = parts(Refused(reason, secret))
    assert status == reason.terms.status
    assert body == {"error": {"code": reason.terms.code, "message": reason.terms.message}}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "0123abc"
    assert int(headers["content-length"]) == len(error_body(reason.terms.code, reason.terms.message))
    # RFC 6750 section 3.1: an insufficient scope has a challenge too, and it is no 401.
    assert ("www-authenticate" in headers) == (status == 401 or reason is Reason.SCOPE_MISSING)
    assert ("allow" in headers) == (status == 405)
    assert headers.get("x-should-retry") == (None if reason.terms.retry else "false")
    assert "retry-after" not in headers
    assert "connection" not in headers
    assert secret not in str(headers) + str(body)
    assert parts(Refused(reason), close=True)[1]["connection"] == "close"


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds", "should"),
    [
        (0.0, "1", "1", None),
        (0.0004, "1", "1", None),
        (0.25, "1", "250", None),
        (1.0, "1", "1000", None),
        (1.0001, "2", "1001", None),
        (60.0, "60", "60000", None),
        (60.5, "61", "60500", "false"),
        (86_400.0, "86400", "86400000", "false"),
    ],
)
def test_waits_are_rounded_up_and_long_ones_are_not_for_a_client_to_sit_out(
    wait: float, seconds: str, milliseconds: str, should: str | None
) -> None:
    _, headers, _ = parts(Refused(Reason.TOKENS_PER_MINUTE, retry_after=wait))
    assert headers["retry-after"] == seconds
    assert headers["retry-after-ms"] == milliseconds
    assert headers.get("x-should-retry") == should


@given(st.floats(0, 86_400))
def test_nobody_is_told_to_come_back_too_early(wait: float) -> None:
    _, headers, _ = parts(Refused(Reason.REQUESTS_PER_MINUTE, retry_after=wait))
    assert int(headers["retry-after"]) >= wait
    assert int(headers["retry-after-ms"]) / 1000 >= wait


def test_a_message_of_its_own_takes_the_place_of_the_reasons() -> None:
    refused = Refused(Reason.UNSUPPORTED_MEDIA_TYPE, "content-type", message="The content type must be text/plain.")
    assert parts(refused)[2] == {
        "error": {"code": "UnsupportedMediaType", "message": "The content type must be text/plain."}
    }
    assert str(refused) == "unsupported_media_type"


@given(st.text(max_size=200))
def test_any_message_is_valid_json(message: str) -> None:
    assert json.loads(error_body("BadRequest", message)) == {"error": {"code": "BadRequest", "message": message}}
