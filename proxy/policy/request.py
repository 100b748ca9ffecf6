"""A request's body, as far as decisions rest on it: model, streaming, features, bounds; and its form for a backend.

What is sent is built from what was read. The top level of a JSON body is always re-encoded from the members that were
decoded, so a duplicate key cannot mean one thing here and another behind; members whose inside a decision rests on
are decoded, judged and re-encoded whole. Nothing in here performs I/O.
"""

from typing import Any

import msgspec

from proxy.frozen import Frozen
from proxy.policy import references
from proxy.policy.operations import Operation, Target
from proxy.policy.references import Name, objects
from proxy.refusal import Reason, Refused

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_TRUE, _FALSE, _NULL = msgspec.Raw(b"true"), msgspec.Raw(b"false"), msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"[]")

_FETCHING = ("data_sources", "dataSources")
_LOCAL_TOOLS = frozenset({"function", "custom"})
_LIMIT_KEYS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

_IMAGE_KEYS = frozenset(("image_url", "file_data", "file_url"))
_IMAGE_TYPES = frozenset(
    ("image_url", "input_image", "computer_screenshot", "image_generation_call", "file", "input_file")
)
"""Pictures, and files: models are shown the pages of a file as pictures."""
_AUDIO = frozenset(("input_audio", "audio"))
_OLD_LIMIT_BEFORE = "2024-09-01"
"""The version of the API that brought `max_completion_tokens`, which reasoning models insist on."""


class State(Frozen, frozen=True):
    """What a body has to do with stored state: the things it `names`, and whether its answer is kept."""

    names: tuple[Name, ...]
    keeps: bool = False
    background: bool = False


class Request(msgspec.Struct):
    """What a JSON body says.

    `members` are the top-level members as they will be sent. `wants_usage` is true where the client asked for the usage
    event itself. `completion_limit` is the largest number of tokens the client allows, if it says so. `state` is None
    where it neither makes nor names stored state. Only where it was read closely: `uses` is what of "tools", "images"
    and "audio" it brings, `choices` how many answers it asks for.
    """

    members: dict[str, msgspec.Raw]
    model: str | None
    stream: bool = False
    wants_usage: bool = False
    completion_limit: int | None = None
    features: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    choices: int = 1
    state: State | None = None


def read_json(operation: Operation, body: bytes | bytearray, closely: bool = False) -> Request:
    """Read a JSON request body, `closely` where a grant bounds what it brings.

    Raises `Refused`: BAD_JSON, STORED_STATE, NOT_FOUND.
    """
    try:
        members = _decode_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Reason.BAD_JSON, "body") from None
    model = _string(members, "model")
    request = Request(members, model)
    stream = members.get("stream")
    if stream is not None and stream != _FALSE:
        request.stream = _boolean(members, "stream")
    for key in _LIMIT_KEYS:
        if key in members:
            limit = _number(members, key)
            if limit is not None:
                request.completion_limit = max(limit, request.completion_limit or 0)
    if operation.name in ("chat.completions", "responses"):
        names: list[Name] = []
        request.features = _features(members, body, names)
        _look_for_state(operation, request, names)
    if request.stream and operation.name in ("chat.completions", "completions"):
        request.wants_usage = _wants_usage(members)
    if operation.name == "responses":
        members["store"] = _TRUE if request.state is not None and request.state.keeps else _FALSE
    elif operation.name == "audio.speech":
        request.stream = request.stream or _string(members, "stream_format") == "sse"
    if closely:
        request.uses = _uses(operation, members, body)
        request.choices = _choices(operation, members)
    return request


def limit_completion(request: Request, target: Target, most: int) -> dict[str, int]:
    """Set the completion's limit where the request names none. What was set, by parameter.

    Under the client's own parameter where it gave one as null, else under the one that the operation goes by. Chat has
    two: `max_tokens` is what versions of the API know that are older than `max_completion_tokens`.
    """
    members, keys = request.members, target.operation.limits
    if not keys or any(members.get(key, _NULL) != _NULL for key in keys):
        return {}
    key = next((key for key in keys if key in members), None)
    if key is None:
        key = keys[-1] if target.surface != "v1" and target.api_version < _OLD_LIMIT_BEFORE else keys[0]
    members[key] = msgspec.Raw(b"%d" % most)
    return {key: most}


