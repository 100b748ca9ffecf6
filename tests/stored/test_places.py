"""Where stored things lie."""

import pytest

from proxy.refusal import Reason, Refused
from proxy.stored.entry import Entry, Owner
from proxy.stored.places import affinity, common

RESOURCES = {"swc": ("swc", "swc-ptu"), "swc-ptu": ("swc", "swc-ptu"), "frc": ("frc",)}


def at(*backends: str) -> list[Entry]:
    return [Entry(f"file-{n}", "file", Owner("t", "c"), one, 0.0) for n, one in enumerate(backends)]


@pytest.mark.parametrize(
    ("backends", "place"),
    [((), None), (("frc",), "frc"), (("swc-ptu", "swc"), "swc-ptu"), (("gone", "gone"), "gone")],
)
def test_things_of_one_resource(backends: tuple[str, ...], place: str | None) -> None:
    assert common(at(*backends), RESOURCES) == place


@pytest.mark.parametrize("backends", [("swc", "frc"), ("swc", "gone")])
def test_things_of_two_are_not_used_together(backends: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as caught:
        common(at(*backends), RESOURCES)
    assert caught.value.reason is Reason.TWO_RESOURCES


def test_a_resource_that_goes_moves_nobody_elses_things() -> None:
    places = ["a", "b", "c", "d"]
    for client in (f"client {n}" for n in range(50)):
        first = min(places, key=lambda place: affinity(client, place))
        without = [place for place in places if place != "d"]
        assert first == "d" or min(without, key=lambda place: affinity(client, place)) == first
