"""The official client, unchanged, against the mock itself."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai
import pytest

from bench.mock import answers
from bench.mock.process import MockProcess
from tests.bench.mock.conftest import KEY

TOKENS = 5


@pytest.fixture
def trust(root: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(root))


@pytest.fixture
def azure(mock: MockProcess, trust: ssl.SSLContext) -> Iterator[openai.AzureOpenAI]:
    with openai.DefaultHttpxClient(verify=trust) as http:
        yield openai.AzureOpenAI(
            azure_endpoint=mock.urls["swc"], api_key=KEY, api_version="2024-10-21", http_client=http, max_retries=1
        )


@pytest.fixture
def v1(mock: MockProcess, trust: ssl.SSLContext) -> Iterator[openai.OpenAI]:
    with openai.DefaultHttpxClient(verify=trust, headers={"api-key": KEY}) as http:
        yield openai.OpenAI(base_url=f"{mock.urls['swc']}/openai/v1", api_key="unused", http_client=http)


@pytest.fixture
async def trio_azure(mock: MockProcess, trust: ssl.SSLContext) -> AsyncIterator[openai.AsyncAzureOpenAI]:
    async with openai.DefaultAsyncHttpxClient(verify=trust) as http:
        yield openai.AsyncAzureOpenAI(
            azure_endpoint=mock.urls["swc"], api_key=KEY, api_version="2024-10-21", http_client=http
        )


def test_chat(azure: openai.AzureOpenAI) -> None:
    answer = azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=TOKENS, seed=3
    )
    assert answer.choices[0].message.content == answers.text(TOKENS)
    assert answer.id == "chatcmpl-00000003"
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (TOKENS, TOKENS + answer.usage.prompt_tokens)


def test_chat_streamed_with_usage(azure: openai.AzureOpenAI) -> None:
    stream = azure.chat.completions.create(
        model="paced",
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=TOKENS,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices == []
    assert (chunks[0].model_extra or {})["prompt_filter_results"]
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == answers.text(TOKENS)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == TOKENS


def test_choices_interleave(azure: openai.AzureOpenAI) -> None:
    stream = azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=TOKENS, n=2, stream=True
    )
    said = {0: "", 1: ""}
    order = []
    for chunk in stream:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            order.append(choice.index)
    assert said == {0: answers.text(TOKENS), 1: answers.text(TOKENS)}
    assert order[:4] == [0, 1, 0, 1]


def test_a_tool_is_called_in_fragments(azure: openai.AzureOpenAI) -> None:
    stream = azure.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=TOKENS,
        tools=[{"type": "function", "function": {"name": "open_gate", "parameters": {}}}],
        tool_choice="required",
        stream=True,
    )
    calls = [call for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert calls[0].function is not None
    assert calls[0].function.name == "open_gate"
    assert "".join((call.function and call.function.arguments) or "" for call in calls) == answers.text(TOKENS)


def test_completions_and_embeddings(azure: openai.AzureOpenAI) -> None:
    answer = azure.completions.create(model="gpt-4o", prompt="hi", max_tokens=TOKENS)
    assert answer.choices[0].text == answers.text(TOKENS)
    stream = azure.completions.create(model="gpt-4o", prompt="hi", max_tokens=TOKENS, stream=True)
    assert "".join(choice.text for chunk in stream for choice in chunk.choices) == answers.text(TOKENS)
    embeddings = azure.embeddings.create(model="gpt-4o", input=["a", "b", "c"], encoding_format="float")
    assert [one.index for one in embeddings.data] == [0, 1, 2]
    assert embeddings.usage.total_tokens == embeddings.usage.prompt_tokens > 0


def test_audio_and_images(azure: openai.AzureOpenAI) -> None:
    assert azure.audio.speech.create(model="gpt-4o", voice="alloy", input="abc").content == answers.speech_answer(
        {"input": "abc"}
    )
    heard = azure.audio.transcriptions.create(model="gpt-4o", file=("a.wav", b"\0" * 1000, "audio/wav"))
    assert heard.text.endswith("bytes were heard")
    images = azure.images.generate(model="gpt-4o", prompt="a dam")
    assert images.data is not None
    assert images.data[0].b64_json == "aW1hZ2U="


def test_v1(v1: openai.OpenAI) -> None:
    answer = v1.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_completion_tokens=TOKENS
    )
    assert answer.choices[0].message.content == answers.text(TOKENS)
    assert "gpt-4o" in [model.id for model in v1.models.list()]


def test_responses(v1: openai.OpenAI) -> None:
    answer = v1.responses.create(model="gpt-4o", input="hi", max_output_tokens=TOKENS)
    assert answer.output_text == answers.text(TOKENS)
    assert answer.usage is not None
    assert answer.usage.output_tokens == TOKENS


def test_responses_streamed(v1: openai.OpenAI) -> None:
    events = list(v1.responses.create(model="gpt-4o", input="hi", max_output_tokens=TOKENS, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == answers.text(
        TOKENS
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == TOKENS


def test_a_throttled_client_tries_again(azure: openai.AzureOpenAI, mock: MockProcess) -> None:
    mock.fault("throttle", times=1, retry_after_ms=1)
    azure.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    assert [entry["status"] for entry in mock.received()] == [429, 200]


def test_errors_are_the_clients_own_types(azure: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        azure.chat.completions.create(model="missing", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "DeploymentNotFound"


async def test_async(trio_azure: openai.AsyncAzureOpenAI) -> None:
    answer = await trio_azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=TOKENS
    )
    assert answer.choices[0].message.content == answers.text(TOKENS)


def test_async_streamed(mock: MockProcess, trust: ssl.SSLContext) -> None:
    """On asyncio: under trio the client leaves its generators to the collector when it has read `[DONE]`."""

    async def said() -> str:
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=mock.urls["swc"],
            api_key=KEY,
            api_version="2024-10-21",
            http_client=openai.DefaultAsyncHttpxClient(verify=trust),
        ) as client:
            stream = await client.chat.completions.create(
                model="paced", messages=[{"role": "user", "content": "hi"}], max_tokens=TOKENS, stream=True
            )
            return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    assert asyncio.run(said()) == answers.text(TOKENS)
