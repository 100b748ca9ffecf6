"""Grants: default deny, the first that allows decides, and a refusal names the nearest and what it failed at."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Client, Grant
from proxy.identity.principal import Principal
from proxy.policy.grants import Permissions
from proxy.policy.operations import OPERATIONS
from proxy.policy.request import Request
from proxy.policy.rule import described
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
NOBODY = Principal("c", None, "key", "k")


def request(**facts: Any) -> Request:
    for field in ("features", "uses"):
        if field in facts:
            facts[field] = frozenset(facts[field])
    return Request({}, None, **facts)


def holder(**facts: Any) -> Principal:
    """A token's principal."""
    user = facts.pop("user", None)
    return Principal("c", None, "token", "t", user=user, **{kind: frozenset(names) for kind, names in facts.items()})


def decide(permissions: Permissions, operation: str, model: str, who: Principal, asked: Request | None) -> Any:
    """The rule that allows it, or the reason and rule of the refusal; the head's verdict never contradicts it."""
    try:
        rule = permissions.authorize(OPERATIONS[operation], model, who, asked).name
    except Refused as refused:
        return refused.reason, refused.rule
    permissions.admit(OPERATIONS[operation], model, who)
    return rule


@pytest.mark.parametrize(
    ("operation", "model", "features", "rule"),
    [
        ("chat.completions", "gpt-4o", (), "grants[0]"),
        ("embeddings", "text-embedding-3-small", (), "grants[1]"),
        ("responses", "gpt-4o", (), "grants[2]"),
        ("chat.completions", "gpt-4o", ("remote_images",), "grants[2]"),
    ],
)
def test_allowed(operation: str, model: str, features: tuple[str, ...], rule: str) -> None:
    permissions = Permissions(CLIENT, MODELS)
    for _ in range(2):
        assert decide(permissions, operation, model, NOBODY, request(features=features)) == rule


@pytest.mark.parametrize(
    ("operation", "model", "features", "reason", "rule"),
    [
        ("embeddings", "gpt-4o-mini", (), Reason.NOT_GRANTED, "grants[1].models: none matches gpt-4o-mini"),
        (
            "chat.completions",
            "text-embedding-3-small",
            (),
            Reason.NOT_GRANTED,
            "grants[0].models: none matches text-embedding-3-small",
        ),
        ("chat.completions", "GPT-4o", (), Reason.UNKNOWN_MODEL, "models"),
        ("chat.completions", "nothing", (), Reason.UNKNOWN_MODEL, "models"),
        (
            "chat.completions",
            "gpt-4o",
            ("server_tools",),
            Reason.FEATURE_NOT_GRANTED,
            "grants[0].features: server_tools",
        ),
        (
            "responses",
            "gpt-4o",
            ("remote_images", "background"),
            Reason.FEATURE_NOT_GRANTED,
            "grants[2].features: background",
        ),
    ],
)
def test_refused(operation: str, model: str, features: tuple[str, ...], reason: Reason, rule: str) -> None:
    permissions = Permissions(CLIENT, MODELS)
    for _ in range(2):
        assert decide(permissions, operation, model, NOBODY, request(features=features)) == (reason, rule)


CHAT: dict[str, Any] = {"models": ("*",), "operations": ("chat.completions",)}
SCOPED = Grant(**CHAT, scopes=("chat.read", "chat.write"))

