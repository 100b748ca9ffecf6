"""What a run measured."""

from collections import Counter

from bench.load.histogram import Histogram


class Results:
    """`errors` by kind. Histograms are in seconds:

    first_byte   from when a request was sent (open loop: was due) until its first event, or its whole plain answer
    late         how far an event came behind its stream's schedule, which is set by the earliest of its events
    handshake    from the connection's start to the end of its TLS handshake
    """

    def __init__(self) -> None:
        self.answers = 0
        self.events = 0
        self.handshakes = 0
        self.errors: Counter[str] = Counter()
        self.first_byte = Histogram()
        self.late = Histogram()
        self.handshake = Histogram()
        self.tls = ""

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def summary(self) -> dict[str, object]:
        return {
            "answers": self.answers,
            "events": self.events,
            "handshakes": self.handshakes,
            "errors": dict(self.errors),
            "tls": self.tls,
            "first_byte": self.first_byte.summary(),
            "late": self.late.summary(),
            "handshake": self.handshake.summary(),
        }