def forwarded(request: Request, deployment: str, *, ask_usage: bool) -> bytes:
    """The body for a backend: the model renamed to its deployment, usage asked for where wanted."""
    members = request.members
    if "model" in members:
        members["model"] = msgspec.Raw(_encode(deployment))
    if ask_usage and not request.wants_usage:
        members = dict(members)
        options = members.get("stream_options")
        theirs: dict[str, Any] = {} if options is None or options == _NULL else _decode_any(options)
        members["stream_options"] = msgspec.Raw(_encode({**theirs, "include_usage": True}))
    return _encode(members)


def _string(members: dict[str, msgspec.Raw], key: str) -> str | None:
    raw = members.get(key)
    if raw is None or raw == _NULL:
        return None
    value = _member(raw, key)
    if not isinstance(value, str):
        raise Refused(Reason.BAD_JSON, key, message=f"'{key}' must be a string.")
    return value


def _boolean(members: dict[str, msgspec.Raw], key: str) -> bool:
    raw = members.get(key)
    if raw is None or raw == _NULL or raw == _FALSE:
        return False
    if raw == _TRUE:
        return True
    raise Refused(Reason.BAD_JSON, key, message=f"'{key}' must be true or false.")


def _number(members: dict[str, msgspec.Raw], key: str) -> int | None:
    value = _member(members[key], key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise Refused(Reason.BAD_JSON, key, message=f"'{key}' must be a whole number that is not negative.")
    return value


def _member(raw: msgspec.Raw, key: str) -> Any:
    try:
        return _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Reason.BAD_JSON, key) from None


def _wants_usage(members: dict[str, msgspec.Raw]) -> bool:
    raw = members.get("stream_options")
    if raw is None or raw == _NULL:
        return False
    options = _member(raw, "stream_options")
    if not isinstance(options, dict):
        raise Refused(Reason.BAD_JSON, "stream_options", message="'stream_options' must be an object.")
    members["stream_options"] = msgspec.Raw(_encode(options))
    return options.get("include_usage") is True


def _look_for_state(operation: Operation, request: Request, names: list[Name]) -> None:
    """What a body makes and names of stored state, beside the `names` in its input. Raises `Refused`: STORED_STATE."""
    members = request.members
    keeps = "store" in members and _boolean(members, "store")
    background = operation.name == "responses" and "background" in request.features
    if operation.name == "responses":
        if members.get("prompt", _NULL) != _NULL or members.get("prompt_id", _NULL) != _NULL:
            raise Refused(Reason.STORED_STATE, "prompt", message="'prompt' is not available through this gateway.")
        previous = _string(members, "previous_response_id")
        if previous is not None:
            names.append(references.name("response", previous))
        if members.get("conversation", _NULL) != _NULL:
            names.append(_conversation(members))
        keeps = keeps or (background and members.get("store", _NULL) == _NULL)
    if not (keeps or names or background):
        return
    if operation.stored is None:
        raise Refused(Reason.STORED_STATE, "store", message="'store' must be false through this gateway.")
    request.state = State(references.distinct(names), keeps, background)


def _conversation(members: dict[str, msgspec.Raw]) -> Name:
    """By its id, or an object that has it; written anew, for what was read is what is sent."""
    value = _member(members["conversation"], "conversation")
    if isinstance(value, dict):
        value = value.get("id") if value.keys() == {"id"} else None
    found = references.name("conversation", value)
    members["conversation"] = msgspec.Raw(_encode(found[1]))
    return found