PRINCIPALS: list[tuple[Grant, Principal, Any]] = [
    (SCOPED, holder(scopes=("chat.write",)), "grants[0]"),
    (SCOPED, holder(scopes=("other", "chat.read")), "grants[0]"),
    (SCOPED, holder(scopes=("chat",)), (Reason.SCOPE_MISSING, "grants[0].scopes: none of chat.read, chat.write")),
    (SCOPED, NOBODY, (Reason.SCOPE_MISSING, "grants[0].scopes: none of chat.read, chat.write")),
    (SCOPED, holder(roles=("chat.write",)), (Reason.SCOPE_MISSING, "grants[0].scopes: none of chat.read, chat.write")),
    (Grant(**CHAT, roles=("r",)), holder(roles=("r",)), "grants[0]"),
    (Grant(**CHAT, roles=("r",)), holder(scopes=("r",)), (Reason.ROLE_MISSING, "grants[0].roles: none of r")),
    (Grant(**CHAT, groups=("g",)), holder(groups=("g", "h")), "grants[0]"),
    (Grant(**CHAT, groups=("g",)), holder(), (Reason.GROUP_MISSING, "grants[0].groups: none of g")),
    (Grant(**CHAT, users=("u", "v")), holder(user="v"), "grants[0]"),
    (Grant(**CHAT, users=("u",)), holder(user="w"), (Reason.USER_NOT_GRANTED, "grants[0].users: none of u")),
    (Grant(**CHAT, users=("u",)), holder(), (Reason.USER_NOT_GRANTED, "grants[0].users: none of u")),
    (Grant(**CHAT, scopes=("s",), roles=("r",)), holder(scopes=("s",), roles=("r",)), "grants[0]"),
    (
        Grant(**CHAT, scopes=("s",), roles=("r",)),
        holder(scopes=("s",)),
        (Reason.ROLE_MISSING, "grants[0].roles: none of r"),
    ),
    (
        Grant(**CHAT, scopes=("s",), roles=("r",)),
        holder(roles=("r",)),
        (Reason.SCOPE_MISSING, "grants[0].scopes: none of s"),
    ),
]


@pytest.mark.parametrize(("grant", "who", "expected"), PRINCIPALS)
def test_whom_a_grant_is_for(grant: Grant, who: Principal, expected: Any) -> None:
    permissions = Permissions(Client(name="c", grants=(grant,)), MODELS)
    assert decide(permissions, "chat.completions", "gpt-4o", who, request()) == expected
    if isinstance(expected, tuple):
        with pytest.raises(Refused):
            permissions.admit(OPERATIONS["chat.completions"], "gpt-4o", who)


EVERY: dict[str, Any] = {"models": ("*",), "operations": ("*",)}
DENIED = Reason.PARAMETER_NOT_GRANTED

BOUNDS: list[tuple[Grant, str, Request | None, Any]] = [
    (Grant(**EVERY, max_tokens=10), "chat.completions", request(completion_limit=10), "grants[0]"),
    (Grant(**EVERY, max_tokens=10), "chat.completions", request(), "grants[0]"),
    (
        Grant(**EVERY, max_tokens=10),
        "chat.completions",
        request(completion_limit=11),
        (DENIED, "grants[0].max_tokens: 11 > 10"),
    ),
    (Grant(**EVERY, max_tokens=10), "audio.transcriptions", None, "grants[0]"),
    (Grant(**EVERY, max_choices=2), "chat.completions", request(choices=2), "grants[0]"),
    (
        Grant(**EVERY, max_choices=2),
        "completions",
        request(choices=3),
        (DENIED, "grants[0].max_choices: 3 > 2"),
    ),
    (Grant(**EVERY, max_choices=2), "images.edits", None, (DENIED, "grants[0].max_choices: not read in a form")),
    (Grant(**EVERY, max_choices=2), "audio.transcriptions", None, "grants[0]"),
    (Grant(**EVERY, streaming="required"), "chat.completions", request(stream=True), "grants[0]"),
    (
        Grant(**EVERY, streaming="required"),
        "chat.completions",
        request(),
        (DENIED, "grants[0].streaming: required"),
    ),
    (
        Grant(**EVERY, streaming="required"),
        "embeddings",
        request(stream=True),
        (DENIED, "grants[0].streaming: required"),
    ),
    (
        Grant(**EVERY, streaming="forbidden"),
        "chat.completions",
        request(stream=True),
        (DENIED, "grants[0].streaming: forbidden"),
    ),
    (Grant(**EVERY, streaming="forbidden"), "chat.completions", request(), "grants[0]"),
    (Grant(**EVERY, streaming="forbidden"), "audio.translations", None, "grants[0]"),
    (
        Grant(**EVERY, streaming="forbidden"),
        "audio.transcriptions",
        None,
        (DENIED, "grants[0].streaming: forbidden"),
    ),
    (
        Grant(**EVERY, tools="forbidden"),
        "responses",
        request(uses=("tools",)),
        (DENIED, "grants[0].tools: forbidden"),
    ),
    (Grant(**EVERY, tools="forbidden"), "responses", request(uses=("images", "audio")), "grants[0]"),
    (
        Grant(**EVERY, images="forbidden"),
        "chat.completions",
        request(uses=("images",)),
        (DENIED, "grants[0].images: forbidden"),
    ),
    (Grant(**EVERY, images="forbidden"), "images.edits", None, (DENIED, "grants[0].images: forbidden")),
    (Grant(**EVERY, images="forbidden"), "images.generations", request(), "grants[0]"),
    (
        Grant(**EVERY, audio="forbidden"),
        "chat.completions",
        request(uses=("audio",)),
        (DENIED, "grants[0].audio: forbidden"),
    ),
    (Grant(**EVERY, audio="forbidden"), "audio.translations", None, (DENIED, "grants[0].audio: forbidden")),
    (Grant(**EVERY, audio="forbidden"), "audio.speech", request(), "grants[0]"),
]


