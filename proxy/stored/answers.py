"""What an answer makes: the things in it that are to be remembered, and what it says was used. Pure.

Whatever a backend sends, nothing in here raises: an answer in which nothing can be found to remember has none.
"""

from typing import Any, TypeGuard

import msgspec

from proxy.metering.usage import usage_of
from proxy.policy.references import ID
from proxy.record.record import Tokens
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


def entry_of(kind: str, answer: dict[str, Any], owner: Owner, backend: str, now: float) -> Entry | None:
    """The thing that an answer is; None without an id by which it could be asked for."""
    thing_id = answer.get("id")
    if not _is_id(thing_id):
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
        Entry(one, "file", entry.owner, entry.backend, now, label=f"{entry.kind}_output") for one in ids if _is_id(one)
    ]


def finished(answer: dict[str, Any]) -> bool:
    """Whether what runs in the background has ended, one way or another."""
    status = answer.get("status")
    return isinstance(status, str) and status not in _UNFINISHED


def used(entry: Entry, answer: dict[str, Any], body: bytes) -> Tokens | None:
    """What a thing that has run used: as it says; of a batch that does not, what was reserved for it."""
    if entry.kind == "fine_tuning_job":
        trained = answer.get("trained_tokens")
        if not isinstance(trained, int) or isinstance(trained, bool) or not 0 < trained < 1 << 40:
            return None
        return Tokens(prompt=trained, total=trained)
    found = usage_of("responses", body)
    if found is not None and found.total:
        return found
    if entry.kind == "batch" and answer.get("status") == "completed":
        return Tokens(prompt=entry.tokens, total=entry.tokens, estimated=True)
    return None


def first_data(stream: bytes | bytearray) -> bytes | None:
    """What the first event of a stream says that says anything; None while that has not come whole.

    Server-sent events (WHATWG HTML section 9.2): an event ends in an empty line; one of comments alone says nothing.
    """
    for event in bytes(stream).replace(b"\r\n", b"\n").split(b"\n\n")[:-1]:
        data = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if data:
            return b"\n".join(data)
    return None


def streamed(stream: bytes) -> dict[str, Any]:
    """The response that a stream begins with, in `response.created`."""
    response = decoded(first_data(stream) or b"").get("response")
    return response if isinstance(response, dict) else {}


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 40:
        return None
    return float(value)
