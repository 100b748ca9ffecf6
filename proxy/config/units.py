"""Durations and sizes, as the configuration file writes them. Pure."""

import re

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_duration(text: str) -> float:
    """Seconds of `"250ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`. Raises `ValueError`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('a duration is a number and ms, s, m, h or d, such as "30s"')
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: str | int) -> int:
    """Bytes of `"64KiB"`, `"32MiB"`, `"1GiB"` or a plain number. Raises `ValueError`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size is a number of bytes, or a number and KiB, MiB or GiB, such as "32MiB"')
    return int(match[1]) * _BYTES[match[2]]


def duration(seconds: float) -> str:
    """As the file would have it: `"30s"`, `"5m"`, `"1.5s"`."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return f"{seconds:.9g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.9g}ms"


def size(count: int) -> str:
    """As the file would have it: `"64KiB"`, `"1000B"`."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if count and count % _BYTES[unit] == 0), "B")
    return f"{count // _BYTES[unit]}{unit}"
