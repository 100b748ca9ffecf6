"""What is wrong with how requests are to be routed: shares that are none, times that contradict each other."""

from collections.abc import Iterator

from proxy.config.problem import Problem
from proxy.config.structs import Routing


def problems(routing: Routing) -> Iterator[Problem]:
    breaker = routing.breaker
    if breaker.ratio > 1:
        yield Problem("routing.breaker.ratio", f"{breaker.ratio:g}", "give a share of at most 1")
    if breaker.open_for > breaker.open_at_most:
        yield Problem("routing.breaker.open_for", "longer than open_at_most", "give at most as long")
    hedging = routing.hedging
    if hedging is not None and hedging.ratio > 1:
        yield Problem("routing.hedging.ratio", f"{hedging.ratio:g}", "give a share of at most 1")
