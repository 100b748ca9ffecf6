"""What the mock answers: a pure function of the request, so that whoever receives it can check every byte.

The shapes are those of Azure's wire (azure.md, "Answers" and "Streams"). Of a request, these matter:

- `max_completion_tokens`, `max_tokens` or `max_output_tokens`, the first that is there, else `default`: the content
  events of a choice, and its completion tokens; `AT_MOST` of them at the most.
- `n`: the choices of a chat completion, which interleave by index. Completion tokens are those of all choices.
- `seed`: ids and times derive from it (default 0).
- `tools` with `tool_choice` "required" or naming a function: the content is a call of that tool, as fragments of its
  arguments.
- `stream_options.include_usage`.

A prompt has one token for every four bytes of its compact JSON, and at least one. `deployment` is what the answer
calls the model.
"""

import json
from typing import Any

DEFAULT_TOKENS = 16
AT_MOST = 128_000
DONE = b"data: [DONE]\n\n"
_EPOCH = 1_700_000_000
_CHOICES_AT_MOST = 128
_EMBEDDING = 16  # numbers in one
_SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
_JAILBREAK = {"jailbreak": {"detected": False, "filtered": False}}
_WORDS = ("water ", "falls ", "through ", "the ", "penstock ", "to ", "turbines ", "— ")  # the last: UTF-8 to split

Body = dict[str, Any]


def dump(value: object) -> bytes:
    """Compact JSON, as Azure sends it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(value: object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (head, dump(value))


def completion_tokens(body: Body, default: int = DEFAULT_TOKENS) -> int:
    """Of one choice."""
    for key in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        given = body.get(key)
        if isinstance(given, int):
            return max(0, min(given, AT_MOST))
    return default


def prompt_tokens(body: Body) -> int:
    prompt = body.get("messages") or body.get("input") or body.get("prompt") or ""
    return max(1, len(dump(prompt)) // 4)


def choices(body: Body) -> int:
    given = body.get("n")
    return max(1, min(given, _CHOICES_AT_MOST)) if isinstance(given, int) else 1


def wants_usage(body: Body) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def word(number: int) -> str:
    """The text of content event `number`."""
    return _WORDS[number % len(_WORDS)]


def text(count: int) -> str:
    """The text of all content events."""
    return "".join(_WORDS) * (count // len(_WORDS)) + "".join(_WORDS[: count % len(_WORDS)])


def error(code: str, message: str) -> bytes:
    """An error's body; that of a refused prompt has its categories."""
    inner: Body = {}
    if code == "content_filter":
        filtered = _SAFE | {"violence": {"filtered": True, "severity": "high"}}
        reason = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": filtered}
        inner = {"param": "prompt", "status": 400, "innererror": reason}
    return dump({"error": {"code": code, "message": message, **inner}})


def _seed(body: Body) -> int:
    seed = body.get("seed")
    return seed if isinstance(seed, int) else 0


