"""Audit records as OpenTelemetry logs: the JSON encoding of OTLP/HTTP (opentelemetry-proto, ExportLogsServiceRequest).

The body of a log record is the line as it is in the audit log, with its seal: so a collector out of reach of whoever
could change the log has the proof as well. Its attributes are the record's own fields, for those who search. Pure.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

_INFO, _WARN, _ERROR = (9, "INFO"), (13, "WARN"), (17, "ERROR")
_FAILED = frozenset(("backend_failed", "timeout", "worker_lost"))
_TRACE_ID = 32

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def request(lines: Iterable[bytes], resource: dict[str, str], now: float) -> bytes:
    """The body of one export, of records as they are on file. `now` is Unix time."""
    records = [_record(line, now) for line in lines]
    scope = {"scope": {"name": "penstock.audit"}, "logRecords": records}
    attributes = [_attribute(name, value) for name, value in resource.items()]
    return _encode({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [scope]}]})


def _record(line: bytes, now: float) -> dict[str, Any]:
    record = _decode(line)
    number, text = _severity(record)
    found = {
        "timeUnixNano": _nanoseconds(datetime.fromisoformat(record["time"]).timestamp()),
        "observedTimeUnixNano": _nanoseconds(now),
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": line.decode()},
        "attributes": [_attribute(f"penstock.{name}", value) for name, value in _scalars(record)],
    }
    trace = record.get("trace_id")
    if isinstance(trace, str) and len(trace) == _TRACE_ID:
        found["traceId"] = trace
    return found


def _severity(record: dict[str, Any]) -> tuple[int, str]:
    if record.get("end") in _FAILED:
        return _ERROR
    return _INFO if record.get("decision") == "allowed" else _WARN


def _scalars(record: dict[str, Any], within: str = "") -> Iterator[tuple[str, str | bool | int | float]]:
    """Fields that are there, those of tables by their path. Lists are in the body only."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{within}{name}.")
        elif isinstance(value, str | bool | int | float):
            yield within + name, value


def _attribute(name: str, value: str | bool | int | float) -> dict[str, Any]:
    """64-bit integers are strings in the JSON of protocol buffers."""
    if isinstance(value, bool):
        return {"key": name, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": name, "value": {"doubleValue": value}}
    return {"key": name, "value": {"stringValue": value}}


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1000) * 1_000_000)
