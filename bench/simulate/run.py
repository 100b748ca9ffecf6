"""`python -m bench simulate`: seeds by the thousand, and every law that one of them broke."""

import sys
import time
from collections import Counter

from bench.simulate.fleet import simulate
from bench.simulate.laws import broken
from bench.simulate.scenario import drawn

_SHOWN = 10


def run(seeds: int, first: int) -> int:
    """Print what was found; 1 if a law was broken."""
    began = time.monotonic()
    virtual = requests = attempts = 0.0
    ends: Counter[str] = Counter()
    found: dict[int, list[str]] = {}
    for seed in range(first, first + seeds):
        scenario = drawn(seed)
        account = simulate(scenario)
        virtual += scenario.duration
        requests += account.asked
        attempts += len(account.attempts)
        ends.update(ended.how for ended in account.ended)
        what = broken(scenario, account)
        if what:
            found[seed] = what
        if sys.stderr.isatty():
            print(f"\r\x1b[K{seed - first + 1} of {seeds}, {len(found)} broken", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    speed = f"{virtual / 3600:.1f} hours of a fleet in {took:.1f} s, {virtual / took:.0f} times the clock"
    print(f"{seeds} seeds from {first}: {speed}; {requests:.0f} requests, {attempts / requests:.3f} attempts each")
    print(", ".join(f"{count} {how}" for how, count in ends.most_common()))
    for seed, what in list(found.items())[:_SHOWN]:
        print(f"seed {seed}:")
        print("\n".join(f"  {one}" for one in what[:_SHOWN]))
    print(f"{len(found)} seeds broke a law" if found else "every law held")
    return 1 if found else 0
