"""Why a deployment has the place that it has, in words, for who explains. Pure."""

from collections.abc import Mapping

from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.eligible import Ineligible
from proxy.routing.ranking import SPILL_OVER, Ranking, Tier
from proxy.routing.select import Plan

_NEVER = {
    Ineligible.REGION: "not in the client's regions",
    Ineligible.BACKEND: "not one of the client's backends",
    Ineligible.TIER: "not of the client's tiers",
    Ineligible.VISION: "takes no images",
    Ineligible.AUDIO: "takes no audio",
}


def never(found: Candidate, why: Ineligible, wanted: Wanted) -> str:
    """Why a deployment is not asked for such a request."""
    match why:
        case Ineligible.OPERATION:
            text = f"does not serve {wanted.operation}"
        case Ineligible.API_VERSION:
            first, last = found.api_versions or ("", "")
            text = f"serves API versions from {first} to {last}"
        case Ineligible.CANARY:
            text = f"a canary for {_percent(found.canary)} of requesters, not for this one"
        case Ineligible.CONTEXT:
            text = f"its context of {found.context} tokens is too short for about {wanted.tokens}"
        case _:
            text = _NEVER[why]
    return f"never: {text}"


class Words:
    """Of one plan. `remarks` are added to what there is to say of a deployment."""

    def __init__(self, wanted: Wanted, plan: Plan, ranking: Ranking, remarks: Mapping[Key, str]) -> None:
        self._wanted = wanted
        self._canary = plan.eligible.canary
        self._remarks = remarks
        self._tiers = {seat.key: tier for tier in ranking.tiers for seat in tier.seats}
        self._aside = {seat.key: why for seat, why in ranking.aside}

    def of(self, found: Candidate) -> str:
        key = found.key
        parts = [f"priority {found.priority}"]
        if self._canary is not None and key == self._canary.key:
            parts = [f"canary, asked first: this requester is among its {_percent(found.canary)}"]
        elif self._aside.get(key) == SPILL_OVER:
            parts.append(f"behind the next one: at {_percent(found.spill_at)} of its utilisation or over")
        tier = self._tiers.get(key)
        if tier is not None and len(tier.seats) > 1:
            parts.append(self._among(tier, key))
        if key in self._remarks:
            parts.append(self._remarks[key])
        return ", ".join(parts)

    def _among(self, tier: Tier, key: Key) -> str:
        """The place among equals, while they are as busy as each other."""
        index = next(index for index, seat in enumerate(tier.seats) if seat.key == key)
        if self._wanted.affinity:
            if tier.home(self._wanted.affinity) == index:
                return "first of it for this prompt's cache, while it is not busier than the others"
            return "instead of the one with this prompt's cache, where that is busy"
        return f"first of it in {tier.nominal[index]:g} of {sum(tier.nominal):g} requests"


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):g} %"
