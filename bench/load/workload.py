"""What is asked, and what the answer must be, byte for byte: from the mock's own pure functions."""

import json
from itertools import accumulate

import msgspec

from bench.mock.answers import chat_answer, chat_stream

MODEL = "gpt-4o"
PROMPT = "Tell me how the water gets from the dam to the turbines. " * 4
TAG = "x-ms-client-request-id"
"""The header that tells one request from another, at the mock too."""


class Workload(msgspec.Struct, frozen=True):
    """`head` and `body` are sent as they are. `payload` is the answer's whole body.

    `ends` are the offsets its events end at, and `frames` the events as chunks of their own (RFC 9112 section 7.1),
    which is how they are expected to arrive. Both are empty for an answer that is not streamed.
    """

    head: bytes
    body: bytes
    payload: bytes
    ends: tuple[int, ...] = ()
    frames: tuple[bytes, ...] = ()

    def request(self, tag: str | None = None) -> bytes:
        """The request's bytes; with a tag, they carry it in the header `TAG`."""
        if tag is None:
            return b"%b\r\n%b" % (self.head, self.body)
        return b"%b%b: %b\r\n\r\n%b" % (self.head, TAG.encode(), tag.encode(), self.body)


def _head(host: str, model: str, headers: dict[str, str], length: int) -> bytes:
    lines = [
        f"POST /openai/deployments/{model}/chat/completions?api-version=2024-10-21 HTTP/1.1",
        f"host: {host}",
        "accept: application/json",
        "content-type: application/json",
        "user-agent: bench",
        f"content-length: {length}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def plain(host: str, headers: dict[str, str], tokens: int = 16, model: str = MODEL) -> Workload:
    """A chat completion, not streamed."""
    asked = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": tokens}
    body = json.dumps(asked).encode()
    return Workload(_head(host, model, headers, len(body)), body, chat_answer(asked, model))


def stream(host: str, headers: dict[str, str], tokens: int, model: str = MODEL) -> Workload:
    """A streamed chat completion that asks for its usage, so that its bytes are the same with and without a gateway."""
    asked = {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body = json.dumps(asked).encode()
    events = chat_stream(asked, model)
    return Workload(
        _head(host, model, headers, len(body)),
        body,
        b"".join(events),
        tuple(accumulate(map(len, events))),
        tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in events),
    )
