"""Grants that never decide, found exactly where trying everything finds them."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Grant
from proxy.identity.principal import Principal
from proxy.policy.operations import OPERATIONS
from proxy.policy.request import Request
from proxy.policy.rule import Rule
from proxy.policy.shadow import covers, shadowed

PATTERNS = [
    (["*"], ["gpt-*"], True),
    (["gpt-*"], ["*"], False),
    (["gpt-*"], ["gpt-4o"], True),
    (["gpt-*"], ["gpt-4*"], True),
    (["gpt-4*"], ["gpt-*"], False),
    (["gpt-?"], ["gpt-*"], False),
    (["gpt-?"], ["gpt-4"], True),
    (["a", "b"], ["b", "a"], True),
    (["a"], ["a", "b"], False),
    (["a*"], ["a?"], True),
    (["a?*"], ["a*"], False),
    (["*a*"], ["*ba"], True),
    (["*a"], ["*a*"], False),
    (["x[ab]"], ["x[ab]"], True),
    (["x*"], ["x[ab]"], False),
    (["*"], ["********"], True),
    (["*b*"], ["*a*"], False),
]


@pytest.mark.parametrize(("wide", "narrow", "expected"), PATTERNS)
def test_patterns_within_patterns(wide: list[str], narrow: list[str], expected: bool) -> None:
    assert covers(wide, narrow) is expected


CHAT: dict[str, Any] = {"models": ("*",), "operations": ("chat.completions",)}
TABLE: list[tuple[str, Grant, Grant, bool]] = [
    ("the same twice", Grant(**CHAT), Grant(**CHAT), True),
    ("any operation before one", Grant(models=("*",), operations=("*",)), Grant(**CHAT), True),
    ("one before any", Grant(**CHAT), Grant(models=("*",), operations=("*",)), False),
    ("for anyone before for some", Grant(**CHAT), Grant(**CHAT, scopes=("a",)), True),
    ("for some before for anyone", Grant(**CHAT, scopes=("a",)), Grant(**CHAT), False),
    ("more scopes before fewer", Grant(**CHAT, scopes=("a", "b")), Grant(**CHAT, scopes=("b",)), True),
    ("fewer scopes before more", Grant(**CHAT, scopes=("b",)), Grant(**CHAT, scopes=("a", "b")), False),
    ("roles before scopes", Grant(**CHAT, roles=("a",)), Grant(**CHAT, scopes=("a",)), False),
    ("a feature more", Grant(**CHAT), Grant(**CHAT, features=("background",)), False),
    ("a feature less", Grant(**CHAT, features=("background",)), Grant(**CHAT), True),
    ("a lower bound after", Grant(**CHAT, max_tokens=20), Grant(**CHAT, max_tokens=10), True),
    ("a higher bound after", Grant(**CHAT, max_tokens=10), Grant(**CHAT, max_tokens=20), False),
    ("no bound after", Grant(**CHAT, max_choices=1), Grant(**CHAT), False),
    ("streams, then anything", Grant(**CHAT, streaming="required"), Grant(**CHAT), False),
    ("anything, then streams", Grant(**CHAT), Grant(**CHAT, streaming="required"), True),
    (
        "a bound that is none for the operation",
        Grant(models=("*",), operations=("*",), max_tokens=5, streaming="forbidden"),
        Grant(models=("*",), operations=("embeddings",)),
        True,
    ),
    ("tools forbidden before allowed", Grant(**CHAT, tools="forbidden"), Grant(**CHAT), False),
    ("tools forbidden after", Grant(**CHAT), Grant(**CHAT, tools="forbidden"), True),
]


@pytest.mark.parametrize(("first", "second", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_shadows(first: Grant, second: Grant, expected: bool) -> None:
    assert list(shadowed([first, second])) == ([(0, 1)] if expected else [])


def test_a_grant_that_allows_nothing_is_no_shadow() -> None:
    never = Grant(models=("*",), operations=("embeddings",), streaming="required")
    assert list(shadowed([Grant(models=("*",), operations=("*",)), never])) == []


KINDS = [(), ("a",), ("a", "b")]
small = st.builds(
    Grant,
    models=st.lists(st.sampled_from(["x", "x*", "y", "*"]), min_size=1, max_size=2).map(tuple),
    operations=st.sampled_from([("chat.completions",), ("embeddings",), ("audio.transcriptions", "completions")]),
    scopes=st.sampled_from(KINDS),
    users=st.sampled_from(KINDS),
    features=st.sampled_from([(), ("background",)]),
    max_tokens=st.sampled_from([None, 1, 2]),
    max_choices=st.sampled_from([None, 1]),
    streaming=st.sampled_from([None, "required", "forbidden"]),
    audio=st.sampled_from(["allowed", "forbidden"]),
)
MODELS = ("x", "xz", "y", "z")
OPERATIONS_ = ("chat.completions", "completions", "embeddings", "audio.transcriptions")
PRINCIPALS = [
    Principal("", None, "token", "", user=user, scopes=frozenset(scopes))
    for user, scopes in product((None, "a", "b"), ((), "a", "b"))
]
REQUESTS = [
    Request({}, None, stream=stream, completion_limit=limit, features=frozenset(features), uses=frozenset(uses),
            choices=choices)
    for stream, limit, features, uses, choices in product(
        (False, True), (None, 1, 2, 3), ((), ("background",)), ((), ("audio",)), (1, 2)
    )
]  # fmt: skip


def everything(rule: Rule) -> set[tuple[int, ...]]:
    """All that a rule allows, in a small world."""
    allowed: set[tuple[int, ...]] = set()
    for o, name in enumerate(OPERATIONS_):
        operation = OPERATIONS[name]
        for m, model in enumerate(MODELS):
            if rule.uncovered(name, model) is not None:
                continue
            for r, request in enumerate(REQUESTS):
                real = (
                    (operation.limits or request.completion_limit is None)
                    and (operation.streams or not request.stream)
                    and (operation.choices or request.choices == 1)
                    and (operation.body == "json" or request == REQUESTS[0])
                )
                if real and rule.exceeded(operation, request) is None:
                    allowed |= {(o, m, r, p) for p, who in enumerate(PRINCIPALS) if rule.unmet(who) is None}
    return allowed


@given(small, small)
def test_what_is_found_is_what_trying_everything_finds(first: Grant, second: Grant) -> None:
    earlier, later = everything(Rule(0, first)), everything(Rule(1, second))
    assert list(shadowed([first, second])) == ([(0, 1)] if later and later <= earlier else [])
