"""The form that uploads a file (RFC 7578): its fields read once each, its content found, and all of it written anew.

A file for a batch is a program of requests, so it is held to what its client may ask for: every line is judged as the
request that it will be. Pure.
"""

import re
from collections.abc import Callable

import msgspec

from proxy.policy.multipart import boundary, parts
from proxy.policy.operations import OPERATIONS, Operation, Target
from proxy.policy.request import Request, forwarded, limit_completion, read_json
from proxy.policy.rule import Rule
from proxy.refusal import Reason, Refused

LINES_AT_MOST = 100_000
_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_FIELD_AT_MOST = 256
_FILENAME = re.compile(rb"""filename="([^"\r\n]{1,255})"|filename=([^\s;"]{1,255})""", re.I)
_PURPOSES = frozenset(("assistants", "batch", "fine-tune", "user_data", "vision", "evals"))
_RUNS = {
    prefix + path: OPERATIONS[name]
    for name, path in (
        ("chat.completions", "/chat/completions"),
        ("completions", "/completions"),
        ("embeddings", "/embeddings"),
        ("responses", "/responses"),
    )
    for prefix in ("", "/v1", "/openai/v1")
}
"""What a batch may run, by the `url` of a line and the `endpoint` of a batch."""

_encode = msgspec.json.Encoder().encode


class Upload:
    """A whole form. Raises `Refused`: BAD_REQUEST, UNSUPPORTED_MEDIA_TYPE, UNJUDGED."""

    def __init__(self, body: bytes, content_type: bytes) -> None:
        self._boundary = boundary(content_type)
        self._fields: dict[str, bytes] = {}
        self._filename = b"file"
        content: bytes | None = None
        for part in parts(body, content_type):
            if b"content-transfer-encoding" in part.head.lower():
                raise Refused(Reason.BAD_REQUEST, "content-transfer-encoding")
            if part.name == "file" and content is None:
                content = body[part.start : part.end]
                match = _FILENAME.search(part.head)
                self._filename = self._filename if match is None else match[1] or match[2]
            elif part.name in _FIELDS and part.name not in self._fields and part.end - part.start <= _FIELD_AT_MOST:
                self._fields[part.name] = body[part.start : part.end]
            else:
                raise Refused(Reason.UNJUDGED, "field of the form", message="The form has a field that is not known.")
        purpose = self._fields.get("purpose", b"").strip().decode("latin-1")
        if content is None or purpose not in _PURPOSES:
            raise Refused(
                Reason.BAD_REQUEST,
                "form",
                message=f"The form needs 'file', and 'purpose': {', '.join(sorted(_PURPOSES))}.",
            )
        self.purpose = purpose
        self.content = content
        self._fields["purpose"] = purpose.encode("ascii")

    def sent(self, content: bytes) -> bytes:
        """The form with `content` in the file's place."""
        lines = [
            b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (self._boundary, name.encode(), value)
            for name, value in self._fields.items()
        ]
        head = b'--%b\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\ncontent-type: %b\r\n\r\n'
        kind = b"application/jsonl" if self.purpose in ("batch", "fine-tune") else b"application/octet-stream"
        return b"".join(
            [*lines, head % (self._boundary, self._filename, kind), content, b"\r\n--%b--\r\n" % self._boundary]
        )


class Judged(msgspec.Struct, frozen=True):
    """A batch's file as a backend gets it. `tokens` is what its lines are estimated to use together."""

    content: bytes
    operation: str
    model: str
    tokens: int


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Model(msgspec.Struct):
    model: str = ""


class _Named(msgspec.Struct):
    body: _Model = msgspec.field(default_factory=_Model)


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_named = msgspec.json.Decoder(_Named).decode

Judge = Callable[[Operation, str, Request], Rule]
Estimate = Callable[[str, int, int | None], int]


def run_by(endpoint: str) -> Operation:
    """The operation of a line's `url`, or a batch's `endpoint`. Raises `Refused`: UNJUDGED."""
    operation = _RUNS.get(endpoint)
    if operation is None:
        raise Refused(
            Reason.UNJUDGED, "endpoint", message=f"A batch may run: {', '.join(u for u in _RUNS if u[1] != 'o')}."
        )
    return operation


def model_of(content: bytes) -> str:
    """The model that a batch's file names first. Raises `Refused`: BAD_JSON, MODEL_MISSING."""
    line = next((line for line in content.split(b"\n", 64) if line.strip()), b"")
    try:
        model = _decode_named(line).body.model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _bad(1, "is not a line of a batch") from None
    if not model:
        raise Refused(Reason.MODEL_MISSING, "batch", message="Line 1 of the batch names no model in its body.")
    return model


def judged(content: bytes, deployment: str, judge: Judge, estimate: Estimate, *, closely: bool) -> Judged:
    """Every line, held to what its client may ask for, and for a backend's `deployment`.

    `judge` raises `Refused` for what is not granted. Raises `Refused`: BAD_JSON, UNJUDGED, STORED_STATE too.
    """
    model = model_of(content)
    operation: Operation | None = None
    lines: list[bytes] = []
    tokens = 0
    for raw in content.split(b"\n"):
        if not raw.strip():
            continue
        number = len(lines) + 1
        if number > LINES_AT_MOST:
            raise Refused(Reason.UNJUDGED, "lines", message=f"A batch may have at most {LINES_AT_MOST} lines.")
        try:
            line = _decode_line(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _bad(number, "is not a line of a batch: custom_id, method, url and body") from None
        if line.method != "POST" or run_by(line.url) is not (operation or run_by(line.url)):
            raise _bad(number, "has another method or url than a batch may have")
        operation = run_by(line.url)
        request = read_json(operation, bytes(line.body), closely)
        if request.model != model or request.stream or request.state is not None:
            raise _bad(number, "names another model than the first, streams, or has to do with what is stored")
        rule = judge(operation, model, request)
        if rule.max_tokens is not None:
            limit_completion(request, Target(operation, "v1", None), rule.max_tokens)
        limit = rule.max_tokens if request.completion_limit is None else request.completion_limit
        tokens += estimate(model, len(line.body), limit)
        line.body = msgspec.Raw(forwarded(request, deployment, ask_usage=False))
        lines.append(_encode(line))
    assert operation is not None
    return Judged(b"\n".join(lines) + b"\n", operation.name, model, tokens)


def _bad(number: int, what: str) -> Refused:
    return Refused(Reason.BAD_JSON, f"line {number}", message=f"Line {number} of the batch {what}.")
