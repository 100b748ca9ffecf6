"""What a backend says a request has used: its own numbers, the only exact ones.

From a whole JSON answer, from one event of a stream, or from the two ends of an answer too large to keep. Whatever a
backend sends, nothing in here raises: what cannot be read as usage is None, and the caller estimates. Nothing in here
performs I/O.

Sources: Azure OpenAI REST reference, `CompletionUsage` (chat, completions, embeddings), `ResponseUsage` (Responses),
and the `usage` of images and transcriptions, which has the Responses' names.
"""

import re
from typing import Annotated, Any

import msgspec

from proxy.record.record import Tokens

METERED = frozenset(
    "chat.completions completions embeddings responses images.generations images.edits audio.transcriptions "
    "audio.translations".split()
)
"""Operations whose answers can carry usage in tokens."""

MOST = 100_000_000
"""No request uses more tokens; a larger number is not believed. (2,048 embeddings of 8,192 tokens are 17 million.)"""

_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class _Cached(msgspec.Struct):
    cached_tokens: _Count | None = None


class _Reasoning(msgspec.Struct):
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    """Both families of names; an answer has one of them. What is out of bounds is left to the tolerant way."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoning | None = None
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoning | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _AnyAnswer(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Answer | None = None


class _AnyEvent(msgspec.Struct):
    type: Any = None
    response: Any = None


class _UsageOnly(msgspec.Struct):
    choices: list[msgspec.Raw]
    usage: dict[str, msgspec.Raw]


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_any_answer = msgspec.json.Decoder(_AnyAnswer).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode_any_event = msgspec.json.Decoder(_AnyEvent).decode
_decode_usage_only = msgspec.json.Decoder(_UsageOnly).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def usage_of(operation: str, body: bytes | bytearray) -> Tokens | None:
    """The usage of a whole JSON answer; None where it has none that can be believed."""
    if operation not in METERED:
        return None
    try:
        usage = _decode_answer(body).usage
    except msgspec.ValidationError:
        return _tolerant(body)
    except _UNREADABLE:
        return None
    return None if usage is None else _tokens(usage)


def usage_of_event(operation: str, data: bytes | bytearray) -> Tokens | None:
    """The usage of one event's data. On the Responses surface only the final events have it, inside `response`."""
    if operation != "responses":
        return usage_of(operation, data)
    try:
        event = _decode_event(data)
    except msgspec.ValidationError:
        return _tolerant_event(data)
    except _UNREADABLE:
        return None
    if event.type not in _FINAL or event.response is None or event.response.usage is None:
        return None
    return _tokens(event.response.usage)


def is_usage_only(data: bytes | bytearray) -> bool:
    """Whether an event of chat or completions is the one that `include_usage` adds: no choices, and usage."""
    try:
        return not _decode_usage_only(data).choices
    except _UNREADABLE:
        return False


def _tokens(usage: _Usage) -> Tokens | None:
    prompt = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    completion = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    total = usage.total_tokens
    before = usage.prompt_tokens_details or usage.input_tokens_details
    after = usage.completion_tokens_details or usage.output_tokens_details
    cached = before.cached_tokens if before is not None else 0
    reasoning = after.reasoning_tokens if after is not None else 0
    return _sound(prompt, completion, total, cached, reasoning)


def _sound(
    prompt: int | None, completion: int | None, total: int | None, cached: int | None, reasoning: int | None
) -> Tokens | None:
    """Derive what is missing from the rest; None where nothing is left."""
    if total is None:
        if prompt is None and completion is None:
            return None
        total = (prompt or 0) + (completion or 0)
    if prompt is None:
        prompt = max(0, total - (completion or 0))
    if completion is None:
        completion = max(0, total - prompt)
    return Tokens(
        prompt=prompt,
        completion=completion,
        total=total,
        cached=min(cached or 0, prompt),
        reasoning=min(reasoning or 0, completion),
    )


def _tolerant(body: bytes | bytearray) -> Tokens | None:
    """`usage_of` where some member has an unexpected type, or is out of bounds: what is right in it still counts."""
    try:
        return _from_any(_decode_any_answer(body).usage)
    except _UNREADABLE:
        return None


def _tolerant_event(data: bytes | bytearray) -> Tokens | None:
    try:
        event = _decode_any_event(data)
    except _UNREADABLE:
        return None
    final = isinstance(event.type, str) and event.type in _FINAL
    return _from_any(_member(event.response, "usage")) if final else None


def _from_any(usage: Any) -> Tokens | None:
    before = _member(usage, "prompt_tokens_details") or _member(usage, "input_tokens_details")
    after = _member(usage, "completion_tokens_details") or _member(usage, "output_tokens_details")
    return _sound(
        _number(usage, "prompt_tokens", "input_tokens"),
        _number(usage, "completion_tokens", "output_tokens"),
        _number(usage, "total_tokens"),
        _number(before, "cached_tokens"),
        _number(after, "reasoning_tokens"),
    )


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _number(value: Any, *keys: str) -> int | None:
    for key in keys:
        number = _member(value, key)
        if isinstance(number, int) and not isinstance(number, bool):
            return number if 0 <= number <= MOST else None
    return None


class UsageTail:
    """Finds the usage of an answer that is passed on and not kept: from its first 4 KiB and its last 64 KiB.

    In valid JSON the bytes `"usage"` followed by a colon are always the end of a member's name, never text, since a
    quote inside a string is escaped; asking for `{` or `,` before leaves the name `usage` alone. Such a member may
    still lie deeper (the Responses surface echoes tool schemas). It is at the top exactly if the rest of the document
    from it on, after a `{`, is a JSON object; or, near the beginning, if all before it becomes one by closing it there.

    Not found: usage between the two ends, or with its name written with escapes. Not noticed: an answer that breaks
    off after usage near its beginning. The last usage wins, as it does in a decoder.
    """

    HEAD = 4 << 10
    TAIL = 64 << 10

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the body, without transfer coding. The chunk is not kept."""
        self._size += len(chunk)
        missing = self.HEAD - len(self._head)
        if missing > 0:
            self._head += chunk[:missing]
        tail = self._tail
        tail += chunk[-self.TAIL :]
        if len(tail) > self.TAIL:
            del tail[: len(tail) - self.TAIL]

    def usage(self, operation: str) -> Tokens | None:
        """The usage of an answer of `operation`, once its body has ended; else as `usage_of`."""
        if self._size <= self.TAIL:
            return usage_of(operation, self._tail)
        return self._near_end(operation) or self._near_start(operation)

    def _near_end(self, operation: str) -> Tokens | None:
        for found in reversed(list(_KEY.finditer(self._tail))[-_CANDIDATES:]):
            tokens = usage_of(operation, b"{" + self._tail[found.start(1) :])
            if tokens is not None:
                return tokens
        return None

    def _near_start(self, operation: str) -> Tokens | None:
        for found in list(_KEY.finditer(self._head))[:_CANDIDATES]:
            usage = _OBJECT.match(self._head, found.end())
            if usage is not None:
                closed = self._head[: found.start(1)] + b'"usage":' + usage.group() + b"}"
                tokens = usage_of(operation, closed)
                if tokens is not None:
                    return tokens
        return None


_CANDIDATES = 8
"""Members of that name looked at, from either end."""

_KEY = re.compile(rb'[{,][ \t\r\n]*("usage")[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_OBJECT = re.compile(rb"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
"""An object of objects, without braces in strings: usage has none."""