def _tool(body: Body) -> str | None:
    """The name of the tool that is to be called."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not isinstance(tools, list) or not tools:
        return None
    named = choice if isinstance(choice, dict) else tools[0] if choice == "required" else None
    function = named.get("function") if isinstance(named, dict) else None
    return str(function.get("name", "")) if isinstance(function, dict) else None


def _call(body: Body, name: str, arguments: str) -> Body:
    return {"function": {"arguments": arguments, "name": name}, "id": f"call_{_seed(body):08x}", "type": "function"}


def _usage(body: Body, default: int) -> Body:
    completion = completion_tokens(body, default) * choices(body)
    prompt = prompt_tokens(body)
    return {
        "completion_tokens": completion,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "total_tokens": prompt + completion,
    }


def _prompt_filter() -> list[Body]:
    return [{"prompt_index": 0, "content_filter_results": _SAFE | _JAILBREAK}]


def chat_answer(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> bytes:
    count = completion_tokens(body, default)
    tool = _tool(body)
    message: Body = {"content": text(count), "refusal": None, "role": "assistant"}
    if tool is not None:
        message |= {"content": None, "tool_calls": [_call(body, tool, text(count))]}
    one = {
        "content_filter_results": _SAFE,
        "finish_reason": "stop" if tool is None else "tool_calls",
        "logprobs": None,
        "message": message,
    }
    return dump(
        {
            "choices": [one | {"index": index} for index in range(choices(body))],
            "created": _EPOCH + _seed(body),
            "id": f"chatcmpl-{_seed(body):08x}",
            "model": deployment,
            "object": "chat.completion",
            "prompt_filter_results": _prompt_filter(),
            "system_fingerprint": "fp_mock",
            "usage": _usage(body, default),
        }
    )


def chat_stream(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> list[bytes]:
    """The events of a streamed chat completion, in order, `[DONE]` included. Equal events are one object."""
    usage = wants_usage(body)
    tool = _tool(body)
    same = {
        "created": _EPOCH + _seed(body),
        "id": f"chatcmpl-{_seed(body):08x}",
        "model": deployment,
        "object": "chat.completion.chunk",
        "system_fingerprint": "fp_mock",
    } | ({"usage": None} if usage else {})

    def chunk(index: int, delta: Body, finish: str | None = None) -> bytes:
        results = _SAFE if "role" not in delta and delta else {}
        choice = {"delta": delta, "finish_reason": finish, "index": index, "logprobs": None}
        return event({"choices": [{"content_filter_results": results, **choice}], **same})

    def content(index: int, number: int) -> bytes:
        if tool is None:
            return chunk(index, {"content": word(number)})
        return chunk(index, {"tool_calls": [{"function": {"arguments": word(number)}, "index": 0}]})

    opening: Body = {"content": "", "refusal": None, "role": "assistant"}
    if tool is not None:
        opening |= {"content": None, "tool_calls": [_call(body, tool, "") | {"index": 0}]}
    indexes = range(choices(body))
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    rounds = [[content(index, number) for index in indexes] for number in range(len(_WORDS))]
    return [
        event(first | {"prompt_filter_results": _prompt_filter()}),
        *(chunk(index, opening) for index in indexes),
        *(one for n in range(completion_tokens(body, default)) for one in rounds[n % len(rounds)]),
        *(chunk(index, {}, "stop" if tool is None else "tool_calls") for index in indexes),
        *([event({"choices": [], **same, "usage": _usage(body, default)})] if usage else []),
        DONE,
    ]


def completions_answer(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> bytes:
    one = {"finish_reason": "stop", "logprobs": None, "text": text(completion_tokens(body, default))}
    return dump(
        {
            "choices": [one | {"index": index} for index in range(choices(body))],
            "created": _EPOCH + _seed(body),
            "id": f"cmpl-{_seed(body):08x}",
            "model": deployment,
            "object": "text_completion",
            "usage": _usage(body, default),
        }
    )


def completions_stream(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> list[bytes]:
    usage = wants_usage(body)
    same = {
        "created": _EPOCH + _seed(body),
        "id": f"cmpl-{_seed(body):08x}",
        "model": deployment,
        "object": "text_completion",
    } | ({"usage": None} if usage else {})

    def content(index: int, said: str, finish: str | None) -> bytes:
        return event({"choices": [{"finish_reason": finish, "index": index, "logprobs": None, "text": said}], **same})

    indexes = range(choices(body))
    rounds = [[content(index, said, None) for index in indexes] for said in _WORDS]
    return [
        *(one for n in range(completion_tokens(body, default)) for one in rounds[n % len(rounds)]),
        *(content(index, "", "stop") for index in indexes),
        *([event({"choices": [], **same, "usage": _usage(body, default)})] if usage else []),
        DONE,
    ]


def embeddings_answer(body: Body, deployment: str) -> bytes:
    given = body.get("input")
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    data = [
        {"embedding": [round((n + i) / 97, 6) for i in range(_EMBEDDING)], "index": n, "object": "embedding"}
        for n in range(len(texts))
    ]
    prompt = prompt_tokens(body)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return dump({"data": data, "model": deployment, "object": "list", "usage": usage})


def _response(body: Body, deployment: str, default: int, *, done: bool) -> Body:
    count, prompt = completion_tokens(body, default), prompt_tokens(body)
    message = {
        "content": [{"annotations": [], "text": text(count), "type": "output_text"}],
        "id": f"msg_{_seed(body):08x}",
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + count,
    }
    return {
        "created_at": _EPOCH + _seed(body),
        "error": None,
        "id": f"resp_{_seed(body):08x}",
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": deployment,
        "object": "response",
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "status": "completed" if done else "in_progress",
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if done else None,
    }


def responses_answer(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> bytes:
    return dump(_response(body, deployment, default, done=True))


def responses_stream(body: Body, deployment: str, default: int = DEFAULT_TOKENS) -> list[bytes]:
    """The events of a streamed response; this surface has no `[DONE]`."""
    events: list[bytes] = []

    def say(name: str, **more: object) -> None:
        events.append(event({"type": name, "sequence_number": len(events), **more}, name))

    count = completion_tokens(body, default)
    begun, done = (_response(body, deployment, default, done=done) for done in (False, True))
    item = done["output"][0]
    part = item["content"][0]
    output = {"output_index": 0}
    at = {"item_id": item["id"], **output, "content_index": 0}
    say("response.created", response=begun)
    say("response.in_progress", response=begun)
    say("response.output_item.added", **output, item=item | {"content": [], "status": "in_progress"})
    say("response.content_part.added", **at, part=part | {"text": ""})
    for number in range(count):
        say("response.output_text.delta", **at, delta=word(number), logprobs=[])
    say("response.output_text.done", **at, text=text(count), logprobs=[])
    say("response.content_part.done", **at, part=part)
    say("response.output_item.done", **output, item=item)
    say("response.completed", response=done)
    return events


def images_answer(body: Body) -> bytes:
    image = {"b64_json": "aW1hZ2U=", "content_filter_results": _SAFE, "revised_prompt": "an image"}
    return dump({"created": _EPOCH + _seed(body), "data": [image] * choices(body)})


def speech_answer(body: Body) -> bytes:
    """Not a sound, but binary, and longer for a longer text."""
    return b"ID3" + bytes(range(256)) * max(1, len(str(body.get("input", ""))))


def transcription_answer(size: int) -> bytes:
    """`size`: bytes of the form, as they came."""
    return dump({"text": f"{size} bytes were heard", "usage": {"type": "duration", "seconds": 1}})


def models_answer(deployments: tuple[str, ...]) -> bytes:
    one = {"created_at": _EPOCH, "lifecycle_status": "generally-available", "object": "model", "status": "succeeded"}
    return dump({"data": [{"id": name, **one} for name in deployments], "object": "list"})
