"""What is asked, and what the answer must be, byte for byte: from the mock's own pure functions."""

import json
import re
from itertools import accumulate

import msgspec

from bench.mock.answers import chat_answer, chat_stream, embeddings_answer

MODEL = "gpt-4o"
PROMPT = "Tell me how the water gets from the dam to the turbines. " * 4
_REQUEST_LINE = re.compile(rb"\A[^\r\n]*")
TAG = "x-ms-client-request-id"
"""The header that tells one request from another, at the mock too."""


class Workload(msgspec.Struct, frozen=True):
    """`head` and `body` are sent as they are. `payload` is the answer's whole body.

    `ends` are the offsets its events end at, and `frames` the events as chunks of their own (RFC 9112 section 7.1),
    which is how they are expected to arrive. Both are empty for an answer that is not streamed. `tokens`: of the
    completion. `said`: what the answer says, where that is compared in place of its bytes (`bench.load.retold`).
    """

    head: bytes
    body: bytes
    payload: bytes
    ends: tuple[int, ...] = ()
    frames: tuple[bytes, ...] = ()
    tokens: int = 0
    said: str | None = None

    def request(self, tag: str | None = None, headers: bytes = b"") -> bytes:
        """The request's bytes; with a tag, they carry it in the header `TAG`. `headers`: further lines, each ended."""
        if tag is not None:
            headers = b"%b%b: %b\r\n" % (headers, TAG.encode(), tag.encode())
        return b"%b%b\r\n%b" % (self.head, headers, self.body)

    def at(self, path: str) -> "Workload":
        """The same, asked for at another path."""
        return msgspec.structs.replace(self, head=_REQUEST_LINE.sub(f"POST {path} HTTP/1.1".encode(), self.head, 1))

    @property
    def weight(self) -> int:
        """About the bytes of memory that it takes; equal events are one object."""
        return len(self.head) + len(self.body) + len(self.payload) + 48 * len(self.ends) + 8192


def lines(headers: dict[str, str]) -> bytes:
    """Header lines, each ended."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


def _head(host: str, model: str, headers: dict[str, str], length: int, operation: str = "chat/completions") -> bytes:
    fixed = [
        f"POST /openai/deployments/{model}/{operation}?api-version=2024-10-21 HTTP/1.1",
        f"host: {host}",
        "accept: application/json",
        "content-type: application/json",
        "user-agent: bench",
        f"content-length: {length}",
    ]
    return ("\r\n".join(fixed) + "\r\n").encode() + lines(headers)


def prompt_of(size: int) -> str:
    """A prompt of so many bytes."""
    return (PROMPT * (size // len(PROMPT) + 1))[:size]


def plain(host: str, headers: dict[str, str], tokens: int = 16, model: str = MODEL, prompt: str = PROMPT) -> Workload:
    """A chat completion, not streamed."""
    asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}
    body = json.dumps(asked).encode()
    return Workload(_head(host, model, headers, len(body)), body, chat_answer(asked, model), tokens=tokens)


def embeddings(host: str, headers: dict[str, str], model: str = MODEL, prompt: str = PROMPT) -> Workload:
    """The embedding of a text."""
    asked = {"input": prompt}
    body = json.dumps(asked).encode()
    return Workload(_head(host, model, headers, len(body), "embeddings"), body, embeddings_answer(asked, model))


def stream(host: str, headers: dict[str, str], tokens: int, model: str = MODEL, prompt: str = PROMPT) -> Workload:
    """A streamed chat completion that asks for its usage, so that its bytes are the same with and without a gateway."""
    asked = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body = json.dumps(asked).encode()
    events = chat_stream(asked, model)
    framed = {event: b"%x\r\n%b\r\n" % (len(event), event) for event in set(events)}
    return Workload(
        _head(host, model, headers, len(body)),
        body,
        b"".join(events),
        tuple(accumulate(map(len, events))),
        tuple(framed[event] for event in events),
        tokens,
    )
