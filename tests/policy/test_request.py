"""Request bodies: what is read is what is sent, and what a grant would have to name is seen however it is spelled."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.operations import OPERATIONS, parse_target
from proxy.policy.request import forwarded, limit_completion, read_json, requested_model
from proxy.refusal import Reason, Refused

CHAT, RESPONSES, EMBEDDINGS = (OPERATIONS[name] for name in ("chat.completions", "responses", "embeddings"))
MESSAGES = [{"role": "user", "content": "hi"}]


def sent(body: bytes, *, ask_usage: bool = False, operation: Any = CHAT) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(forwarded(read_json(operation, body), "dep", ask_usage=ask_usage))
    return result


def dump(**members: object) -> bytes:
    return json.dumps(members).encode()


def test_the_model_is_renamed_and_the_rest_stays() -> None:
    body = b'{"model": "gpt-4o", "x": [1, 2.50, {"a": null}], "messages": []}'
    out = forwarded(read_json(CHAT, body), "dep", ask_usage=False)
    assert out == b'{"model":"dep","x":[1, 2.50, {"a": null}],"messages":[]}'


def test_of_a_duplicate_key_one_is_read_and_the_same_one_is_sent() -> None:
    body = b'{"model":"cheap","model":"dear","stream":true,"stream":false,"stream":true}'
    request = read_json(CHAT, body)
    assert request.model == "dear"
    out = forwarded(request, "dep", ask_usage=False)
    assert out.count(b"model") == 1
    assert out.count(b'"stream"') == 1


def test_a_key_in_disguise_is_the_same_key() -> None:
    request = read_json(CHAT, b'{"mod\\u0065l":"a","model":"b"}')
    assert request.model == "b"
    assert forwarded(request, "dep", ask_usage=False) == b'{"model":"dep"}'


@pytest.mark.parametrize(
    ("members", "wants", "expected"),
    [
        ({}, False, {"include_usage": True}),
        ({"stream_options": None}, False, {"include_usage": True}),
        ({"stream_options": {}}, False, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "x": 1}}, False, {"include_usage": True, "x": 1}),
        ({"stream_options": {"include_usage": True}}, True, {"include_usage": True}),
    ],
)
def test_usage_is_asked_for(members: dict[str, Any], wants: bool, expected: dict[str, Any]) -> None:
    body = dump(model="m", stream=True, messages=MESSAGES, **members)
    assert read_json(CHAT, body).wants_usage is wants
    assert sent(body, ask_usage=True)["stream_options"] == expected


def test_a_second_attempt_may_ask_differently() -> None:
    request = read_json(CHAT, dump(model="m", stream=True, messages=MESSAGES))
    assert b"include_usage" in forwarded(request, "a", ask_usage=True)
    assert b"include_usage" not in forwarded(request, "b", ask_usage=False)


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_completion_limit(key: str) -> None:
    assert read_json(CHAT, dump(model="m", **{key: 17})).completion_limit == 17


def test_responses_are_sent_unstored_unless_asked() -> None:
    assert sent(dump(model="m", input="hi"), operation=RESPONSES)["store"] is False


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"{",
        b'{"model":}',
        b'{"model":"m"} x',
        b'{"model":"m"',
        b'{"model":1}',
        b'{"model":["m"]}',
        b'{"model":"m","stream":1}',
        b'{"model":"m","stream":"true"}',
        b'{"model":"m","stream":[]}',
        b'{"model":"m","stream":true,"stream_options":1}',
        b'{"model":"m","max_tokens":-1}',
        b'{"model":"m","max_tokens":1.5}',
        b'{"model":"m","max_tokens":true}',
        b'{"model":"m","max_tokens":99999999999999999999}',
        b"\xff\xfe{}",
        b'{"model":"\xff"}',
        b'{"a":' + b"[" * 100_000,
        b'{"tools":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_bodies_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_json(CHAT, body)
    assert caught.value.reason is Reason.BAD_JSON


def image(url: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


FEATURES: list[tuple[bytes, set[str]]] = [
    (dump(model="m", messages=MESSAGES), set()),
    (dump(model="m", messages=MESSAGES, data_sources=[{}]), {"data_sources"}),
    (dump(model="m", messages=MESSAGES, dataSources=[{}]), {"data_sources"}),
    (b'{"data\\u005fsources":[1]}', {"data_sources"}),
    (dump(model="m", messages=MESSAGES, data_sources=None), set()),
    (dump(model="m", messages=MESSAGES, web_search_options={}), {"server_tools"}),
    (dump(model="m", tools=[{"type": "function"}]), set()),
    (dump(model="m", tools=None), set()),
    (dump(model="m", tools=[{"type": "mcp"}]), {"server_tools"}),
    (dump(model="m", tools=[{"type": "function"}, {"type": "file_search"}]), {"server_tools"}),
    (b'{"tools":[{"type":"function","type":"mcp"}]}', {"server_tools"}),
    (dump(model="m", tools=[{}]), {"server_tools"}),
    (dump(model="m", tools="x"), {"server_tools"}),
    (dump(model="m", messages=image("https://a/b.png")), {"remote_images"}),
    (dump(model="m", messages=image("http://169.254.169.254/")), {"remote_images"}),
    (dump(model="m", messages=image("data:image/png;base64,AA==")), set()),
    (dump(model="m", messages=image("DATA:image/png;base64,AA==")), set()),
    (dump(model="m", messages=image(5)), {"remote_images"}),
    (json.dumps({"messages": image("https://a")}).replace("image_url", "image\\u005furl").encode(), {"remote_images"}),
    (dump(model="m", input=[{"content": [{"type": "input_image", "image_url": "https://a"}]}]), {"remote_images"}),
    (dump(model="m", input=[{"content": [{"type": "input_file", "file_url": "https://a"}]}]), {"remote_images"}),
    (dump(model="m", background=True), {"background"}),
    (dump(model="m", background=False), set()),
]


@pytest.mark.parametrize(("body", "features"), FEATURES)
def test_features_are_seen(body: bytes, features: set[str]) -> None:
    assert read_json(RESPONSES, body).features == features


def test_what_was_judged_inside_is_what_is_sent() -> None:
    body = b'{"model":"m","tools":[{"type":"mcp","type":"function"}],"messages":[{"image_url":"https://a","image_url":"data:,"}]}'
    request = read_json(CHAT, body)
    assert request.features == frozenset()
    out = forwarded(request, "dep", ask_usage=False)
    assert b"mcp" not in out
    assert b"https" not in out


def part(kind: str, **inside: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": kind, **inside}]}]


USES: list[tuple[bytes, set[str]]] = [
    (dump(messages=MESSAGES), set()),
    (dump(messages=[{"role": "user", "content": "an image, some audio, a file"}]), set()),
    (dump(tools=[]), set()),
    (dump(tools=None, functions=None), set()),
    (dump(tools=[{"type": "function"}]), {"tools"}),
    (b'{"to\\u006fls":[{"type":"function"}]}', {"tools"}),
    (dump(functions=[{"name": "f"}]), {"tools"}),
    (dump(web_search_options={}), {"tools"}),
    (dump(messages=image("data:image/png;base64,AA==")), {"images"}),
    (json.dumps({"messages": image("data:,")}).replace("image", "im\\u0061ge").encode(), {"images"}),
    (dump(messages=part("input_audio", input_audio={"data": "AA==", "format": "wav"})), {"audio"}),
    (dump(messages=[{"role": "assistant", "content": "a", "audio": None}]), set()),
    (dump(messages=part("file", file={"file_data": "data:application/pdf;base64,AA=="})), {"images"}),
    (dump(input=part("input_image", image_url="data:,")), {"images"}),
    (dump(input=[{"type": "image_generation_call", "result": "AA=="}]), {"images"}),
    (dump(input=part("input_audio", data="AA==")), {"audio"}),
    (
        dump(messages=[*part("input_audio", input_audio={}), *image("data:,")], tools=[{"type": "custom"}]),
        {"tools", "images", "audio"},
    ),
]


@pytest.mark.parametrize(("body", "uses"), USES)
def test_what_a_request_brings_is_seen_where_it_is_read_closely(body: bytes, uses: set[str]) -> None:
    assert read_json(RESPONSES, body, closely=True).uses == uses
    assert read_json(RESPONSES, body).uses == frozenset()


@pytest.mark.parametrize(
    ("operation", "body", "choices"),
    [
        ("chat.completions", {}, 1),
        ("chat.completions", {"n": None}, 1),
        ("chat.completions", {"n": 4}, 4),
        ("chat.completions", {"best_of": 4}, 1),
        ("completions", {"best_of": 4, "n": 2}, 4),
        ("completions", {"prompt": ["a", "b", "c"], "n": 2}, 6),
        ("completions", {"prompt": [1, 2, 3]}, 1),
        ("completions", {"prompt": [[1, 2], [3]]}, 2),
        ("completions", {"prompt": "a"}, 1),
        ("images.generations", {"n": 3}, 3),
        ("embeddings", {"n": 3}, 1),
    ],
)
def test_how_many_answers_are_asked_for(operation: str, body: dict[str, Any], choices: int) -> None:
    assert read_json(OPERATIONS[operation], dump(model="m", **body), closely=True).choices == choices


@pytest.mark.parametrize("n", [1.5, "2", True, -1, [2]])
def test_answers_asked_for_that_are_no_number(n: object) -> None:
    with pytest.raises(Refused) as caught:
        read_json(CHAT, dump(model="m", n=n), closely=True)
    assert caught.value.reason is Reason.BAD_JSON


def test_speech_that_is_streamed() -> None:
    speech = OPERATIONS["audio.speech"]
    assert read_json(speech, dump(model="m", input="a", stream_format="sse")).stream
    assert not read_json(speech, dump(model="m", input="a", stream_format="audio")).stream


V1 = b"/openai/v1/chat/completions"
LIMITS: list[tuple[bytes, dict[str, Any], dict[str, Any]]] = [
    (V1, {}, {"max_completion_tokens": 50}),
    (V1, {"max_tokens": 7}, {"max_tokens": 7}),
    (V1, {"max_tokens": None}, {"max_tokens": 50}),
    (V1, {"max_completion_tokens": 7}, {"max_completion_tokens": 7}),
    (V1, {"max_completion_tokens": None, "max_tokens": 7}, {"max_completion_tokens": None, "max_tokens": 7}),
    (V1, {"max_output_tokens": 7}, {"max_output_tokens": 7, "max_completion_tokens": 50}),
    (b"/openai/deployments/m/chat/completions?api-version=2024-10-21", {}, {"max_completion_tokens": 50}),
    (b"/openai/deployments/m/chat/completions?api-version=2024-09-01-preview", {}, {"max_completion_tokens": 50}),
    (b"/openai/deployments/m/chat/completions?api-version=2024-06-01", {}, {"max_tokens": 50}),
    (b"/openai/v1/completions", {}, {"max_tokens": 50}),
    (b"/openai/v1/responses", {}, {"max_output_tokens": 50, "store": False}),
    (b"/openai/v1/responses", {"max_tokens": 7}, {"max_tokens": 7, "max_output_tokens": 50, "store": False}),
    (b"/openai/v1/embeddings", {}, {}),
]


@pytest.mark.parametrize(("raw", "members", "expected"), LIMITS)
def test_a_request_without_a_limit_gets_one(raw: bytes, members: dict[str, Any], expected: dict[str, Any]) -> None:
    target = parse_target(b"POST", raw)
    request = read_json(target.operation, dump(model="m", **members))
    limit_completion(request, target, 50)
    assert json.loads(forwarded(request, "dep", ask_usage=False)) == {"model": "dep", **expected}


limits = st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens"]), st.none() | st.integers(0, 100)
)


@given(st.sampled_from([row[0] for row in LIMITS[:-1]]), limits, st.integers(1, 100))
def test_what_is_forwarded_obeys_the_bound(raw: bytes, members: dict[str, Any], most: int) -> None:
    target = parse_target(b"POST", raw)
    request = read_json(target.operation, dump(model="m", **members))
    if request.completion_limit is not None and request.completion_limit > most:
        return
    limit_completion(request, target, most)
    out = json.loads(forwarded(request, "dep", ask_usage=False))
    given_limits = [out[key] for key in target.operation.limits if out.get(key) is not None]
    assert given_limits
    assert all(value <= most for key, value in out.items() if key.startswith("max_") and value is not None)


REFERRING = [
    dump(model="m", prompt={"id": "p"}),
    dump(model="m", input=[{"type": "item_reference", "id": "x"}]),
    dump(model="m", input=[{"type": "reasoning", "id": "rs_1", "summary": []}]),
    dump(model="m", input=[{"type": "reasoning", "id": "rs_1"}], reasoning={"effort": "low"}),
    dump(model="m", input=[{"type": "image_generation_call", "id": "ig_1"}]),
    dump(model="m", input=[{"type": "code_interpreter_call", "container_id": "c"}]),
    dump(model="m", tools=[{"type": "code_interpreter", "container": "c"}]),
    dump(model="m", messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]),
    b'{"input":[{"ty\\u0070e":"item_reference"}]}',
]


@pytest.mark.parametrize("body", REFERRING)
def test_what_has_no_owner_here_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_json(RESPONSES, body)
    assert caught.value.reason is Reason.STORED_STATE


@pytest.mark.parametrize("body", [dump(model="m", store=True), dump(messages=[{"content": [{"file_id": "f"}]}])])
def test_chat_is_not_stored(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_json(CHAT, body)
    assert caught.value.reason is Reason.STORED_STATE


SEARCH = dump(tools=[{"type": "file_search", "vector_store_ids": ["v", "w", "v"]}])
CODE = dump(tools=[{"type": "code_interpreter", "container": {"file_ids": ["f"]}}])
MASK = dump(tools=[{"type": "image_generation", "input_image_mask": {"file_id": "f"}}])
STATES: list[tuple[bytes, tuple[tuple[str, str], ...], bool]] = [
    (dump(store=True), (), True),
    (b'{"st\\u006fre":true}', (), True),
    (dump(previous_response_id="r"), (("response", "r"),), False),
    (dump(conversation="c", store=True), (("conversation", "c"),), True),
    (dump(conversation={"id": "c"}), (("conversation", "c"),), False),
    (dump(background=True), (), True),
    (dump(background=True, store=False), (), False),
    (dump(input=[{"content": [{"type": "input_file", "file_id": "f"}]}]), (("file", "f"),), False),
    (b'{"input":[{"content":[{"file\\u005fid":"f"}]}]}', (("file", "f"),), False),
    (SEARCH, (("vector_store", "v"), ("vector_store", "w")), False),
    (CODE, (("file", "f"),), False),
    (MASK, (("file", "f"),), False),
]  # fmt: skip


@pytest.mark.parametrize(("body", "names", "keeps"), STATES)
def test_what_of_stored_state_a_body_makes_and_names(
    body: bytes, names: tuple[tuple[str, str], ...], keeps: bool
) -> None:
    request = read_json(RESPONSES, body)
    assert request.state is not None
    assert (request.state.names, request.state.keeps) == (names, keeps)
    assert json.loads(forwarded(request, "d", ask_usage=False))["store"] is keeps


@pytest.mark.parametrize(
    "body",
    [
        dump(store=False),
        dump(store=None, previous_response_id=None, conversation=None, prompt=None),
        dump(tools=[{"type": "function", "parameters": {"properties": {"file_id": {"type": "string"}}}}]),
        dump(input=[{"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}]),
        dump(input=[{"type": "message", "id": "msg_1", "content": "x"}]),
        dump(input="file_id item_reference"),
        dump(reasoning={"effort": "low"}),
    ],
)
def test_what_has_nothing_to_do_with_stored_state(body: bytes) -> None:
    assert read_json(RESPONSES, body).state is None


@pytest.mark.parametrize(
    "body",
    [
        dump(previous_response_id="../x"),
        dump(previous_response_id=""),
        dump(conversation={"id": "c", "x": 1}),
        dump(conversation=["c"]),
        dump(input=[{"file_id": {"a": 1}}]),
        dump(tools=[{"type": "file_search", "vector_store_ids": [1]}]),
    ],
)
def test_what_is_no_id_is_nothings(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_json(RESPONSES, body)
    assert caught.value.reason is Reason.NOT_FOUND


def test_the_model_of_the_path_decides() -> None:
    target = parse_target(b"POST", b"/openai/deployments/path/embeddings?api-version=1")
    request = read_json(EMBEDDINGS, dump(model="body", input="x"))
    assert requested_model(target, request) == "path"
    assert json.loads(forwarded(request, "dep", ask_usage=False))["model"] == "dep"


def test_a_request_without_a_model() -> None:
    target = parse_target(b"POST", b"/openai/v1/embeddings")
    for body in (b"{}", b'{"model":null}', b'{"model":""}'):
        with pytest.raises(Refused) as caught:
            requested_model(target, read_json(EMBEDDINGS, body))
        assert caught.value.reason is Reason.MODEL_MISSING


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6))
def test_everything_else_passes_unchanged(members: dict[str, Any]) -> None:
    body = json.dumps({**members, "model": "m"}).encode()
    try:
        out = sent(body, operation=EMBEDDINGS)
    except Refused:
        return
    assert out == {**members, "model": "dep"}


@given(st.binary(max_size=120))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        read_json(RESPONSES, body)
    except Refused:
        return
