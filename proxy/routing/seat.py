"""A deployment's seat among those of a model: what is the same for every request, beside what changes. Pure."""

from proxy.routing.affinity import seed
from proxy.routing.candidate import Candidate, Considered
from proxy.routing.load import Load


class Seat:
    """A deployment of a model, with its load. `considered` is what records say of it while there is nothing to add."""

    __slots__ = ("candidate", "considered", "key", "load", "seed")

    def __init__(self, candidate: Candidate, load: Load) -> None:
        self.candidate = candidate
        self.key = candidate.key
        self.load = load
        self.seed = seed(*self.key)
        self.considered = Considered(*self.key)

    def __repr__(self) -> str:
        return f"<Seat {self.key[0]}/{self.key[1]}>"