@pytest.mark.parametrize(("grant", "operation", "asked", "expected"), BOUNDS)
def test_bounds(grant: Grant, operation: str, asked: Request | None, expected: Any) -> None:
    permissions = Permissions(Client(name="c", grants=(grant,)), MODELS)
    assert decide(permissions, operation, "gpt-4o", NOBODY, asked) == expected


def test_the_nearest_grant_is_the_one_that_met_the_most() -> None:
    grants = (
        Grant(models=("tts",), operations=("chat.completions",)),
        Grant(**CHAT, scopes=("admin",)),
        Grant(**CHAT, scopes=("chat",), max_tokens=100),
        Grant(**CHAT, scopes=("chat",), max_tokens=50),
    )
    permissions = Permissions(Client(name="c", grants=grants), MODELS)
    who = holder(scopes=("chat",))
    assert decide(permissions, "chat.completions", "gpt-4o", who, request(completion_limit=200)) == (
        DENIED,
        "grants[2].max_tokens: 200 > 100",
    )
    assert decide(permissions, "chat.completions", "gpt-4o", NOBODY, request()) == (
        Reason.SCOPE_MISSING,
        "grants[1].scopes: none of admin",
    )


def test_a_client_without_grants_may_nothing() -> None:
    permissions = Permissions(Client(name="c"), MODELS)
    assert decide(permissions, "chat.completions", "gpt-4o", NOBODY, request()) == (Reason.NOT_GRANTED, "no grants")


def test_models_are_listed_as_granted_to_the_principal_and_served_in_its_regions() -> None:
    assert Permissions(CLIENT, MODELS).models(NOBODY) == ["gpt-4o", "text-embedding-3-small"]
    assert Permissions(CLIENT, MODELS, frozenset(("gpt-4o", "tts"))).models(NOBODY) == ["gpt-4o"]
    scoped = Permissions(Client(name="c", grants=(SCOPED, Grant(models=("tts",), operations=("*",)))), MODELS)
    assert scoped.models(NOBODY) == ["tts"]
    assert scoped.models(holder(scopes=("chat.read",))) == sorted(MODELS)


def test_unknown_models_are_not_remembered() -> None:
    permissions = Permissions(CLIENT, MODELS)
    for number in range(100):
        with pytest.raises(Refused):
            permissions.authorize(OPERATIONS["chat.completions"], f"m{number}", NOBODY, request())
    assert not permissions._covering


