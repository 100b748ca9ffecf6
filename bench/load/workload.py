"""What is asked, and what the answer must be, byte for byte: from the mock's own pure functions."""

import json

import msgspec

from bench.mock.answers import chat_answer, chat_stream

MODEL = "gpt-4o"
PROMPT = "Tell me how the water gets from the dam to the turbines. " * 4


class Workload(msgspec.Struct, frozen=True):
    """`request` is sent as it is. `payload` is the answer's whole body; `ends` are the offsets its events end at."""

    request: bytes
    payload: bytes
    ends: tuple[int, ...] = ()


def _request(host: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [
        f"POST /openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21 HTTP/1.1",
        f"host: {host}",
        "accept: application/json",
        "content-type: application/json",
        "user-agent: bench",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def plain(host: str, headers: dict[str, str], tokens: int = 16) -> Workload:
    """A chat completion, not streamed."""
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": tokens}
    return Workload(_request(host, headers, json.dumps(body).encode()), chat_answer(body, MODEL))


def stream(host: str, headers: dict[str, str], tokens: int, seed: int = 0) -> Workload:
    """A streamed chat completion that asks for its usage, so that its bytes are the same with and without a gateway."""
    body = {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    events = chat_stream(body, MODEL)
    ends = []
    total = 0
    for one in events:
        total += len(one)
        ends.append(total)
    return Workload(_request(host, headers, json.dumps(body).encode()), b"".join(events), tuple(ends))
