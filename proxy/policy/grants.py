"""What a client may do: default deny, and a grant by grant reason why.

Pure: a client's grants are data, and the answer names the rule that decided.
"""

from fnmatch import fnmatchcase

from proxy.config.structs import Client, Grant
from proxy.refusal import Reason, Refused


class Permissions:
    """One client's grants, with the answers already given: there are as many as models times operations."""

    def __init__(self, client: Client, models: frozenset[str]) -> None:
        self._grants = client.grants
        self._models = models
        self._decided: dict[tuple[str, str], tuple[tuple[str, frozenset[str]], ...]] = {}

    def authorize(self, operation: str, model: str, features: frozenset[str]) -> str:
        """The rule that allows this, such as `grants[0]`.

        Raises `Refused`: UNKNOWN_MODEL, NOT_GRANTED, FEATURE_NOT_GRANTED.
        """
        matching = self._decided.get((operation, model))
        if matching is None:
            if model not in self._models:
                raise Refused(Reason.UNKNOWN_MODEL, "models")
            matching = tuple(
                (f"grants[{index}]", frozenset(grant.features))
                for index, grant in enumerate(self._grants)
                if _covers(grant, operation, model)
            )
            self._decided[operation, model] = matching
        if not matching:
            raise Refused(Reason.NOT_GRANTED, "no grant matches")
        for rule, granted in matching:
            if features <= granted:
                return rule
        missing = min(features - matching[0][1])
        raise Refused(
            Reason.FEATURE_NOT_GRANTED, f"{matching[0][0]}.features", message=f"This client may not use {missing}."
        )

    def models(self) -> list[str]:
        """The models of which the client may use anything at all, sorted."""
        return sorted(
            model
            for model in self._models
            if any(fnmatchcase(model, pattern) for grant in self._grants for pattern in grant.models)
        )


def _covers(grant: Grant, operation: str, model: str) -> bool:
    return ("*" in grant.operations or operation in grant.operations) and any(
        fnmatchcase(model, pattern) for pattern in grant.models
    )
