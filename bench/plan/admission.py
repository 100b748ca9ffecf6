"""Clients' limits in virtual time: the supervisor's budgets and the workers' leases; messages take no time."""

from collections import deque
from collections.abc import Mapping

from proxy.config.structs import Limits
from proxy.policy.budget import Budgets, Granted, Outgoing, Recall
from proxy.policy.lease import Admission, Leases, Shortage

EVERY = 0.25
"""Seconds after which workers give back what they do not need."""


class Admissions:
    """`limits` by client."""

    def __init__(self, limits: Mapping[str, Limits], workers: int) -> None:
        self._owner = Budgets(limits, workers)
        self._leases = [Leases(limits) for _ in range(workers)]

    def admit(self, worker: int, client: str, tokens: int, now: float) -> Admission | None:
        """None: it is over its client's limits."""
        leases = self._leases[worker]
        found = leases.admit(client, tokens, now)
        if isinstance(found, Shortage) and found.ask is not None:
            self._deliver(self._owner.ask(worker, found.ask, now), now)
            self._deliver(self._owner.tick(now), now)
            found = leases.admit(client, tokens, now)
        ahead, leases.ahead = leases.ahead, []
        for ask in ahead:
            self._deliver(self._owner.ask(worker, ask, now), now)
        return found if isinstance(found, Admission) else None

    def settle(self, worker: int, admission: Admission, used: int | None, now: float) -> None:
        """It has ended; None: it never reached a backend."""
        if used is None:
            self._leases[worker].cancel(admission, now)
        else:
            self._leases[worker].settle(admission, used, now)

    def tick(self, now: float) -> None:
        for worker, leases in enumerate(self._leases):
            for given_back in leases.due(now):
                self._deliver(self._owner.give_back(worker, given_back, now), now)

    def _deliver(self, outgoing: Outgoing, now: float) -> None:
        due = deque(outgoing)
        while due:
            worker, message = due.popleft()
            if isinstance(message, Granted):
                self._leases[worker].granted(message, now)
            elif isinstance(message, Recall):
                due += self._owner.give_back(worker, self._leases[worker].recalled(message, now), now)
