"""Answers rendered ahead, and kept: a repeated request costs a look-up, an event of its answer not even that.

Bounded by number and by bytes; the oldest goes first. Large bodies are known by their hash.
"""

import hashlib
from collections.abc import Callable

import msgspec

from bench.mock import answers
from bench.mock.answers import Body

_ENTRIES = 1024
_BYTES = 64 << 20
_KEPT_WHOLE = 4096  # a longer body is looked up by its hash

STREAMS: dict[str, Callable[[Body, str, int], list[bytes]]] = {
    "chat/completions": answers.chat_stream,
    "completions": answers.completions_stream,
    "responses": answers.responses_stream,
}
ANSWERS: dict[str, Callable[[Body, str, int], bytes]] = {
    "chat/completions": answers.chat_answer,
    "completions": answers.completions_answer,
    "embeddings": lambda body, deployment, _: answers.embeddings_answer(body, deployment),
    "responses": answers.responses_answer,
    "images/generations": lambda body, *_: answers.images_answer(body),
    "audio/speech": lambda body, *_: answers.speech_answer(body),
}
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "audio/transcriptions": lambda form: answers.transcription_answer(len(form)),
    "audio/translations": lambda form: answers.transcription_answer(len(form)),
    "images/edits": lambda _: answers.images_answer({}),
}


class Rendering:
    """What is known of a request from its body alone. `tokens` is what Azure would charge for it at admission."""

    __slots__ = ("_chunks", "_plain", "asks_usage", "body", "model", "operation", "streams", "tokens")

    def __init__(self, operation: str, body: Body) -> None:
        model = body.get("model")
        self.operation = operation
        self.body = body
        self.model = model if isinstance(model, str) else ""
        self.streams = body.get("stream") is True and operation in STREAMS
        self.asks_usage = "stream_options" in body
        self.tokens = answers.prompt_tokens(body) + answers.completion_tokens(body) * answers.choices(body)
        self._plain: dict[str, bytes] = {}
        self._chunks: dict[tuple[str, bool], list[bytes]] = {}

    def plain(self, deployment: str, default: int) -> bytes:
        """The body of the answer."""
        found = self._plain.get(deployment)
        if found is None:
            found = self._plain[deployment] = ANSWERS[self.operation](self.body, deployment, default)
        return found

    def answered_by(self, deployment: str, plain: bytes, names: tuple[bytes, bytes], default: int) -> None:
        """What is answered, where it is not what follows from the request: `names` are an id, and that in its place."""
        self._plain[deployment] = plain
        events = STREAMS[self.operation](self.body, deployment, default)
        renamed = [event.replace(*names).replace(b'"store":false', b'"store":true') for event in events]
        self._chunks[deployment, False] = renamed
        self._chunks[deployment, True] = [b"%x\r\n%b\r\n" % (len(event), event) for event in renamed]

    def events(self, deployment: str, default: int, *, chunked: bool) -> list[bytes]:
        """The events of the answer, each a chunk of its own or as it is. Equal events are one object."""
        found = self._chunks.get((deployment, chunked))
        if found is None:
            found = STREAMS[self.operation](self.body, deployment, default)
            if chunked:
                framed = {event: b"%x\r\n%b\r\n" % (len(event), event) for event in set(found)}
                found = [framed[event] for event in found]
            self._chunks[deployment, chunked] = found
        return found

    def weight(self, raw: int) -> int:
        """About the bytes it takes when rendered; `raw` is its request's. No two events of Responses are equal."""
        return 16_384 + 4 * raw + self.tokens * (1024 if self.operation == "responses" else 32)


class Renderings:
    """The renderings of one instance."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes], tuple[Rendering, int]] = {}
        self._bytes = 0

    def of(self, operation: str, raw: bytes) -> Rendering:
        """Raises `msgspec.MsgspecError` for what is no JSON object."""
        key = operation, raw if len(raw) <= _KEPT_WHOLE else hashlib.sha256(raw).digest()
        found = self._kept.get(key)
        if found is not None:
            return found[0]
        rendering = Rendering(operation, msgspec.json.decode(raw, type=dict))
        weight = rendering.weight(len(raw))
        if weight <= _BYTES:
            self._kept[key] = rendering, weight
            self._bytes += weight
            while len(self._kept) > _ENTRIES or self._bytes > _BYTES:
                self._bytes -= self._kept.pop(next(iter(self._kept)))[1]
        return rendering
