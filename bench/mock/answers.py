"""What the mock answers: a pure function of the request, so that whoever receives it can check every byte.

The shapes are those of Azure's wire. The number of content events, and of completion tokens, is the request's
`max_completion_tokens`, `max_tokens` or `max_output_tokens`, else `DEFAULT_TOKENS`; ids and times derive from its
`seed`. A prompt has one token for every four bytes of its JSON.
"""

import json
from typing import Any

DEFAULT_TOKENS = 16
_EPOCH = 1_700_000_000
_SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
_WORDS = ("water ", "falls ", "through ", "the ", "penstock ", "to ", "turbines ", "below ")

Body = dict[str, Any]


def dump(value: object) -> bytes:
    """Compact JSON, as Azure sends it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(value: object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (head, dump(value))


DONE = b"data: [DONE]\n\n"


def completion_tokens(body: Body) -> int:
    for key in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        if isinstance(body.get(key), int):
            return int(body[key])
    return DEFAULT_TOKENS


def prompt_tokens(body: Body) -> int:
    prompt = body.get("messages") or body.get("input") or body.get("prompt") or ""
    return max(1, len(dump(prompt)) // 4)


def _seed(body: Body) -> int:
    seed = body.get("seed")
    return seed if isinstance(seed, int) else 0


def word(number: int) -> str:
    """The text of content event `number`."""
    return _WORDS[number % len(_WORDS)]


def _usage(body: Body, completion: int) -> Body:
    prompt = prompt_tokens(body)
    return {
        "completion_tokens": completion,
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "total_tokens": prompt + completion,
    }


def chat_answer(body: Body, deployment: str) -> bytes:
    count = completion_tokens(body)
    message = {"content": "".join(map(word, range(count))), "refusal": None, "role": "assistant"}
    choice = {
        "content_filter_results": _SAFE,
        "finish_reason": "stop",
        "index": 0,
        "logprobs": None,
        "message": message,
    }
    return dump(
        {
            "choices": [choice],
            "created": _EPOCH + _seed(body),
            "id": f"chatcmpl-{_seed(body):08x}",
            "model": deployment,
            "object": "chat.completion",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}],
            "system_fingerprint": "fp_mock",
            "usage": _usage(body, count),
        }
    )


def chat_stream(body: Body, deployment: str) -> list[bytes]:
    """The events of a streamed chat completion, in order, `[DONE]` included."""
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    count = completion_tokens(body)
    same = {
        "created": _EPOCH + _seed(body),
        "id": f"chatcmpl-{_seed(body):08x}",
        "model": deployment,
        "object": "chat.completion.chunk",
        "system_fingerprint": "fp_mock",
    } | ({"usage": None} if wants_usage else {})

    def chunk(delta: Body, finish: str | None = None) -> bytes:
        choice = {
            "content_filter_results": _SAFE if delta.get("content") else {},
            "delta": delta,
            "finish_reason": finish,
            "index": 0,
            "logprobs": None,
        }
        return event({"choices": [choice], **same})

    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}],
    }
    events = [event(first), chunk({"content": "", "refusal": None, "role": "assistant"})]
    events += [chunk({"content": word(number)}) for number in range(count)]
    events.append(chunk({}, "stop"))
    if wants_usage:
        events.append(event({"choices": [], **same, "usage": _usage(body, count)}))
    return [*events, DONE]


def completions_answer(body: Body, deployment: str) -> bytes:
    count = completion_tokens(body)
    choice = {"finish_reason": "stop", "index": 0, "logprobs": None, "text": "".join(map(word, range(count)))}
    return dump(
        {
            "choices": [choice],
            "created": _EPOCH + _seed(body),
            "id": f"cmpl-{_seed(body):08x}",
            "model": deployment,
            "object": "text_completion",
            "usage": _usage(body, count),
        }
    )


def completions_stream(body: Body, deployment: str) -> list[bytes]:
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    count = completion_tokens(body)
    same = {
        "created": _EPOCH + _seed(body),
        "id": f"cmpl-{_seed(body):08x}",
        "model": deployment,
        "object": "text_completion",
    } | ({"usage": None} if wants_usage else {})
    events = [
        event({"choices": [{"finish_reason": None, "index": 0, "logprobs": None, "text": word(n)}], **same})
        for n in range(count)
    ]
    if wants_usage:
        events.append(event({"choices": [], **same, "usage": _usage(body, count)}))
    return [*events, DONE]


def embeddings_answer(body: Body, deployment: str) -> bytes:
    given = body.get("input")
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    data = [
        {"embedding": [round((n + i) / 97, 6) for i in range(16)], "index": n, "object": "embedding"}
        for n in range(len(texts))
    ]
    prompt = prompt_tokens(body)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return dump({"data": data, "model": deployment, "object": "list", "usage": usage})


def _response(body: Body, deployment: str, status: str, text: str | None) -> Body:
    count = completion_tokens(body)
    content: list[Body] = [{"annotations": [], "text": text, "type": "output_text"}]
    output = [{"content": content, "id": "msg_0", "role": "assistant", "status": status, "type": "message"}]
    prompt = prompt_tokens(body)
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + count,
    }
    done = status == "completed"
    return {
        "created_at": _EPOCH + _seed(body),
        "error": None,
        "id": f"resp_{_seed(body):08x}",
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": deployment,
        "object": "response",
        "output": output if done else [],
        "parallel_tool_calls": True,
        "status": status,
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if done else None,
    }


def responses_answer(body: Body, deployment: str) -> bytes:
    text = "".join(map(word, range(completion_tokens(body))))
    return dump(_response(body, deployment, "completed", text))


def responses_stream(body: Body, deployment: str) -> list[bytes]:
    """The events of a streamed response; this surface has no `[DONE]`."""
    numbers = iter(range(1_000_000))

    def named(name: str, **more: object) -> bytes:
        return event({"type": name, "sequence_number": next(numbers), **more}, name)

    count = completion_tokens(body)
    at = {"item_id": "msg_0", "output_index": 0, "content_index": 0}
    text = "".join(map(word, range(count)))
    return [
        named("response.created", response=_response(body, deployment, "in_progress", None)),
        *(named("response.output_text.delta", **at, delta=word(n), logprobs=[]) for n in range(count)),
        named("response.output_text.done", **at, text=text, logprobs=[]),
        named("response.completed", response=_response(body, deployment, "completed", text)),
    ]


def images_answer(body: Body) -> bytes:
    return dump({"created": _EPOCH + _seed(body), "data": [{"b64_json": "aW1hZ2U=", "revised_prompt": "an image"}]})


def speech_answer(body: Body) -> bytes:
    return b"ID3" + bytes(range(256)) * max(1, len(str(body.get("input", ""))))


def transcription_answer(size: int) -> bytes:
    return dump({"text": f"{size} bytes were heard", "usage": {"type": "duration", "seconds": 1}})


def error(code: str, message: str) -> bytes:
    return dump({"error": {"code": code, "message": message}})
