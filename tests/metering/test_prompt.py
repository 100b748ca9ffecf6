"""What of a request becomes prompt tokens."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.prompt import IMAGE, IMAGE_LOW, PER_MESSAGE, PER_NAME, REPLY, Prompt, count_prompt, prompt_of
from proxy.policy.operations import OPERATIONS

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"name": "s", "schema": {"type": "object"}}


def chat(*messages: Any, **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **members}


def as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    ("operation", "request_", "texts", "tokens"),
    [
        ("chat.completions", chat({"role": "user", "content": "hi"}), ["user", "hi"], PER_MESSAGE + REPLY),
        (
            "chat.completions",
            chat({"role": "system", "content": "a"}, {"role": "user", "name": "joe", "content": "b"}),
            ["system", "a", "user", "b", "joe"],
            2 * PER_MESSAGE + PER_NAME + REPLY,
        ),
        (
            "chat.completions",
            chat(
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    ],
                }
            ),
            ["user", "look"],
            PER_MESSAGE + IMAGE + IMAGE_LOW + REPLY,
        ),
        (
            "chat.completions",
            chat(
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "42"},
                tools=[TOOL],
                response_format={"type": "json_schema", "json_schema": SCHEMA},
            ),
            ["assistant", "f", "{}", "tool", "42", as_json(TOOL), as_json(SCHEMA)],
            2 * PER_MESSAGE + REPLY,
        ),
        (
            "chat.completions",
            chat({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, functions=[TOOL]),
            ["assistant", "f", "{}", as_json(TOOL)],
            PER_MESSAGE + REPLY,
        ),
        ("chat.completions", chat(), [], 0),
        ("completions", {"prompt": "once", "suffix": "end"}, ["once", "end"], 0),
        ("completions", {"prompt": ["a", "b"]}, ["a", "b"], 0),
        ("completions", {"prompt": [1, 2, 3]}, [], 3),
        ("embeddings", {"input": "a"}, ["a"], 0),
        ("embeddings", {"input": ["a", "", "b"]}, ["a", "b"], 0),
        ("embeddings", {"input": [[1, 2], [3]]}, [], 3),
        ("responses", {"input": "hi"}, ["hi"], PER_MESSAGE + REPLY),
        (
            "responses",
            {
                "instructions": "be brief",
                "input": [
                    {"role": "user", "content": "hi"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "see"},
                            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                        ],
                    },
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "42"},
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]},
                ],
                "tools": [TOOL],
                "text": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
            },
            ["be brief", "user", "hi", "user", "see", "f", "{}", "42", "so", as_json(TOOL), '{"type":"object"}'],
            6 * PER_MESSAGE + IMAGE_LOW + REPLY,
        ),
        ("images.generations", {"prompt": "a cat"}, ["a cat"], 0),
        ("audio.speech", {"input": "hello", "instructions": "softly"}, ["hello", "softly"], 0),
        ("images.edits", {"prompt": "a cat"}, [], 0),
        ("models", {"input": "a"}, [], 0),
    ],
)
def test_the_texts_and_known_tokens_of_a_request(
    operation: str, request_: dict[str, Any], texts: list[str], tokens: int
) -> None:
    assert prompt_of(operation, json.dumps(request_).encode()) == Prompt(texts, tokens)


COOKBOOK = chat(
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain "
        "English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {"role": "system", "name": "example_assistant", "content": "Things working well together will increase revenue."},
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased "
        "leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
)


@pytest.mark.parametrize(("encoding", "tokens"), [("cl100k_base", 129), ("o200k_base", 124)])
def test_the_cookbooks_example_has_the_count_that_the_models_report(encoding: str, tokens: int) -> None:
    assert count_prompt(encoding, "chat.completions", json.dumps(COOKBOOK).encode()) == tokens


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"messages":' * 5000])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_no_request_has_no_tokens(operation: str, body: bytes) -> None:
    assert prompt_of(operation, body) == Prompt([])


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "role content name text image_url detail tool_calls function function_call arguments input output "
                "summary format schema json_schema refusal".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.sampled_from(list(OPERATIONS)),
    st.dictionaries(
        st.sampled_from("messages input prompt instructions tools functions response_format text suffix".split()),
        anything,
    ),
)
def test_members_of_any_type_are_read_without_an_error(operation: str, request_: dict[str, Any]) -> None:
    prompt = prompt_of(operation, json.dumps(request_).encode())
    assert prompt.tokens >= 0
    assert all(prompt.texts)
