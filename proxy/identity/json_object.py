"""JSON objects from strangers, read so that no two readers can understand them differently (RFC 8259, RFC 7519).

Duplicate members, `NaN` and `Infinity`, text that is not UTF-8, and deep nesting are refused. Pure.
"""

import json
from typing import Any, NoReturn

_OPENED = 512
"""Brackets, which bounds the depth; more than any honest document has."""


class NotStrict(Exception):
    """Not such an object. `word` says why: `duplicate`, `nesting` or `json`."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def read_object(data: bytes) -> dict[str, Any]:
    """The object that `data` is. Raises `NotStrict`."""
    if data.count(b"{") + data.count(b"[") > _OPENED:
        raise NotStrict("nesting")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refuse)
    except RecursionError:
        raise NotStrict("nesting") from None
    except ValueError:  # not UTF-8, not JSON, a number of thousands of digits
        raise NotStrict("json") from None
    if not isinstance(found, dict):
        raise NotStrict("json")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict("duplicate")
    return members


def _refuse(_: str) -> NoReturn:
    raise NotStrict("json")
