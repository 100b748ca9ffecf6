"""The audit record's contract: which fields, in which order, and what is absent is null."""

import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.record.record import Attempt, CredentialUsed, End, Record, Tokens, timestamp

FIELDS = (
    "seq time request_id trace_id client tenant user credential source operation model stream decision reason rule "
    "status backend region deployment attempts candidates tokens ttfb_ms duration_ms bytes_in bytes_out end"
).split()
"""Design section 6, in its order; a record that is chained has `prev` and `hash` after them."""


def test_fields_and_their_order() -> None:
    record = json.loads(msgspec.json.encode(Record()))
    assert list(record)[: len(FIELDS)] == FIELDS
    assert set(record) - set(FIELDS) <= {"prev", "hash", "queued_ms"}


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (CredentialUsed(), ["kind", "fingerprint"]),
        (Attempt("swc", 429, "throttled", 12.5), ["backend", "status", "reason", "ms"]),
        (Tokens(), ["prompt", "completion", "total", "cached", "reasoning", "estimated"]),
    ],
)
def test_fields_of_the_parts(part: msgspec.Struct, fields: list[str]) -> None:
    assert list(json.loads(msgspec.json.encode(part))) == fields


def test_what_is_absent_is_null_and_not_left_out() -> None:
    record = json.loads(msgspec.json.encode(Record()))
    absent = {name for name, value in record.items() if value is None}
    assert absent >= {
        "trace_id", "client", "tenant", "user", "source", "operation", "model", "reason", "rule", "status", "backend",
        "region", "deployment", "tokens", "ttfb_ms", "duration_ms",
    }  # fmt: skip
    assert record["credential"] == {"kind": "none", "fingerprint": None}
    assert record["attempts"] == []
    assert (record["decision"], record["end"]) == ("refused", "refused")


def test_ends_are_those_of_the_contract() -> None:
    assert [end.value for end in End] == (
        "complete refused client_gone backend_failed timeout drained shed worker_lost".split()
    )


def test_two_records_share_nothing() -> None:
    first, second = Record(), Record()
    first.attempts.append(Attempt("swc", 200, "ok", 1.0))
    first.credential.kind = "key"
    assert second.attempts == []
    assert second.credential.kind == "none"


@pytest.mark.parametrize("member", ["messages", "prompt_text", "completion_text", "body", "key", "headers", "query"])
def test_there_is_no_place_for_what_must_not_be_recorded(member: str) -> None:
    assert member not in Record.__struct_fields__


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    hostile = 'a"b\\c\r\n\u2028\x00\x1b[31m'
    line = msgspec.json.encode(Record(client=hostile, model=hostile, rule=hostile))
    assert b"\n" not in line
    assert b"\r" not in line
    assert b"\x1b" not in line
    assert json.loads(line)["model"] == hostile
    assert msgspec.json.decode(line, type=Record) == Record(client=hostile, model=hostile, rule=hostile)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_764_100_000.0, "2025-11-25T19:46:40.000Z"),
        (1_764_100_000.5, "2025-11-25T19:46:40.500Z"),
        (951_782_399.9990001, "2000-02-28T23:59:59.999Z"),
        (951_782_400.0, "2000-02-29T00:00:00.000Z"),
        (4_102_444_800.25, "2100-01-01T00:00:00.250Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(wall: float, text: str) -> None:
    assert timestamp(wall) == text


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=5))
def test_any_time_is_told_to_the_millisecond_and_never_ahead(walls: list[float]) -> None:
    for wall in walls:
        text = timestamp(wall)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
        told = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
        assert -1e-6 <= wall - told < 0.001 + 1e-6
