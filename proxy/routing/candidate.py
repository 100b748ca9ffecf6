"""What a request is for, and what may answer it: the plain data that routing decides with. Pure."""

import msgspec

from proxy.config.structs import Backend, Deployment

Key = tuple[str, str]
"""Backend and deployment: what has a breaker and a load. Two models may share one."""


class Candidate(msgspec.Struct, frozen=True):
    """A deployment of a model, as far as it is the same for every request. `api_versions` are dates."""

    backend: str
    deployment: str
    region: str
    tier: str
    priority: int
    weight: int
    operations: frozenset[str] = frozenset()
    api_versions: tuple[str, str] | None = None
    vision: bool = True
    audio: bool = True
    context: int | None = None
    tokens_per_minute: int | None = None
    spill_at: float | None = None
    canary: float | None = None

    @property
    def key(self) -> Key:
        return self.backend, self.deployment


def candidate(deployment: Deployment, backend: Backend) -> Candidate:
    """A deployment of a model, at its backend."""
    return Candidate(
        deployment.backend,
        deployment.deployment,
        backend.region,
        backend.tier,
        deployment.priority,
        deployment.weight,
        frozenset(deployment.operations),
        None if deployment.api_versions is None else (deployment.api_versions[0][:10], deployment.api_versions[1][:10]),
        deployment.vision,
        deployment.audio,
        deployment.context,
        deployment.tokens_per_minute,
        deployment.spill_at,
        deployment.canary,
    )


class Wanted(msgspec.Struct, frozen=True):
    """What routing has to know of one request. Of the client: where it may be sent; empty is anywhere.

    `sticky` is whose share a canary gets (the client, or its user), `affinity` what keeps a prompt's cache with one
    deployment (empty: nothing does); both are opaque. `tokens` is the estimate that was admitted.
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
    stream: bool = False


class Considered(msgspec.Struct, frozen=True):
    """A deployment that was considered for a request, for its record. `skipped`: why not; None: it was not skipped."""

    backend: str
    deployment: str
    skipped: str | None = None
