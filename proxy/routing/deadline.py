"""How long a client says that it waits for an answer to begin. Pure.

`x-penstock-timeout-ms` is the gateway's own header, in milliseconds. Official clients say theirs without being asked:
`x-stainless-read-timeout` (Python) and `x-stainless-timeout` (JavaScript), in seconds. They are hints: one that is not
a number above 0 is none.
"""

import re
from collections.abc import Iterable

_OWN = b"x-penstock-timeout-ms"
_SECONDS = {_OWN: 0.001, b"x-stainless-read-timeout": 1.0, b"x-stainless-timeout": 1.0}
_NUMBER = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def client_timeout(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds; the gateway's own header before the others, and of several the shortest. None if there is none."""
    said = [
        (name != _OWN, seconds)
        for name, value in headers
        if name in _SECONDS and (seconds := _seconds(value, _SECONDS[name])) > 0
    ]
    return min(said)[1] if said else None


def _seconds(value: bytes, unit: float) -> float:
    return float(value) * unit if _NUMBER.fullmatch(value) else 0.0
