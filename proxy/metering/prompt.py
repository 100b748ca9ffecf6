"""The text of a JSON request that becomes prompt tokens, for requests whose answer brought no usage.

An estimate by what is published: the cookbook's counting for chat (https://cookbook.openai.com, "How to count tokens
with tiktoken"), the price lists for images. Tool definitions are counted as their compact JSON, a little more than
the form in which a model sees them. Not counted: audio, and files as data. Anything is read without an error; what
does not look like a request of its operation has no tokens. Nothing in here performs I/O.
"""

from typing import Any

import msgspec

from proxy.metering.tokenizer import count

PER_MESSAGE = 3
PER_NAME = 1
REPLY = 3
"""Tokens that frame a message, a name in it, and the start of the reply."""

IMAGE = 765
IMAGE_LOW = 85
"""An image at 1024 × 1024 in high detail (85 + 4 tiles of 170 each), and any in low detail."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Prompt(msgspec.Struct):
    """Texts to count each for itself, and `tokens` that are known without counting."""

    texts: list[str]
    tokens: int = 0

    def text(self, value: Any) -> None:
        if isinstance(value, str) and value:
            self.texts.append(value)

    def definition(self, value: Any) -> None:
        """A tool or schema: as JSON."""
        if value:
            self.texts.append(_encode(value).decode())


def prompt_of(operation: str, body: bytes) -> Prompt:
    """What of a request's body becomes prompt tokens."""
    prompt = Prompt([])
    read = _READERS.get(operation)
    if read is not None:
        try:
            request = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return prompt
        if isinstance(request, dict):
            read(prompt, request)
    return prompt


def count_prompt(encoding: str, operation: str, body: bytes) -> int:
    """The prompt's tokens. As slow as `tokenizer.count`; raises what that raises."""
    prompt = prompt_of(operation, body)
    return prompt.tokens + count(encoding, *prompt.texts)


def _chat(prompt: Prompt, request: dict[str, Any]) -> None:
    for message in _dicts(request.get("messages")):
        prompt.tokens += PER_MESSAGE
        prompt.text(message.get("role"))
        _content(prompt, message.get("content"))
        prompt.text(message.get("refusal"))
        if isinstance(message.get("name"), str):
            prompt.tokens += PER_NAME
            prompt.text(message["name"])
        calls = [call.get("function") for call in _dicts(message.get("tool_calls"))]
        for call in _dicts([*calls, message.get("function_call")]):
            prompt.text(call.get("name"))
            prompt.text(call.get("arguments"))
    if prompt.tokens:
        prompt.tokens += REPLY
    for definition in (*_list(request.get("tools")), *_list(request.get("functions"))):
        prompt.definition(definition)
    response_format = request.get("response_format")
    if isinstance(response_format, dict):
        prompt.definition(response_format.get("json_schema"))


def _content(prompt: Prompt, content: Any) -> None:
    """A message's content on either surface: text, or a list of parts."""
    prompt.text(content)
    for part in _dicts(content):
        prompt.text(part.get("text"))
        prompt.text(part.get("refusal"))
        image = part.get("image_url")
        if image is not None:
            detail = image.get("detail") if isinstance(image, dict) else part.get("detail")
            prompt.tokens += IMAGE_LOW if detail == "low" else IMAGE


def _responses(prompt: Prompt, request: dict[str, Any]) -> None:
    instructions, given = request.get("instructions"), request.get("input")
    for message in (instructions, given):
        if isinstance(message, str):
            prompt.tokens += PER_MESSAGE
            prompt.text(message)
    for item in _dicts(given):
        prompt.tokens += PER_MESSAGE
        for key in ("role", "name", "arguments"):
            prompt.text(item.get(key))
        for key in ("content", "summary", "output"):
            _content(prompt, item.get(key))
    if prompt.tokens:
        prompt.tokens += REPLY
    for definition in _list(request.get("tools")):
        prompt.definition(definition)
    text = request.get("text")
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        prompt.definition(text["format"].get("schema"))


def _completions(prompt: Prompt, request: dict[str, Any]) -> None:
    _inputs(prompt, request.get("prompt"))
    prompt.text(request.get("suffix"))


def _embeddings(prompt: Prompt, request: dict[str, Any]) -> None:
    _inputs(prompt, request.get("input"))


def _images(prompt: Prompt, request: dict[str, Any]) -> None:
    prompt.text(request.get("prompt"))


def _speech(prompt: Prompt, request: dict[str, Any]) -> None:
    prompt.text(request.get("input"))
    prompt.text(request.get("instructions"))


def _inputs(prompt: Prompt, value: Any) -> None:
    """A text, tokens, or a list of texts or of tokens."""
    prompt.text(value)
    for item in _list(value):
        prompt.text(item)
        prompt.tokens += len(item) if isinstance(item, list) else isinstance(item, int)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


_READERS = {
    "chat.completions": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "responses": _responses,
    "images.generations": _images,
    "audio.speech": _speech,
}
