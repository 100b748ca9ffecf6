"""Grants: default deny, and the rule that decided is named."""

import pytest

from proxy.config.structs import Client, Grant
from proxy.policy.grants import Permissions
from proxy.refusal import Reason, Refused

MODELS = frozenset(("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "tts"))
CLIENT = Client(
    name="c",
    grants=(
        Grant(models=("gpt-4o",), operations=("chat.completions",)),
        Grant(models=("text-embedding-3-*",), operations=("embeddings",)),
        Grant(models=("gpt-4o",), operations=("*",), features=("remote_images",)),
    ),
)


@pytest.mark.parametrize(
    ("operation", "model", "features", "rule"),
    [
        ("chat.completions", "gpt-4o", set(), "grants[0]"),
        ("embeddings", "text-embedding-3-small", set(), "grants[1]"),
        ("responses", "gpt-4o", set(), "grants[2]"),
        ("chat.completions", "gpt-4o", {"remote_images"}, "grants[2]"),
    ],
)
def test_allowed(operation: str, model: str, features: set[str], rule: str) -> None:
    permissions = Permissions(CLIENT, MODELS)
    for _ in range(2):
        assert permissions.authorize(operation, model, frozenset(features)) == rule


@pytest.mark.parametrize(
    ("operation", "model", "features", "reason"),
    [
        ("embeddings", "gpt-4o-mini", set(), Reason.NOT_GRANTED),
        ("chat.completions", "text-embedding-3-small", set(), Reason.NOT_GRANTED),
        ("chat.completions", "GPT-4o", set(), Reason.UNKNOWN_MODEL),
        ("chat.completions", "nothing", set(), Reason.UNKNOWN_MODEL),
        ("chat.completions", "gpt-4o", {"server_tools"}, Reason.FEATURE_NOT_GRANTED),
        ("chat.completions", "gpt-4o", {"remote_images", "background"}, Reason.FEATURE_NOT_GRANTED),
    ],
)
def test_refused(operation: str, model: str, features: set[str], reason: Reason) -> None:
    permissions = Permissions(CLIENT, MODELS)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            permissions.authorize(operation, model, frozenset(features))
        assert caught.value.reason is reason


def test_a_client_without_grants_may_nothing() -> None:
    with pytest.raises(Refused):
        Permissions(Client(name="c"), MODELS).authorize("chat.completions", "gpt-4o", frozenset())


def test_models_are_listed_as_granted() -> None:
    assert Permissions(CLIENT, MODELS).models() == ["gpt-4o", "text-embedding-3-small"]


def test_unknown_models_are_not_remembered() -> None:
    permissions = Permissions(CLIENT, MODELS)
    for number in range(100):
        with pytest.raises(Refused):
            permissions.authorize("chat.completions", f"m{number}", frozenset())
    assert not permissions._decided
