"""What can be made to go wrong, while the mock runs."""

import random
from enum import Enum

import msgspec


class Kind(Enum):
    """Each is one way for a backend to fail."""

    THROTTLE = "throttle"  # 429 at once
    ERROR = "error"  # `status` at once
    RESET = "reset"  # the connection is reset before the head
    RESET_STREAM = "reset_stream"  # … after `after` events
    CLOSE_STREAM = "close_stream"  # … closed without close_notify, after `after` events
    END_STREAM = "end_stream"  # … closed cleanly, after `after` events
    HANG = "hang"  # no head, ever
    HANG_STREAM = "hang_stream"  # silence after `after` events
    SLOW = "slow"  # the answer in pieces of `piece` bytes
    MALFORMED = "malformed"  # in place of event `after`, what is neither an event nor a chunk
    NO_STREAM_OPTIONS = "no_stream_options"  # 400 for who asks for usage


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One fault. `times` requests get it (0: until it is cleared), each with `probability`.

    `retry_after` in seconds, `retry_after_ms` in milliseconds; both may be sent, or neither.
    """

    kind: Kind
    instance: str | None = None
    deployment: str | None = None
    times: int = 0
    probability: float = 1.0
    status: int = 500
    code: str = "InternalServerError"
    after: int = 3
    piece: int = 7
    retry_after: float | None = None
    retry_after_ms: int | None = None


class Faults:
    """The faults that are switched on, asked in the order they were."""

    def __init__(self, uniform: random.Random) -> None:
        self._faults: list[tuple[Fault, list[int]]] = []
        self._random = uniform

    def add(self, fault: Fault) -> None:
        self._faults.append((fault, [fault.times or -1]))

    def clear(self, instance: str | None = None) -> None:
        self._faults = [entry for entry in self._faults if instance is not None and entry[0].instance != instance]

    def pick(self, instance: str, deployment: str) -> Fault | None:
        """The fault for one request, if there is one."""
        for entry in self._faults:
            fault, left = entry
            if fault.instance not in (None, instance) or fault.deployment not in (None, deployment):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            left[0] -= 1
            if left[0] == 0:
                self._faults.remove(entry)
            return fault
        return None
