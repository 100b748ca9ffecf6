"""What a request is for, and what may answer it: the plain data that routing decides with. Pure."""

import msgspec

Key = tuple[str, str]
"""Backend and deployment: what has a breaker. Two models may share one."""


class Candidate(msgspec.Struct, frozen=True):
    """A deployment of a model, as far as it is the same for every request."""

    backend: str
    deployment: str
    region: str
    tier: str
    priority: int
    weight: int

    @property
    def key(self) -> Key:
        return self.backend, self.deployment


class Wanted(msgspec.Struct, frozen=True):
    """What routing has to know of one request. Of the client: where it may be sent; empty is anywhere.

    `sticky` is whose share a canary gets (the client, or its user), `affinity` what keeps a prompt's cache with one
    deployment; both are opaque. `tokens` is the estimate that was admitted.
    """

    model: str
    regions: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    operation: str = ""
    api_version: str = ""
    uses: frozenset[str] = frozenset()
    tokens: int = 0
    sticky: str = ""
    affinity: bytes = b""
