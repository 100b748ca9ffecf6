"""Which deployments of a model may answer a request at all, and why not the others. Pure.

Residency is a rule: a deployment outside the client's regions is never asked, whatever becomes of the others. So are
pinned backends, tiers, and what a deployment can do. Only the context is a matter of an estimate, so it never leaves a
request without anybody: then those with the largest one are asked, and say themselves what is too long.

Nothing is filtered anew for each request: whatever it may ask for falls into few classes, and each class is worked out
once and remembered. Of API versions and lengths only counts on which side of a deployment's bounds it lies.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import groupby

from proxy.config.structs import Backend, Model
from proxy.routing.canary import NOBODYS, Canaries
from proxy.routing.candidate import Candidate, Considered, Key, Wanted, candidate
from proxy.routing.load import Load
from proxy.routing.ranking import Ranking
from proxy.routing.seat import Seat

_CLASSES = 1024
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").match

Facts = tuple[object, ...]


class Ineligible(Enum):
    """Why a deployment may not answer a request, in the order in which that is looked at."""

    REGION = "region"
    BACKEND = "backend"
    TIER = "tier"
    OPERATION = "operation"
    API_VERSION = "api_version"
    VISION = "vision"
    AUDIO = "audio"
    CANARY = "canary"
    CONTEXT = "context"

    @property
    def of_the_client(self) -> bool:
        """Whether the client's own restrictions are the cause, not what it asked for."""
        return self in (Ineligible.REGION, Ineligible.BACKEND, Ineligible.TIER)


class Eligible:
    """Who may answer the requests of one class: `groups` by priority, a canary before all of them. What comes in is
    ordered.

    `only` is the one, where there is but one: then there is nothing to choose.
    """

    __slots__ = ("canary", "excluded", "groups", "only", "passed_by", "ranking", "seats")

    def __init__(self, seats: Sequence[Seat], canary: Seat | None, excluded: Sequence[tuple[Seat, Ineligible]]) -> None:
        ordered = (seat for seat in seats if seat is not canary)
        groups = [tuple(group) for _, group in groupby(ordered, lambda seat: seat.candidate.priority)]
        self.canary = canary
        self.groups: tuple[tuple[Seat, ...], ...] = tuple(groups if canary is None else [(canary,), *groups])
        self.seats = tuple(seat for group in self.groups for seat in group)
        self.only = self.seats[0] if len(self.seats) == 1 else None
        self.excluded = tuple(excluded)
        self.passed_by = tuple(Considered(*seat.key, why.value) for seat, why in excluded)
        self.ranking: Ranking | None = None  # as of a moment ago


class Deployments:
    """Those of one model. `plain`: the client's restrictions are all there is to look at."""

    def __init__(self, model: Model, backends: Mapping[str, Backend], load: Callable[[Key], Load]) -> None:
        self.model = model
        candidates = [candidate(deployment, backends[deployment.backend]) for deployment in model.deployments]
        self.seats = tuple(sorted((Seat(found, load(found.key)) for found in candidates), key=_by_priority_and_weight))
        self._canaries = tuple(seat for seat in self.seats if seat.candidate.canary is not None)
        self._shares = Canaries(model.name, [seat.candidate.canary or 0.0 for seat in self._canaries])
        self._versions = sorted({bound for found in candidates for bound in found.api_versions or ()})
        self._contexts = sorted({found.context for found in candidates if found.context is not None})
        self._capabilities = any(found.operations or not found.vision or not found.audio for found in candidates)
        self.sticky = model.sticky if self._canaries else None
        self.affinity = model.affinity if len(candidates) > 1 else "off"
        self.plain = not (self._canaries or self._versions or self._contexts or self._capabilities)
        self._classes: dict[Facts, Eligible] = {}

    def of(self, wanted: Wanted) -> Eligible:
        """Who may answer a request."""
        facts: Facts = wanted.regions, wanted.backends, wanted.tiers
        if not self.plain:
            facts += self._facts(wanted)
        found = self._classes.get(facts)
        if found is None:
            if len(self._classes) >= _CLASSES:
                self._classes.clear()
            found = self._classes[facts] = self._eligible(wanted)
        return found

    def _facts(self, wanted: Wanted) -> Facts:
        """The class of a request: those of one class have the same deployments."""
        version = _dated(wanted.api_version)
        return (
            wanted.operation if self._capabilities else "",
            wanted.uses if self._capabilities else None,
            bisect_left(self._versions, version) if version else -1,
            bisect_right(self._versions, version) if version else -1,
            bisect_left(self._contexts, wanted.tokens),
            self._shares.of(wanted.sticky) if self._canaries else NOBODYS,
        )

    def _eligible(self, wanted: Wanted) -> Eligible:
        mine = self._shares.of(wanted.sticky) if self._canaries else NOBODYS
        canary = self._canaries[mine] if mine != NOBODYS else None
        verdicts = [(seat, _ineligible(seat.candidate, wanted)) for seat in self.seats]
        verdicts = [
            (seat, why or (Ineligible.CANARY if seat.candidate.canary is not None and seat is not canary else None))
            for seat, why in verdicts
        ]
        able = [seat for seat, why in verdicts if why is None]
        if able:
            largest = max(_context(seat) for seat in able)
            short = [seat for seat in able if _context(seat) < min(wanted.tokens, largest)]
            verdicts = [(seat, Ineligible.CONTEXT if seat in short else why) for seat, why in verdicts]
            able = [seat for seat in able if seat not in short]
        excluded = [(seat, why) for seat, why in verdicts if why is not None]
        return Eligible(able, canary if canary in able else None, excluded)


def _by_priority_and_weight(seat: Seat) -> tuple[int, int]:
    return seat.candidate.priority, -seat.candidate.weight


def _context(seat: Seat) -> float:
    context = seat.candidate.context
    return float("inf") if context is None else context


def _ineligible(found: Candidate, wanted: Wanted) -> Ineligible | None:
    """Why a deployment may not answer a request, as far as it does not depend on the others."""
    if wanted.regions and found.region not in wanted.regions:
        return Ineligible.REGION
    if wanted.backends and found.backend not in wanted.backends:
        return Ineligible.BACKEND
    if wanted.tiers and found.tier not in wanted.tiers:
        return Ineligible.TIER
    if found.operations and wanted.operation and wanted.operation not in found.operations:
        return Ineligible.OPERATION
    version = _dated(wanted.api_version)
    if found.api_versions is not None and version:
        first, last = found.api_versions
        if not first <= version <= last:
            return Ineligible.API_VERSION
    if not found.vision and "images" in wanted.uses:
        return Ineligible.VISION
    if not found.audio and "audio" in wanted.uses:
        return Ineligible.AUDIO
    return None


def _dated(version: str) -> str:
    """The date of a dated version, whether preview or not; empty for the v1 surface's, which no range is about."""
    match = _DATE(version)
    return match[0] if match is not None else ""
