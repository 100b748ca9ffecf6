"""What an answer makes: the things in it that are to be remembered, and what it says was used. Pure.

Whatever a backend sends, nothing in here raises: an answer in which nothing can be found to remember has none.
"""

from typing import Any

import msgspec

from proxy.policy.operation import Operation
from proxy.stored.entry import Entry, Owner

_MONTH = 30 * 86_400.0
_EXPIRES = {"response": _MONTH}
"""Seconds that a kind of thing is kept for, where the answer does not say (Azure OpenAI: 30 days for responses)."""

_MADE_BY = {"batch": ("output_file_id", "error_file_id"), "fine_tuning_job": ("result_files",)}
"""Files that a thing makes when it has run."""

_OWN_EXPIRY = frozenset(("file", "vector_store"))
"""Kinds whose `expires_at` is the thing's own end; a batch's is the time by which it must have run."""

_UNFINISHED = frozenset(("queued", "in_progress", "validating", "finalizing", "cancelling"))
_decode = msgspec.json.Decoder().decode


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def made(operation: Operation, answer: dict[str, Any], owner: Owner, backend: str, now: float) -> list[Entry]:
    """What an operation's answer makes."""
    state = operation.state
    if state is None or state.act != "create":
        return []
    entry = entry_of(state.kind, answer, owner, backend, now)
    return [] if entry is None else [entry]


def entry_of(kind: str, answer: dict[str, Any], owner: Owner, backend: str, now: float) -> Entry | None:
    """The thing that an answer is."""
    thing_id = answer.get("id")
    if not isinstance(thing_id, str) or not 0 < len(thing_id) <= 128:
        return None
    created = _time(answer.get("created_at")) or _time(answer.get("created")) or now
    expires = _time(answer.get("expires_at")) if kind in _OWN_EXPIRY else None
    if expires is None and kind in _EXPIRES:
        expires = now + _EXPIRES[kind]
    purpose = answer.get("purpose")
    label = purpose if kind == "file" and isinstance(purpose, str) else ""
    return Entry(thing_id, kind, owner, backend, created, expires, label[:64])


def files_of(entry: Entry, answer: dict[str, Any], now: float) -> list[Entry]:
    """The files that a thing has made by now. They are of whose it is."""
    values = [answer.get(key) for key in _MADE_BY.get(entry.kind, ())]
    ids = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [
        Entry(one, "file", entry.owner, entry.backend, now, label=f"{entry.kind}_output")
        for one in ids
        if isinstance(one, str) and 0 < len(one) <= 128
    ]


def finished(answer: dict[str, Any]) -> bool:
    """Whether what runs in the background has ended, one way or another."""
    status = answer.get("status")
    return isinstance(status, str) and status not in _UNFINISHED


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 40:
        return None
    return float(value)
