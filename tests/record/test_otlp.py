"""Audit records in the shape that every OTLP collector reads."""

import json
from typing import Any

import msgspec

from proxy.record.otlp import request
from proxy.record.record import Attempt, CredentialUsed, End, Record, Tokens

RECORD = Record(
    seq=7,
    time="2025-11-24T16:00:00.250Z",
    request_id="r",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    client="turbine-7",
    credential=CredentialUsed("key", "f"),
    stream=True,
    decision="allowed",
    status=200,
    attempts=[Attempt("swc", 200, "ok", 1.5)],
    tokens=Tokens(prompt=1 << 60),
    ttfb_ms=1.5,
    end=End.COMPLETE,
)


def exported(*records: Record) -> list[dict[str, Any]]:
    lines = [msgspec.json.encode(record) for record in records]
    document = json.loads(request(lines, {"service.name": "penstock"}, 1_764_000_001.0))
    (resource,) = document["resourceLogs"]
    assert resource["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "penstock"}}]}
    (scope,) = resource["scopeLogs"]
    assert scope["scope"] == {"name": "penstock.audit"}
    found: list[dict[str, Any]] = scope["logRecords"]
    return found


def test_a_record_is_its_line_and_its_fields() -> None:
    (log,) = exported(RECORD)
    assert log["timeUnixNano"] == "1764000000250000000"
    assert log["observedTimeUnixNano"] == "1764000001000000000"
    assert (log["severityNumber"], log["severityText"]) == (9, "INFO")
    assert log["traceId"] == RECORD.trace_id
    assert log["body"] == {"stringValue": msgspec.json.encode(RECORD).decode()}
    attributes = {entry["key"]: entry["value"] for entry in log["attributes"]}
    assert attributes["penstock.seq"] == {"intValue": "7"}
    assert attributes["penstock.client"] == {"stringValue": "turbine-7"}
    assert attributes["penstock.credential.kind"] == {"stringValue": "key"}
    assert attributes["penstock.stream"] == {"boolValue": True}
    assert attributes["penstock.ttfb_ms"] == {"doubleValue": 1.5}
    assert attributes["penstock.tokens.prompt"] == {"intValue": str(1 << 60)}
    assert "penstock.user" not in attributes
    assert "penstock.attempts" not in attributes


def test_what_went_wrong_stands_out() -> None:
    logs = exported(
        Record(time=RECORD.time, decision="refused"),
        Record(time=RECORD.time, decision="allowed", end=End.WORKER_LOST, trace_id="short"),
    )
    assert [log["severityText"] for log in logs] == ["WARN", "ERROR"]
    assert all("traceId" not in log for log in logs)
