"""Targets: what they ask for, what a backend would get, and what never reaches one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.operations import OPERATIONS, STATELESS, Targets, parse_target
from proxy.refusal import Reason, Refused

V = b"?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("method", "raw", "operation", "model", "forwarded"),
    [
        (
            b"POST",
            b"/openai/deployments/gpt-4o/chat/completions" + V,
            "chat.completions",
            "gpt-4o",
            "/openai/deployments/D/chat/completions?api-version=2024-10-21",
        ),
        (b"POST", b"/openai/v1/chat/completions", "chat.completions", None, "/openai/v1/chat/completions"),
        (
            b"POST",
            b"/openai/v1/responses?api-version=preview",
            "responses",
            None,
            "/openai/v1/responses?api-version=preview",
        ),
        (b"POST", b"/openai/responses" + V, "responses", None, "/openai/responses?api-version=2024-10-21"),
        (b"POST", b"/openai/v1/embeddings", "embeddings", None, "/openai/v1/embeddings"),
        (b"POST", b"/openai/v1/audio/speech", "audio.speech", None, "/openai/v1/audio/speech"),
        (b"POST", b"/openai/deployments/a%20b/embeddings" + V, "embeddings", "a b", None),
        (b"GET", b"/openai/v1/models", "models", None, None),
        (b"GET", b"/openai/models" + V, "models", None, None),
        (b"GET", b"/openai/deployments" + V, "models", None, None),
    ],
)
def test_targets_understood(
    method: bytes, raw: bytes, operation: str, model: str | None, forwarded: str | None
) -> None:
    target = parse_target(method, raw)
    assert (target.operation.name, target.model) == (operation, model)
    if forwarded is not None:
        assert target.forward("D") == forwarded


@pytest.mark.parametrize(
    ("method", "raw", "operation", "ids", "forwarded"),
    [
        (b"POST", b"/openai/v1/files", "files.create", (), "/openai/v1/files"),
        (b"GET", b"/openai/files" + V, "files.list", (), "/openai/files?api-version=2024-10-21"),
        (b"GET", b"/openai/v1/files/%66ile-1?limit=3", "files.get", (("file", "file-1"),), "/openai/v1/files/file-1"),
        (
            b"DELETE",
            b"/openai/v1/responses/r_1",
            "responses.delete",
            (("response", "r_1"),),
            "/openai/v1/responses/r_1",
        ),
        (
            b"GET",
            b"/openai/v1/responses/r/input_items?limit=3&after=x&include[]=a&include[]=b&x=y",
            "responses.input_items",
            (("response", "r"),),
            "/openai/v1/responses/r/input_items?limit=3&after=x&include%5B%5D=a&include%5B%5D=b",
        ),
        (
            b"DELETE",
            b"/openai/v1/vector_stores/vs_1/files/f",
            "vector_stores.files.delete",
            (("vector_store", "vs_1"), ("file", "f")),
            "/openai/v1/vector_stores/vs_1/files/f",
        ),
        (b"POST", b"/openai/v1/responses", "responses", (), "/openai/v1/responses"),
    ],
)
def test_targets_of_stored_state(
    method: bytes, raw: bytes, operation: str, ids: tuple[tuple[str, str], ...], forwarded: str
) -> None:
    target = parse_target(method, raw)
    assert (target.operation.name, target.ids, target.model) == (operation, ids, None)
    assert target.forward("D") == forwarded


def test_targets_of_stored_state_are_not_remembered() -> None:
    targets = Targets()
    targets.parse(b"GET", b"/openai/v1/files/f")
    targets.parse(b"GET", b"/openai/v1/models")
    assert len(targets._seen) == 1


def test_every_path_is_one_operations() -> None:
    seen = set()
    for operation in OPERATIONS.values():
        if operation.name not in {one.stored for one in OPERATIONS.values()}:
            key = operation.method, operation.path
            assert key not in seen
            seen.add(key)
        if operation.state is not None:
            assert not operation.inference
            assert operation.name not in STATELESS


def test_only_listed_parameters_pass() -> None:
    raw = b"/openai/v1/embeddings?api-version=preview&x=1&deployment=other&y=%26z"
    assert parse_target(b"POST", raw).forward("D") == "/openai/v1/embeddings?api-version=preview"
    assert parse_target(b"POST", raw, frozenset("y")).forward("D").endswith("?api-version=preview&y=%26z")


def test_a_deployment_is_quoted_when_forwarded() -> None:
    target = parse_target(b"POST", b"/openai/deployments/m/embeddings" + V)
    assert target.forward("a/b?c") == "/openai/deployments/a%2Fb%3Fc/embeddings?api-version=2024-10-21"


CHAT = b"/openai/v1/chat/completions"
REFUSED = [
    (b"*", Reason.BAD_TARGET),
    (b"https://a/openai/v1/models", Reason.BAD_TARGET),
    (b"a:443", Reason.BAD_TARGET),
    (b"", Reason.BAD_TARGET),
    (CHAT + b"#x", Reason.BAD_TARGET),
    (b"/openai/v1/caf\xc3\xa9", Reason.BAD_TARGET),
    (b"/openai/v1/../v1/chat/completions", Reason.BAD_TARGET),
    (b"/openai/v1/./chat/completions", Reason.BAD_TARGET),
    (b"/openai/v1/%2e%2e/chat/completions", Reason.BAD_TARGET),
    (b"/openai/v1/chat%2fcompletions", Reason.BAD_TARGET),
    (b"/openai/v1/chat%5ccompletions", Reason.BAD_TARGET),
    (b"/openai/v1/chat\\completions", Reason.BAD_TARGET),
    (b"/openai/v1/%00", Reason.BAD_TARGET),
    (b"/openai/v1/a%252fb", Reason.BAD_TARGET),
    (b"/openai//v1/chat/completions", Reason.BAD_TARGET),
    (b"/openai/v1/chat/completions/", Reason.BAD_TARGET),
    (b"/openai/v1/chat;x=1/completions", Reason.BAD_TARGET),
    (b"/openai/deployments/../embeddings" + V, Reason.BAD_TARGET),
    (b"/openai/deployments/%2e%2e/embeddings" + V, Reason.BAD_TARGET),
    (CHAT + b"?api-version=1&api-version=2", Reason.BAD_TARGET),
    (CHAT + b"?api-version=1%26x", Reason.BAD_TARGET),
    (CHAT + b"?api-version=", Reason.BAD_TARGET),
    (CHAT + b"?api-key=k", Reason.CREDENTIAL_IN_QUERY),
    (CHAT + b"?API-Key=k", Reason.CREDENTIAL_IN_QUERY),
    (CHAT + b"?api%2Dkey=k", Reason.CREDENTIAL_IN_QUERY),
    (CHAT + b"?x=1&+key=k", Reason.CREDENTIAL_IN_QUERY),
    (CHAT + b"?access_token=k", Reason.CREDENTIAL_IN_QUERY),
    (CHAT + b"?subscription-key=k", Reason.CREDENTIAL_IN_QUERY),
    (b"/", Reason.BAD_TARGET),
    (b"/openai", Reason.UNKNOWN_OPERATION),
    (b"/other/v1/chat", Reason.UNKNOWN_OPERATION),
    (b"/openai/v1/realtime", Reason.UNKNOWN_OPERATION),
    (b"/openai/v1/unknown", Reason.UNKNOWN_OPERATION),
    (b"/openai/deployments/m/chat/completions", Reason.UNKNOWN_OPERATION),
    (b"/openai/deployments/m/responses" + V, Reason.UNKNOWN_OPERATION),
    (b"/openai/v1/batches/b1", Reason.METHOD_NOT_ALLOWED),
    (b"/openai/v1/batches/b1/x", Reason.STORED_STATE),
    (b"/openai/v1/containers", Reason.STORED_STATE),
    (b"/openai/v1/uploads", Reason.STORED_STATE),
    (b"/openai/v1/files/a.b", Reason.NOT_FOUND),
    (b"/openai/v1/files/-a", Reason.NOT_FOUND),
    (b"/openai/v1/files/" + b"a" * 129, Reason.NOT_FOUND),
    (b"/openai/files", Reason.UNKNOWN_OPERATION),
    (b"/openai/assistants" + V, Reason.STORED_STATE),
    (b"/openai/threads/t/messages" + V, Reason.STORED_STATE),
    (b"/openai/v1/responses/r1", Reason.METHOD_NOT_ALLOWED),
    (b"/openai/v1/responses/r1/x", Reason.STORED_STATE),
    (b"/openai/v1/chat/completions/c1", Reason.STORED_STATE),
    (b"/openai/v1/fine_tuning/alpha/graders/run", Reason.STORED_STATE),
    (b"/openai/deployments/m/files" + V, Reason.STORED_STATE),
    (b"/openai/v1/models", Reason.METHOD_NOT_ALLOWED),
]


@pytest.mark.parametrize(("raw", "reason"), REFUSED, ids=[raw.decode("latin-1") for raw, _ in REFUSED])
def test_targets_refused(raw: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        parse_target(b"POST", raw)
    assert caught.value.reason is reason


@given(st.binary(max_size=200))
def test_any_target_is_an_operation_or_a_refusal(raw: bytes) -> None:
    try:
        target = parse_target(b"POST", raw)
    except Refused:
        return
    assert target.operation.name in OPERATIONS


@given(st.text(alphabet="abc/.%2ef\\;:@ 0", max_size=30))
def test_what_is_forwarded_has_no_way_up(path: str) -> None:
    raw = f"/openai/deployments/{path}/embeddings?api-version=1".encode()
    try:
        forwarded = parse_target(b"POST", raw).forward("dep")
    except Refused:
        return
    assert forwarded == "/openai/deployments/dep/embeddings?api-version=1"


def test_the_memory_of_targets_is_bounded() -> None:
    targets = Targets(size=4)
    for number in range(50):
        raw = b"/openai/deployments/m%d/embeddings" % number + V
        assert targets.parse(b"POST", raw) == targets.parse(b"POST", raw)
    assert len(targets._seen) <= 4
