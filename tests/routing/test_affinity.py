"""What keeps a prompt's cache with one deployment: a preference, stable, fair by weight, and given up under load."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Client
from proxy.policy.operations import OPERATIONS
from proxy.policy.request import read_json
from proxy.routing.affinity import LEADING, affinity, preferred, seed
from proxy.routing.candidate import Wanted
from tests.routing.fleet import NOW, first, fleet, load

CLIENT = Client(name="c")
LONG = "x" * LEADING


def of(kind: str, client: Client = CLIENT, operation: str = "chat.completions", **body: Any) -> bytes:
    return affinity(kind, client, read_json(OPERATIONS[operation], json.dumps({"model": "m"} | body).encode()))


def _body(name: str, prompt: list[str]) -> dict[str, Any]:
    return {name: prompt}


# What it is by.


def test_the_cache_key_is_what_counts() -> None:
    assert of("cache_key", prompt_cache_key="a", messages=[]) == of("cache_key", prompt_cache_key="a", messages=[1])
    assert of("cache_key", prompt_cache_key="a") != of("cache_key", prompt_cache_key="b")
    assert of("prompt", prompt_cache_key="a", messages=[LONG]) == of("cache_key", prompt_cache_key="a")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("off", {"prompt_cache_key": "a", "messages": [LONG]}),
        ("cache_key", {"messages": [LONG]}),
        ("cache_key", {"prompt_cache_key": None}),
        ("prompt", {"messages": ["too short to have been cached"]}),
        ("prompt", {}),
    ],
)
def test_nothing_to_go_by(kind: str, body: dict[str, Any]) -> None:
    assert of(kind, **body) == b""
    assert affinity(kind, CLIENT, None) == b""


@pytest.mark.parametrize(
    ("operation", "name"), [("chat.completions", "messages"), ("responses", "input"), ("completions", "prompt")]
)
def test_the_leading_messages_count_and_what_follows_does_not(operation: str, name: str) -> None:
    one = of("prompt", operation=operation, **_body(name, [LONG, "and how are you?"]))
    assert one == of("prompt", operation=operation, **_body(name, [LONG, "and who are you?", "again"]))
    assert one != of("prompt", operation=operation, **_body(name, ["y" + LONG]))
    assert one


def test_nobody_shares_what_is_anothers() -> None:
    clients = [CLIENT, Client(name="d"), Client(name="e", tenant="c"), Client(name="f", tenant="t")]
    assert len({of("cache_key", client, prompt_cache_key="a") for client in clients}) == 4
    same = Client(name="g", tenant="t")
    assert of("cache_key", same, prompt_cache_key="a") == of("cache_key", clients[3], prompt_cache_key="a")


# Whom it prefers.

KEYS = [of("cache_key", prompt_cache_key=f"session-{n}") for n in range(3_000)]


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 1, 1, 1, 1), (1, 2, 3, 4)])
def test_everybody_is_preferred_by_weight(weights: tuple[int, ...]) -> None:
    seeds = [seed(f"backend-{n}", "d") for n in range(len(weights))]
    got = Counter(preferred(key, seeds, weights) for key in KEYS)
    for index, weight in enumerate(weights):
        assert got[index] / len(KEYS) == pytest.approx(weight / sum(weights), abs=0.05)


@given(st.lists(st.tuples(st.text("abcdef", min_size=1), st.integers(1, 5)), min_size=2, max_size=8, unique=True))
def test_when_one_goes_only_those_move_that_preferred_it(members: list[tuple[str, int]]) -> None:
    seeds, weights = [seed(name, "d") for name, _ in members], [weight for _, weight in members]
    for key in KEYS[:20]:
        home = preferred(key, seeds, weights)
        for gone in range(len(members)):
            left = [index for index in range(len(members)) if index != gone]
            now = left[preferred(key, [seeds[i] for i in left], [weights[i] for i in left])]
            assert now == home or gone == home or seeds[now] == seeds[home]


def test_a_prompt_stays_where_it_was_whatever_is_drawn() -> None:
    router = fleet(*[{}] * 5)
    for key in KEYS[:50]:
        home = first(router, affinity=key)
        assert all(first(router, affinity=key) == home for _ in range(5))
    assert {first(router, affinity=key) for key in KEYS[:50]} == set("abcde")


# When it gives way.


def test_it_gives_way_to_who_is_clearly_less_busy_and_takes_its_place_again() -> None:
    router = fleet(*[{}] * 4)
    home = first(router, affinity=KEYS[0])
    load(router, home).in_flight = 2  # of 2 together: more than a quarter over the mean, and one
    assert first(router, affinity=KEYS[0]) != home
    for other in set("abcd") - {home}:
        load(router, other).in_flight = 2
    assert first(router, affinity=KEYS[0]) == home


def test_it_gives_way_to_who_has_room() -> None:
    router = fleet(*[{"tokens_per_minute": 1_000}] * 3)
    home = first(router, affinity=KEYS[0], tokens=100)
    load(router, home).charge(950, NOW)
    assert first(router, affinity=KEYS[0], tokens=100) != home
    assert first(router, affinity=KEYS[0], tokens=10) == home


def test_it_gives_way_to_who_answers_much_faster() -> None:
    router = fleet(*[{}] * 2)
    home = first(router, affinity=KEYS[0])
    for backend in "ab":
        load(router, backend).answered(2.0 if backend == home else 0.2, NOW, stream=True)
    assert first(router, affinity=KEYS[0], stream=True) != home
    load(router, "ab".replace(home, "")).answered(1.0, NOW, stream=True)
    assert first(router, affinity=KEYS[0], stream=True) == home


def test_while_its_home_is_out_a_prompt_has_one_other() -> None:
    router = fleet(*[{}] * 5)
    home = first(router, affinity=KEYS[0])
    tried = {(home, "d")}
    second = {
        found.backend for _ in range(20) if (found := router.order(_wanted(KEYS[0]), NOW).next(NOW, tried)) is not None
    }
    assert len(second) == 1
    assert home not in second


def _wanted(key: bytes) -> Wanted:
    return Wanted("m", affinity=key)
