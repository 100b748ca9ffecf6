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
