"""What can be made to go wrong, while the mock runs. Pure: chance comes in as a parameter."""

import random
from enum import Enum

import msgspec

IDENTITY, ENTRA, VAULT, ISSUER = "identity", "entra", "vault", "issuer:"
"""The names by which the token endpoints are faulted, as if they were instances; an issuer's is `issuer:` and its name.
"""


class Kind(Enum):
    """Each is one way for a backend to fail. `after` events: 0 is after the head."""

    # of a whole instance: nobody listens, and what is open is reset
    DOWN = "down"
    # before the head
    THROTTLE = "throttle"  # 429 at once
    ERROR = "error"  # `status` at once
    RESET = "reset"  # TCP reset
    CLOSE = "close"  # closed without close_notify
    HANG = "hang"  # no head, ever
    LATE = "late"  # `delay` before anything else
    NO_STREAM_OPTIONS = "no_stream_options"  # 400 that names the field, for who sends it
    # in the middle: of a stream after `after` events, of another answer after half of its body
    RESET_STREAM = "reset_stream"  # TCP reset
    CLOSE_STREAM = "close_stream"  # closed without close_notify
    END_STREAM = "end_stream"  # closed in order, as if the body were complete
    HANG_STREAM = "hang_stream"  # silence, for ever
    # the bytes themselves
    SLOW = "slow"  # in pieces of 1 to `piece` bytes, each a TLS record, `delay` apart
    MALFORMED = "malformed"  # in place of event `after`, what is neither a chunk nor an event; then silence
    BAD_EVENT = "bad_event"  # in place of event `after`, a chunk that is no event; of another answer, half of its JSON
    ERROR_EVENT = "error_event"  # event `after` is an error, and the stream ends there in order


AT_ONCE = frozenset((Kind.THROTTLE, Kind.ERROR, Kind.RESET, Kind.CLOSE, Kind.HANG))
IN_THE_MIDDLE = frozenset((Kind.RESET_STREAM, Kind.CLOSE_STREAM, Kind.END_STREAM, Kind.HANG_STREAM))
OF_EVENTS = IN_THE_MIDDLE | {Kind.MALFORMED, Kind.BAD_EVENT, Kind.ERROR_EVENT}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault, for an instance (None: all), or one deployment of it, by the name in the mock (None: all).

    `times` requests get it (0: until it is cleared), each with `probability`. An error has `status`, and Azure's `code`
    for it unless another is given. A 429 and an error carry `retry_after` (seconds) and `retry_after_ms`, if given.
    `delay` is in seconds.
    """

    kind: Kind
    instance: str | None = None
    deployment: str | None = None
    times: int = 0
    probability: float = 1.0
    status: int = 500
    code: str | None = None
    after: int = 3
    piece: int = 7
    delay: float = 0.0
    retry_after: float | None = None
    retry_after_ms: int | None = None

    def __post_init__(self) -> None:
        if self.times < 0 or self.after < 0 or self.piece < 1 or self.delay < 0:
            raise ValueError("times, after and delay are at least 0, piece at least 1")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability is from 0 to 1")
        if not 200 <= self.status <= 599:
            raise ValueError("status is from 200 to 599")


def is_instance(name: str) -> bool:
    """Whether a name in what was received and what is faulted is that of an Azure OpenAI instance."""
    return name not in (IDENTITY, ENTRA, VAULT) and not name.startswith(ISSUER)


class _Switched:
    __slots__ = ("fault", "left")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times or -1  # requests; negative: no end


class Faults:
    """The faults that are switched on; a request gets the first that is for it."""

    def __init__(self, uniform: random.Random) -> None:
        self._switched: list[_Switched] = []
        self._random = uniform

    def add(self, fault: Fault) -> None:
        self._switched.append(_Switched(fault))

    def clear(self, instance: str | None = None, deployment: str | None = None, kind: Kind | None = None) -> None:
        """Switch off those that match all that is given."""
        self._switched = [
            switched
            for switched in self._switched
            if instance not in (None, switched.fault.instance)
            or deployment not in (None, switched.fault.deployment)
            or kind not in (None, switched.fault.kind)
        ]

    def on(self) -> list[Fault]:
        return [switched.fault for switched in self._switched]

    def down(self) -> set[str | None]:
        """The instances of which nothing is there; None: all."""
        return {switched.fault.instance for switched in self._switched if switched.fault.kind is Kind.DOWN}

    def pick(self, instance: str, deployment: str) -> Fault | None:
        """The fault for one request, if there is one."""
        for switched in self._switched:
            fault = switched.fault
            if fault.kind is Kind.DOWN:
                continue
            if fault.instance not in (None, instance) or fault.deployment not in (None, deployment):
                continue
            if fault.instance is None and not is_instance(instance):
                continue  # these are meant only where they are named
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            switched.left -= 1
            if switched.left == 0:
                self._switched.remove(switched)
            return fault
        return None