names = st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple)
sets = st.frozensets(st.sampled_from(["a", "b", "c"]))
grants_ = st.builds(
    Grant,
    models=st.lists(st.sampled_from(["gpt-4o", "gpt-*", "tts", "*"]), max_size=2).map(tuple),
    operations=st.lists(st.sampled_from(["*", *OPERATIONS]), max_size=3).map(tuple),
    scopes=names,
    roles=names,
    groups=names,
    users=names,
    features=st.lists(st.sampled_from(["data_sources", "background"]), max_size=2).map(tuple),
    max_tokens=st.none() | st.integers(1, 3),
    max_choices=st.none() | st.integers(1, 3),
    streaming=st.sampled_from([None, "required", "forbidden"]),
    tools=st.sampled_from(["allowed", "forbidden"]),
    images=st.sampled_from(["allowed", "forbidden"]),
    audio=st.sampled_from(["allowed", "forbidden"]),
)
principals = st.builds(
    Principal,
    client=st.just("c"),
    tenant=st.none(),
    kind=st.just("token"),
    fingerprint=st.just(""),
    user=st.none() | st.sampled_from(["a", "b"]),
    scopes=sets,
    roles=sets,
    groups=sets,
)
requests = st.builds(
    Request,
    members=st.just({}),
    model=st.none(),
    stream=st.booleans(),
    completion_limit=st.none() | st.integers(0, 4),
    features=st.frozensets(st.sampled_from(["data_sources", "background"])),
    uses=st.frozensets(st.sampled_from(["tools", "images", "audio"])),
    choices=st.integers(1, 4),
)


def allows(grant: Grant, operation: str, model: str, who: Principal, asked: Request) -> bool:
    """A grant, spelled out once more from its documentation."""
    op = OPERATIONS[operation]
    form = op.body == "multipart"
    patterns = {"*": True, "gpt-*": model.startswith("gpt-"), "gpt-4o": model == "gpt-4o", "tts": model == "tts"}
    return all(
        (
            any(patterns[pattern] for pattern in grant.models),
            "*" in grant.operations or operation in grant.operations,
            not grant.scopes or bool(who.scopes & set(grant.scopes)),
            not grant.roles or bool(who.roles & set(grant.roles)),
            not grant.groups or bool(who.groups & set(grant.groups)),
            not grant.users or who.user in grant.users,
            asked.features <= set(grant.features),
            grant.max_tokens is None or asked.completion_limit is None or asked.completion_limit <= grant.max_tokens,
            grant.max_choices is None or (asked.choices <= grant.max_choices and not (form and op.choices)),
            grant.streaming != "required" or (asked.stream and op.streams),
            grant.streaming != "forbidden" or not (asked.stream or (form and op.streams)),
            *(
                getattr(grant, kind) == "allowed" or (kind not in asked.uses and kind not in op.inputs)
                for kind in ("tools", "images", "audio")
            ),
        )
    )


@given(st.lists(grants_, max_size=4), st.sampled_from(sorted(OPERATIONS)), st.sampled_from(sorted(MODELS)), principals,
       requests)  # fmt: skip
def test_the_first_grant_that_allows_decides_and_no_other_does(
    grants: list[Grant], operation: str, model: str, who: Principal, asked: Request
) -> None:
    permissions = Permissions(Client(name="c", grants=tuple(grants)), MODELS)
    decided = decide(permissions, operation, model, who, asked)
    expected = [f"grants[{i}]" for i, grant in enumerate(grants) if allows(grant, operation, model, who, asked)]
    if expected:
        assert decided == expected[0]
    else:
        assert isinstance(decided, tuple)
    verdicts = permissions.verdicts(OPERATIONS[operation], model, who, asked)
    assert [verdict.grant for verdict in verdicts if verdict.miss is None] == expected
    denied = decide(Permissions(Client(name="c"), MODELS), operation, model, who, asked)
    assert denied == (Reason.NOT_GRANTED, "no grants")


def test_a_grant_in_one_line() -> None:
    assert described(Grant(**EVERY)) == "* on *"
    grant = Grant(
        models=("a", "b*"),
        operations=("chat.completions",),
        scopes=("r", "w"),
        features=("background",),
        max_tokens=64,
        streaming="required",
        tools="forbidden",
    )
    assert described(grant) == (
        "chat.completions on a, b*; scopes: r or w; with background; max_tokens 64; streaming required; tools forbidden"
    )
