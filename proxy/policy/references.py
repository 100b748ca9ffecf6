"""What of stored state a JSON value names: ids that have an owner, and what nobody can judge. Pure.

Names are looked for as deep as objects go. Whatever may lead a backend to something stored, and is no id that has an
owner here, is refused: `item_reference`, an item without its content, a container, a prompt that is kept there.
"""

import re
from collections.abc import Iterator
from typing import Any

from proxy.refusal import Reason, Refused

Name = tuple[str, str]
"""The kind of a thing, and its id."""

AT_MOST = 500
"""Things that one request may name."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CONTENT = {"reasoning": "encrypted_content", "image_generation_call": "result"}
"""Items that a backend completes by their id where this member is not there."""

_KINDS = {"file_id": "file", "file_ids": "file", "vector_store_id": "vector_store", "vector_store_ids": "vector_store"}


def may_name(body: bytes | bytearray) -> bool:
    """False only where no messages or input can name stored state, unless it is spelled with escapes."""
    return (
        b"file_id" in body
        or b"item_reference" in body
        or b'"audio"' in body
        or b"image_generation_call" in body
        or b"container" in body
    )


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, however deep."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield item
            waiting.extend(item.values())


def name(kind: str, value: Any) -> Name:
    """Raises `Refused`: NOT_FOUND, for what is an id of nothing."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Refused(Reason.NOT_FOUND, "id")
    return kind, value


def of_input(item: dict[str, Any]) -> Iterator[Name]:
    """What one object of messages or input names. Raises `Refused`: STORED_STATE, NOT_FOUND."""
    kind = item.get("type")
    if kind == "item_reference":
        raise _unjudged("a reference to an item")
    if isinstance(kind, str) and kind in _CONTENT and item.get(_CONTENT[kind]) is None and item.get("id") is not None:
        raise _unjudged(f"an item of type '{kind}' without its content")
    audio = item.get("audio")
    if isinstance(audio, dict) and audio.get("id") is not None:
        raise _unjudged("audio by its id")
    if item.get("container_id") is not None:
        raise _unjudged("a container")
    yield from _of_members(item)


def of_tool(tool: dict[str, Any]) -> Iterator[Name]:
    """What a tool of the service's own names. Raises `Refused`: STORED_STATE, NOT_FOUND."""
    for item in objects(tool):
        if isinstance(item.get("container"), str) or item.get("container_id") is not None:
            raise _unjudged("a container")
        yield from _of_members(item)


def _of_members(item: dict[str, Any]) -> Iterator[Name]:
    for key, kind in _KINDS.items():
        value = item.get(key)
        if value is not None:
            yield from (name(kind, one) for one in (value if isinstance(value, list) else [value]))


def _unjudged(what: str) -> Refused:
    return Refused(
        Reason.STORED_STATE, "reference to stored state", message=f"The request names {what}: send what it stands for."
    )


def distinct(names: list[Name]) -> tuple[Name, ...]:
    """Each once, in order. Raises `Refused`: UNJUDGED for too many."""
    found = tuple(dict.fromkeys(names))
    if len(found) > AT_MOST:
        raise Refused(Reason.UNJUDGED, "names", message=f"A request may name at most {AT_MOST} stored things.")
    return found