def _features(members: dict[str, msgspec.Raw], body: bytes | bytearray, names: list[Name]) -> frozenset[str]:
    """The features a grant must name (design: confused deputies) that this body uses; what it names joins `names`.

    Messages and input are decoded only where something in them can matter: an address, a reference, or an ASCII
    character in disguise.
    """
    found = set()
    if not members.keys().isdisjoint(_FETCHING) and any(members.get(key, _NULL) != _NULL for key in _FETCHING):
        found.add("data_sources")
    if "background" in members and _boolean(members, "background"):
        found.add("background")
    if "web_search_options" in members and members["web_search_options"] != _NULL:
        found.add("server_tools")
    if "tools" in members:
        tools = _member(members["tools"], "tools")
        if not _only_local(tools):
            found.add("server_tools")
            for tool in tools if isinstance(tools, list) else [tools]:
                if not (isinstance(tool, dict) and tool.get("type") in _LOCAL_TOOLS):
                    names += references.of_tool(tool) if isinstance(tool, dict) else ()
        members["tools"] = msgspec.Raw(_encode(tools))
    if (
        b"\\u00" in body
        or b"_url" in body
        or references.may_name(body)
        or body.count(b'"reasoning"') > ("reasoning" in members)
    ):
        for key in ("messages", "input"):
            if key in members:
                value = _member(members[key], key)
                if fetches(value, names):
                    found.add("remote_images")
                members[key] = msgspec.Raw(_encode(value))
    return frozenset(found)


def _only_local(tools: Any) -> bool:
    if tools is None:
        return True
    return isinstance(tools, list) and all(
        isinstance(tool, dict) and tool.get("type") in _LOCAL_TOOLS for tool in tools
    )


def fetches(value: Any, names: list[Name]) -> bool:
    """Whether an address inside would be fetched by Azure; what it names joins `names`. Raises `Refused`."""
    remote = False
    for item in objects(value):
        names += references.of_input(item)
        if item.get("file_url") is not None or not _inline(item.get("image_url")):
            remote = True
    return remote


def _inline(image: Any) -> bool:
    if isinstance(image, dict):
        image = image.get("url")
    return image is None or (isinstance(image, str) and image[:5].lower() == "data:")


def _uses(operation: Operation, members: dict[str, msgspec.Raw], body: bytes | bytearray) -> frozenset[str]:
    """What the body brings of what a grant can forbid. Messages and input are decoded where something can matter."""
    found = set()
    if members.get("tools", _NULL) not in (_NULL, _EMPTY) or any(
        members.get(key, _NULL) != _NULL for key in ("functions", "web_search_options")
    ):
        found.add("tools")
    if operation.name in ("chat.completions", "responses") and (
        b"\\u00" in body or b"image" in body or b"audio" in body or b"file" in body
    ):
        for key in ("messages", "input"):
            if key in members:
                value = _member(members[key], key)
                found |= inputs(value)
                members[key] = msgspec.Raw(_encode(value))
    return frozenset(found)


def inputs(value: Any) -> set[str]:
    """Which of "images" and "audio" are among a conversation's parts."""
    found = set()
    for item in objects(value):
        kind = item.get("type")
        given = {key for key, inner in item.items() if inner is not None}
        if not _IMAGE_KEYS.isdisjoint(given) or (isinstance(kind, str) and kind in _IMAGE_TYPES):
            found.add("images")
        if not _AUDIO.isdisjoint(given) or (isinstance(kind, str) and kind in _AUDIO):
            found.add("audio")
    return found


def _choices(operation: Operation, members: dict[str, msgspec.Raw]) -> int:
    """How many answers are asked for; each prompt of several has its own."""
    asked = max((_number(members, key) or 1 for key in operation.choices if key in members), default=1)
    if operation.name == "completions" and "prompt" in members:
        prompt = _member(members["prompt"], "prompt")
        if isinstance(prompt, list) and not all(isinstance(token, int) for token in prompt):
            asked *= len(prompt)
    return asked


def requested_model(target: Target, request: Request | None) -> str:
    """The client's name for the model: from the path, else from the body. Raises `Refused`: MODEL_MISSING."""
    model = target.model or (request.model if request else None)
    if not model:
        raise Refused(Reason.MODEL_MISSING, "model", message="The request names no model: set 'model' in the body.")
    return model
