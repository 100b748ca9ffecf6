"""What the types cannot say of rotation and expiry. Offline, and without a file."""

from collections.abc import Iterator

from proxy.config.problem import Problem, quoted
from proxy.config.structs import Config

_DAYS = 3650
_WARNINGS = 16


def problems(config: Config) -> Iterator[Problem]:
    """Everything that is wrong with when people are warned."""
    days = config.expiry.warn_days
    if any(not 1 <= number <= _DAYS for number in days) or len(set(days)) < len(days) or len(days) > _WARNINGS:
        yield Problem(
            "expiry.warn_days",
            quoted(", ".join(map(str, days))),
            f"give at most {_WARNINGS} numbers of days, each once, from 1 to {_DAYS}",
        )
