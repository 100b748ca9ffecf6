"""TEMPORARY stand-in."""

import msgspec


class Denial(msgspec.Struct):
    budget: str
    retry_after: float
    never: bool = False


class Shortage(msgspec.Struct):
    ask: object = None
    denied: Denial | None = None


class Admission(msgspec.Struct):
    client: str


class Leases:
    def __init__(self, limits):
        pass

    def admit(self, client, tokens, now):
        return Admission(client)

    def granted(self, m, now):
        pass

    def recalled(self, m, now):
        pass

    def settle(self, a, used, now):
        pass

    def cancel(self, a, now):
        pass

    def due(self, now):
        return []

    def remaining(self, client, now):
        return (None, None, None, None)

    def reconfigure(self, limits, now):
        pass
