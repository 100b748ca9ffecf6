"""The official `openai` client, unchanged, through the gateway: both surfaces, sync and async, streamed or not."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI

from bench.mock import answers
from bench.mock.process import MockProcess
from tests.e2e.gateway import KEY, OTHER_KEY, Gateway

VERSION = "2024-10-21"


class Sdk:
    """Makes clients of the official kind, and closes them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._made: list[Any] = []

    def azure(self, key: str = KEY) -> Any:
        http = openai.DefaultHttpxClient(verify=self._gateway.context())
        return self._keep(
            AzureOpenAI(
                azure_endpoint=self._gateway.url, api_key=key, api_version=VERSION, http_client=http, max_retries=0
            )
        )

    def plain(self, key: str = KEY) -> Any:
        http = openai.DefaultHttpxClient(verify=self._gateway.context())
        return self._keep(
            OpenAI(base_url=f"{self._gateway.url}/openai/v1", api_key=key, http_client=http, max_retries=0)
        )

    def _keep(self, client: Any) -> Any:
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.close()


@pytest.fixture
def sdk(calm: Gateway) -> Iterator[Sdk]:
    made = Sdk(calm)
    yield made
    made.close()


MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("surface", ["azure", "plain"])
def test_chat(sdk: Sdk, surface: str) -> None:
    client = getattr(sdk, surface)()
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content == "".join(map(answers.word, range(5)))
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize("surface", ["azure", "plain"])
@pytest.mark.parametrize("asked", [True, False], ids=["usage asked for", "usage not asked for"])
def test_chat_streamed(sdk: Sdk, calm: Gateway, mock: MockProcess, surface: str, asked: bool) -> None:
    client = getattr(sdk, surface)()
    options = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=9, stream=True, **options)
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "".join(map(answers.word, range(9)))
    assert [c.usage.completion_tokens for c in chunks if c.usage] == ([9] if asked else [])
    assert b'"include_usage":true' in mock.received()[-1]["body"].replace(" ", "").encode()
    record = calm.record(lambda r: r["operation"] == "chat.completions" and r["stream"])
    assert record["tokens"]["completion"] == 9
    assert record["tokens"]["estimated"] is False


def test_chat_async(calm: Gateway) -> None:
    async def one(client: AsyncAzureOpenAI, tokens: int) -> str:
        messages: Any = MESSAGES
        stream = await client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=tokens, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def many() -> list[str]:
        http = openai.DefaultAsyncHttpxClient(verify=calm.context())
        async with AsyncAzureOpenAI(
            azure_endpoint=calm.url, api_key=KEY, api_version=VERSION, http_client=http, max_retries=0
        ) as client:
            return await asyncio.gather(*(one(client, tokens) for tokens in range(1, 21)))

    texts = asyncio.run(many())
    assert texts == ["".join(map(answers.word, range(tokens))) for tokens in range(1, 21)]


def test_responses(sdk: Sdk, calm: Gateway, mock: MockProcess) -> None:
    client = sdk.plain()
    answer = client.responses.create(model="gpt-4o", input="hello", max_output_tokens=4)
    assert answer.output_text == "".join(map(answers.word, range(4)))
    events = list(client.responses.create(model="gpt-4o", input="hello", max_output_tokens=4, stream=True))
    assert events[-1].type == "response.completed"
    assert b'"store":false' in mock.received()[-1]["body"].encode()
    record = calm.record(lambda r: r["operation"] == "responses" and r["stream"])
    assert (record["tokens"]["completion"], record["tokens"]["estimated"]) == (4, False)


def test_embeddings(sdk: Sdk, calm: Gateway) -> None:
    answer = sdk.azure().embeddings.create(model="embed", input=["a", "b"])
    assert len(answer.data) == 2
    record = calm.record(lambda r: r["operation"] == "embeddings")
    assert record["tokens"]["prompt"] == answer.usage.prompt_tokens


def test_completions_images_and_audio(sdk: Sdk, calm: Gateway) -> None:
    client = sdk.azure()
    assert client.completions.create(model="gpt-4o", prompt="a", max_tokens=2).choices[0].text
    assert client.images.generate(model="gpt-4o", prompt="a dam").data[0].b64_json
    speech = client.audio.speech.create(model="gpt-4o", voice="alloy", input="hi").read()
    assert speech == answers.speech_answer({"input": "hi"})
    heard = client.audio.transcriptions.create(model="gpt-4o", file=("a.wav", b"\x00" * 5000))
    assert "bytes were heard" in heard.text


def test_transcription_with_the_model_in_the_form(sdk: Sdk, calm: Gateway, mock: MockProcess) -> None:
    heard = sdk.plain().audio.transcriptions.create(model="gpt-4o", file=("a.wav", b"\r\n--x\r\n" * 900))
    assert "bytes were heard" in heard.text
    assert calm.record(lambda r: r["operation"] == "audio.transcriptions")["model"] == "gpt-4o"


def test_models_are_listed_as_granted(sdk: Sdk, calm: Gateway) -> None:
    assert {model.id for model in sdk.plain().models.list()} == {"gpt-4o", "slow", "embed", "chunky", "closing"}
    assert [model.id for model in sdk.plain(OTHER_KEY).models.list()] == ["gpt-4o"]


def test_the_right_exceptions(sdk: Sdk, calm: Gateway) -> None:
    with pytest.raises(openai.AuthenticationError):
        sdk.azure("wrong-key").chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        sdk.azure().chat.completions.create(model="unknown", messages=MESSAGES)
    with pytest.raises(openai.PermissionDeniedError):
        sdk.azure(OTHER_KEY).embeddings.create(model="embed", input="a")
    with pytest.raises(openai.PermissionDeniedError):
        sdk.plain().responses.create(model="gpt-4o", input="a", store=True)
    with pytest.raises(openai.BadRequestError):
        sdk.plain().chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=-1)


@pytest.mark.parametrize("model", ["chunky", "closing"])
def test_other_framings_of_a_backend(sdk: Sdk, calm: Gateway, model: str) -> None:
    for _ in range(3):
        answer = sdk.azure().chat.completions.create(model=model, messages=MESSAGES, max_tokens=3)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3
        stream = sdk.azure().chat.completions.create(
            model=model,
            messages=MESSAGES,
            max_tokens=3,
            stream=True,
        )
        assert len([c for c in stream if c.choices and c.choices[0].delta.content]) == 3


def test_a_certificate_alone(calm: Gateway) -> None:
    """As the README has it: the client insists on a key, and none may be sent."""
    http = openai.DefaultHttpxClient(
        verify=calm.context("turbine-7"),
        event_hooks={"request": [lambda request: request.headers.pop("authorization")]},
    )
    with OpenAI(base_url=f"{calm.url}/openai/v1", api_key="none", http_client=http, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=3
        )
    assert answer.choices[0].message.content == "".join(map(answers.word, range(3)))
    assert calm.record(lambda r: r["credential"]["kind"] == "certificate" and r["status"] == 200)["client"] == "first"
