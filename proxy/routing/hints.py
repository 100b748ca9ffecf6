"""What a backend says of its own room, in the head of an answer. Azure's wire: azure.md, "Answers". Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_NUMBER = re.compile(rb"-?[0-9]{1,15}").fullmatch
_PERCENT = re.compile(rb"([0-9]{1,4}(?:\.[0-9]{1,6})?)[ \t]*%?").fullmatch
_TOKENS = b"x-ratelimit-remaining-tokens"
_REQUESTS = b"x-ratelimit-remaining-requests"
_UTILISATION = b"azure-openai-deployment-utilization"
_NAMES = frozenset((_TOKENS, _REQUESTS, _UTILISATION))


class Hints(NamedTuple):
    """None: it says nothing. `utilisation` is from 0 to 1, and can be more."""

    tokens: int | None
    requests: int | None
    utilisation: float | None


def read(said: Mapping[bytes, bytes]) -> Hints:
    """From a head's values, each by its name in lower case."""
    if _NAMES.isdisjoint(said):
        return _NONE
    return Hints(_remaining(said.get(_TOKENS)), _remaining(said.get(_REQUESTS)), _share(said.get(_UTILISATION)))


_NONE = Hints(None, None, None)


def _remaining(value: bytes | None) -> int | None:
    return int(value) if value is not None and _NUMBER(value) else None


def _share(value: bytes | None) -> float | None:
    """`42.5%` as 0.425; it is sometimes empty."""
    match = _PERCENT(value) if value else None
    return float(match[1]) / 100 if match is not None else None
