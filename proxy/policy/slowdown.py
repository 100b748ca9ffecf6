"""Repeated failures of one source to prove who it is are answered later and later. Pure.

Only refusals are slowed down, and only up to a bound: guessing becomes slow, and whoever shares the address and has a
good credential notices nothing. A source's count halves in every half-minute, so an honest mistake is soon forgotten.
"""

import math
from ipaddress import IPv6Address, ip_address

FREE = 10.0
"""Failures, as they are remembered, that cost nothing."""

_STEP = 0.1  # seconds for each failure beyond
_HALF_LIFE = 30.0
_SOURCES = 10_000


class Slowdown:
    """Counts by source, of the latest `sources`. Times are monotonic."""

    def __init__(self, sources: int = _SOURCES) -> None:
        self._sources = sources
        self._counts: dict[str, tuple[float, float]] = {}  # the one that failed last is last

    def __repr__(self) -> str:
        return f"<Slowdown {len(self._counts)}/{self._sources}>"

    def failed(self, source: str, now: float, at_most: float) -> float:
        """Count a failure of an address; how many seconds its answer is to wait, `at_most` at most."""
        network = _network(source)
        count, when = self._counts.pop(network, (0.0, now))
        count = count * math.exp2((when - now) / _HALF_LIFE) + 1
        self._counts[network] = count, now
        if len(self._counts) > self._sources:
            del self._counts[next(iter(self._counts))]
        return min(max(0.0, (count - FREE) * _STEP), at_most)


def _network(source: str) -> str:
    """What one party has to itself: an IPv4 address, or the 64 bits of IPv6 that a site gets (RFC 6177)."""
    if ":" not in source:
        return source
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source
    assert isinstance(address, IPv6Address)
    return str(address.ipv4_mapped) if address.ipv4_mapped is not None else address.packed[:8].hex()
