"""Explanations say what the gateway's own decision says, and why; nothing is decided twice."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from proxy.config.structs import (
    Backend,
    Client,
    Config,
    Credential,
    Deployment,
    Grant,
    Limits,
    Listen,
    Model,
)
from proxy.identity.principal import Principal
from proxy.policy.explain import Asked, BackendTold, Explainer, Explanation, GrantTold, LimitTold, Present
from proxy.policy.grants import Permissions, permissions
from proxy.policy.operations import Operation, parse_target
from proxy.policy.request import Request, read_json
from proxy.refusal import Reason, Refused
from tests.policy.test_grants import grants_, principals

V1 = "/openai/v1/chat/completions"
CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def config(*grants: Grant, regions: tuple[str, ...] = ()) -> Config:
    return Config(
        listen=Listen(certificate="c"),
        clients=(
            Client(
                name="c", tenant="t", regions=regions, grants=grants, limits=Limits(requests_per_minute=9)
            ),
        ),
        credentials={"gateway": Credential(kind="managed_identity")},
        backends=(
            Backend(name="ptu", url="https://x", region="sweden", credential="gateway", tier="provisioned"),
            Backend(name="std", url="https://x", region="sweden", credential="gateway"),
            Backend(name="fra", url="https://x", region="france", credential="gateway"),
        ),
        models=(
            Model(
                name="gpt-4o",
                deployments=(
                    Deployment(backend="std", deployment="d", priority=1, weight=1),
                    Deployment(backend="fra", deployment="d", priority=1, weight=3),
                    Deployment(backend="ptu", deployment="p"),
                ),
            ),
            Model(name="tts", deployments=(Deployment(backend="fra", deployment="tts"),)),
        ),
    )  # fmt: skip


ANY = Grant(models=("*",), operations=("*",))
WHO = Principal("c", "t", "token", "sha256:ab", user="u", scopes=frozenset(("b", "a")))


def told(
    *grants: Grant,
    target: str = V1,
    body: Any = None,
    who: Principal | Refused = WHO,
    regions: tuple[str, ...] = (),
    present: Present | None = None,
    method: str = "POST",
) -> Explanation:
    content = None if body is None else msgspec.json.encode(body)
    return Explainer(config(*grants, regions=regions)).explain(Asked(method, target, content), who, present)


def turns(explanation: Explanation) -> list[tuple[str, int | None, str]]:
    return [(backend.backend, backend.turn, backend.why) for backend in explanation.backends]


def test_all_of_a_decision() -> None:
    explanation = told(Grant(models=("tts",), operations=("*",)), Grant(**_fields(ANY), max_tokens=5), target=CHAT)
    assert (explanation.decision, explanation.rule, explanation.status) == ("allowed", "grants[1]", None)
    assert explanation.grants == (
        GrantTold("grants[0]", False, "models", "none matches gpt-4o"),
        GrantTold("grants[1]", True),
    )
    assert explanation.sets == {"max_completion_tokens": 5}
    assert explanation.limits == (LimitTold("requests_per_minute", 9),)
    assert explanation.backends[0] == BackendTold("ptu", "p", "sweden", "provisioned", 1, "priority 0")
    assert turns(explanation)[1:] == [
        ("fra", 2, "priority 1, first of it in 3 of 4 requests"),
        ("std", 3, "priority 1, first of it in 1 of 4 requests"),
    ]
    assert explanation.identity is not None
    assert explanation.identity.scopes == ("a", "b")


def _fields(grant: Grant) -> dict[str, Any]:
    return {"models": grant.models, "operations": grant.operations}


def test_deployments_outside_the_clients_regions_are_named_and_never_asked() -> None:
    explanation = told(ANY, target=CHAT, regions=("france",))
    assert turns(explanation) == [
        ("fra", 1, "priority 1"),
        ("ptu", None, "never: not in the client's regions"),
        ("std", None, "never: not in the client's regions"),
    ]
    explanation = told(ANY, target=CHAT.replace("gpt-4o", "tts"), regions=("sweden",))
    assert (explanation.decision, explanation.status, explanation.reason) == ("refused", 503, "no_backend")
    assert [backend.turn for backend in explanation.backends] == [None]


def test_what_is_set_aside_is_passed_over() -> None:
    present = Present({("ptu", "p"): "throttled"}, {("std", "d"): "open at 1 of 2 workers"}, {"requests_per_minute": 4})
    explanation = told(ANY, target=CHAT, present=present)
    assert turns(explanation) == [
        ("fra", 1, "priority 1, first of it in 3 of 4 requests"),
        ("std", 2, "priority 1, first of it in 1 of 4 requests, open at 1 of 2 workers"),
        ("ptu", None, "throttled"),
    ]
    assert explanation.limits == (LimitTold("requests_per_minute", 9, 4),)
    every = Present(dict.fromkeys([("ptu", "p"), ("std", "d"), ("fra", "d")], "open"))
    assert told(ANY, target=CHAT, present=every).notes[-1].startswith("every deployment is set aside")


STAGES: list[tuple[dict[str, Any], Reason, str]] = [
    ({"target": "openai"}, Reason.BAD_TARGET, "not in origin form"),
    ({"target": "/openai/v1/é"}, Reason.BAD_TARGET, "not in origin form"),
    ({"target": V1 + "?api-key=x"}, Reason.CREDENTIAL_IN_QUERY, "credential in the query"),
    ({"method": "GET"}, Reason.METHOD_NOT_ALLOWED, "chat.completions"),
    ({"who": Refused(Reason.NO_CREDENTIAL, "none presented")}, Reason.NO_CREDENTIAL, "none presented"),
    ({"target": CHAT.replace("gpt-4o", "gpt-9")}, Reason.UNKNOWN_MODEL, "models"),
    ({}, Reason.MODEL_MISSING, "model"),
    ({"target": "/openai/v1/audio/transcriptions"}, Reason.MODEL_MISSING, "model"),
    ({"body": [1]}, Reason.BAD_JSON, "body"),
    ({"body": {"model": "gpt-4o", "store": True}}, Reason.STORED_STATE, "store"),
    ({"body": {"model": "gpt-4o", "tools": [{"type": "mcp"}]}}, Reason.FEATURE_NOT_GRANTED, "grants[0].features: "
     "server_tools"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "reason", "rule"), STAGES)
def test_each_stage_can_refuse(asked: dict[str, Any], reason: Reason, rule: str) -> None:
    explanation = told(ANY, **asked)
    assert explanation.decision == "refused"
    assert (explanation.status, explanation.reason) == (reason.terms.status, reason.value)
    assert explanation.rule == rule
    assert explanation.backends == ()


def test_listings_say_what_is_listed() -> None:
    for method in ("GET", "HEAD"):
        explanation = told(ANY, method=method, target="/openai/v1/models", regions=("sweden",))
        assert (explanation.decision, explanation.models) == ("allowed", ("gpt-4o",))


BODIES: list[dict[str, Any]] = [
    {},
    {"stream": True},
    {"max_tokens": 2},
    {"max_completion_tokens": 9, "n": 3},
    {"tools": [{"type": "function"}], "background": True},
    {"messages": [{"content": [{"type": "input_audio", "input_audio": {}}, {"image_url": "data:,"}]}]},
]


@given(grants_, grants_, principals)
def test_an_explanation_is_the_gateways_own_decision(first: Grant, second: Grant, who: Principal) -> None:
    world = config(first, second)
    granted = permissions(world.clients, world.models, world.backends)["c"]
    explainer = Explainer(world)
    target = parse_target(b"POST", V1.encode())
    for body in BODIES:
        content = msgspec.json.encode({"model": "gpt-4o", **body})
        explanation = explainer.explain(Asked("POST", V1, content), who)
        decided = decision(granted, target.operation, who, read_json(target.operation, content, granted.closely))
        if isinstance(decided, Refused):
            assert explanation.decision == "refused"
            assert (explanation.reason, explanation.rule) == (decided.reason.value, decided.rule)
            assert explanation.message == decided.message
        else:
            assert (explanation.decision, explanation.rule) == ("allowed", decided)
            assert next(grant.grant for grant in explanation.grants if grant.allows) == decided


def decision(granted: Permissions, operation: Operation, who: Principal, request: Request) -> str | Refused:
    try:
        return granted.authorize(operation, "gpt-4o", who, request).name
    except Refused as refused:
        return refused
