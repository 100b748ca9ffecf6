"""Who may answer a request at all: the client's restrictions are rules, and so is what a deployment can do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.refusal import Reason
from proxy.routing.candidate import Wanted
from tests.routing.fleet import NOW, first, fleet, order, skipped

IMAGES, AUDIO = frozenset(("images",)), frozenset(("audio",))
CHAT = "chat.completions"


@pytest.mark.parametrize(
    ("deployments", "wanted", "expected"),
    [
        ([{}, {"region": "there"}], {"regions": ("here",)}, {"b": "region"}),
        ([{}, {"region": "there"}], {"regions": ("here", "there")}, {}),
        ([{}, {}], {"backends": ("b",)}, {"a": "backend"}),
        ([{}, {"tier": "provisioned"}], {"tiers": ("provisioned",)}, {"a": "tier"}),
        ([{}, {"operations": ("embeddings",)}], {"operation": CHAT}, {"b": "operation"}),
        ([{}, {"operations": (CHAT,)}], {"operation": CHAT}, {}),
        ([{}, {"vision": False}], {"uses": IMAGES}, {"b": "vision"}),
        ([{}, {"vision": False}], {"uses": AUDIO}, {}),
        ([{}, {"audio": False}], {"uses": AUDIO | IMAGES}, {"b": "audio"}),
        # dates of API versions, the bounds included; those without a date are not what a range is about
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "2024-10-21"}, {}),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "2024-06-01"}, {}),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "2024-05-31"}, {"b": "api_version"}),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "2024-10-22"}, {"b": "api_version"}),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "2024-08-01-preview"}, {}),
        (
            [{}, {"api_versions": ("2024-06-01-preview", "2024-10-21")}],
            {"api_version": "2025-01-01-preview"},
            {"b": "api_version"},
        ),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {"api_version": "preview"}, {}),
        ([{}, {"api_versions": ("2024-06-01", "2024-10-21")}], {}, {}),
        # the context, by the estimate: never all of them
        ([{}, {"context": 8_000}], {"tokens": 8_000}, {}),
        ([{}, {"context": 8_000}], {"tokens": 8_001}, {"b": "context"}),
        ([{"context": 8_000}, {"context": 128_000}], {"tokens": 9_000}, {"a": "context"}),
        ([{"context": 8_000}, {"context": 128_000}], {"tokens": 900_000}, {"a": "context"}),
        ([{"context": 8_000}, {"context": 8_000}], {"tokens": 900_000}, {}),
        # the first rule that it is against is the one that is told
        ([{}, {"region": "there", "vision": False}], {"regions": ("here",), "uses": IMAGES}, {"b": "region"}),
    ],
)
def test_who_may_answer(deployments: list[dict[str, Any]], wanted: dict[str, Any], expected: dict[str, str]) -> None:
    plan = fleet(*deployments).order(Wanted("m", **wanted), NOW)
    assert sorted(order(plan)) == sorted(set("ab") - expected.keys())
    plan.next(NOW, set())
    assert {name: why for name, why in skipped(plan).items() if why is not None} == expected


@pytest.mark.parametrize(
    ("deployments", "wanted", "reason", "rule"),
    [
        ([{}], {"regions": ("there",)}, Reason.NO_BACKEND, "no deployment in the client's regions"),
        ([{}], {"backends": ("z",)}, Reason.NO_BACKEND, "backend"),
        ([{}, {"tier": "provisioned"}], {"tiers": ("provisioned",), "regions": ("x",)}, Reason.NO_BACKEND, None),
        ([{"vision": False}], {"uses": IMAGES}, Reason.NOT_SERVED, "vision"),
        ([{"operations": ("embeddings",)}], {"operation": CHAT}, Reason.NOT_SERVED, "operation"),
        ([{"audio": False}, {"region": "there"}], {"uses": AUDIO, "regions": ("here",)}, Reason.NOT_SERVED, None),
    ],
)
def test_when_nobody_may_the_cause_is_said(
    deployments: list[dict[str, Any]], wanted: dict[str, Any], reason: Reason, rule: str | None
) -> None:
    router = fleet(*deployments)
    plan = router.order(Wanted("m", **wanted), NOW)
    assert plan.next(NOW, set()) is None
    refused = router.refusal(plan, NOW)
    assert refused.reason is reason
    assert refused.retry_after is None
    assert rule is None or refused.rule == rule


REGIONS = ("here", "there", "elsewhere")
some = st.sampled_from
DEPLOYMENT = st.fixed_dictionaries(
    {
        "region": some(REGIONS),
        "tier": some(("standard", "provisioned")),
        "priority": st.integers(0, 2),
        "weight": st.integers(1, 5),
        "vision": st.booleans(),
        "context": some((None, 1_000, 8_000)),
        "operations": some(((), (CHAT,), ("embeddings",))),
        "api_versions": some((None, ("2024-06-01", "2024-10-21"))),
        "canary": some((None, None, None, 0.3)),
    }
)
WANTED = st.fixed_dictionaries(
    {
        "regions": some(((), ("here",), ("here", "there"))),
        "tiers": some(((), ("provisioned",))),
        "operation": some((CHAT, "embeddings")),
        "api_version": some(("", "2024-01-01", "2024-10-21", "2025-03-01-preview")),
        "uses": some((frozenset(), IMAGES)),
        "tokens": some((10, 1_000, 5_000, 100_000)),
        "sticky": some("stuvwxyz"),
        "affinity": some((b"", b"1234")),
    }
)


@given(st.lists(DEPLOYMENT, min_size=1, max_size=6), st.lists(WANTED, min_size=1, max_size=8))
def test_no_rule_is_ever_broken_and_whoever_may_answer_is_asked(
    deployments: list[dict[str, Any]], requests: list[dict[str, Any]]
) -> None:
    """By one router for all of them: what was worked out for one request is right for the next."""
    router = fleet(*deployments)
    for wanted in requests:
        plan = router.order(Wanted("m", **wanted), NOW)
        tried: set[tuple[str, str]] = set()
        while (found := plan.next(NOW, tried)) is not None:
            tried.add(found.key)
            assert not wanted["regions"] or found.region in wanted["regions"]
            assert not wanted["tiers"] or found.tier in wanted["tiers"]
            assert not found.operations or wanted["operation"] in found.operations
            assert found.vision or not wanted["uses"]
        asked = {backend for backend, _ in tried}
        able = {
            letter
            for letter, given in zip("abcdef", deployments, strict=False)
            if (not wanted["regions"] or given["region"] in wanted["regions"])
            and (not wanted["tiers"] or given["tier"] in wanted["tiers"])
            and (not given["operations"] or wanted["operation"] in given["operations"])
            and (given["vision"] or not wanted["uses"])
            and (given["api_versions"] is None or wanted["api_version"] in ("", "2024-10-21"))
            and given["canary"] is None
        }
        wide = {
            letter for letter in able if (deployments["abcdef".index(letter)]["context"] or 1e9) >= wanted["tokens"]
        }
        assert wide <= asked
        assert bool(able) <= bool(asked)
        assert len(plan.considered()) in (0, len(deployments))


def test_what_clients_can_make_many_of_is_forgotten() -> None:
    router = fleet({"api_versions": ("2024-06-01", "2024-10-21")}, {"context": 500})
    for number in range(3_000):
        assert first(router, regions=("here", str(number)), tokens=number, api_version=f"2024-07-{number:02d}"[:10])
    deployments = router.deployments("m")
    assert deployments is not None
    assert len(deployments._classes) <= 1_024
