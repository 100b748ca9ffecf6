"""What a request asks for: from method and target to an operation, or a refusal.

The target is parsed here once, and what is forwarded is built from what was parsed, so that no backend can read it
otherwise. Nothing in here performs I/O.
"""

import re
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

import msgspec

from proxy.refusal import Reason, Refused


class Operation(msgspec.Struct, frozen=True):
    """One operation of Azure OpenAI's data plane.

    `body`: how its request body is read. `inference`: stateless, so that trying again elsewhere is safe. The rest is
    what bounds of grants concern: `limits` are the parameters that bound its completion, the one to set first;
    `choices` those that ask for several answers; `streams`: its answer can be a stream; `inputs`: what it is made of.
    """

    name: str
    path: str
    body: Literal["json", "multipart", "none"]
    method: str = "POST"
    inference: bool = True
    surfaces: tuple[str, ...] = ("deployments", "v1")
    limits: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    streams: bool = False
    inputs: frozenset[str] = frozenset()


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            "chat.completions",
            "chat/completions",
            "json",
            limits=("max_completion_tokens", "max_tokens"),
            choices=("n",),
            streams=True,
        ),
        Operation("completions", "completions", "json", limits=("max_tokens",), choices=("n", "best_of"), streams=True),
        Operation("embeddings", "embeddings", "json"),
        Operation(
            "responses", "responses", "json", surfaces=("v1", "dated"), limits=("max_output_tokens",), streams=True
        ),
        Operation("images.generations", "images/generations", "json", choices=("n",), streams=True),
        Operation(
            "images.edits", "images/edits", "multipart", choices=("n",), streams=True, inputs=frozenset(("images",))
        ),
        Operation("audio.speech", "audio/speech", "json", streams=True),
        Operation(
            "audio.transcriptions", "audio/transcriptions", "multipart", streams=True, inputs=frozenset(("audio",))
        ),
        Operation("audio.translations", "audio/translations", "multipart", inputs=frozenset(("audio",))),
        Operation("models", "models", "none", method="GET", inference=False, surfaces=("v1", "dated")),
    )
}
"""Every stateless operation, by the name that grants use."""

_BY_PATH: dict[tuple[str, str], Operation] = {
    (surface, operation.path): operation for operation in OPERATIONS.values() for surface in operation.surfaces
} | {("dated", "deployments"): OPERATIONS["models"]}

_STORED_STATE = frozenset(
    "assistants batches containers conversations evals files fine-tunes fine_tuning threads uploads "
    "vector_stores".split()
)
"""First segments of operations whose owner would have to be known."""

_STORED_UNDER = frozenset({"responses", "chat", "completions", "fine_tuning"})

_CREDENTIAL_PARAMETERS = frozenset(
    "access_token api-key api_key apikey authorization client_secret code key ocp-apim-subscription-key password "
    "sig subscription-key subscription_key token".split()
)

_SEGMENT = re.compile(rb"[A-Za-z0-9._~:@ -]{1,256}")
_API_VERSION = re.compile(r"[0-9A-Za-z.-]{1,32}")
_VISIBLE = re.compile(rb"/[!-\"$-~]*")  # no fragment, no space, no control, no byte over 127


_FORWARDED = 64


class Target(msgspec.Struct):
    """A request target, understood.

    `surface` is "deployments", "v1" or "dated". `model` is the client's name where the path carries it, else None: the
    body does. `query` holds the parameters that pass on, in order.
    """

    operation: Operation
    surface: str
    model: str | None
    query: tuple[tuple[str, str], ...] = ()
    api_version: str = ""
    forwarded: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api_version = dict(self.query).get("api-version", "")

    def forward(self, deployment: str) -> str:
        """The target for a backend's `deployment`, in origin form (RFC 9112 section 3.2.1)."""
        target = self.forwarded.get(deployment)
        if target is None:
            target = self._spell(deployment)
            if len(self.forwarded) < _FORWARDED:
                self.forwarded[deployment] = target
        return target

    def _spell(self, deployment: str) -> str:
        middle = {"deployments": f"deployments/{quote(deployment, safe='')}/", "v1": "v1/", "dated": ""}[self.surface]
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query)
        return f"/openai/{middle}{self.operation.path}{'?' + query if query else ''}"


def parse_target(method: bytes, raw: bytes, forward_query: frozenset[str] = frozenset()) -> Target:
    """Understand a request's method and target.

    `forward_query` names the parameters that pass on beside `api-version`; all others are dropped.
    Raises `Refused`: BAD_TARGET, CREDENTIAL_IN_QUERY, METHOD_NOT_ALLOWED, STORED_STATE, UNKNOWN_OPERATION.
    """
    if not _VISIBLE.fullmatch(raw):
        raise Refused(Reason.BAD_TARGET, "not in origin form")
    path, _, query = raw.partition(b"?")
    segments = _segments(path)
    passed = _query(query, forward_query)
    return _resolve(method, segments, passed)


def _segments(path: bytes) -> list[str]:
    segments = []
    for encoded in path[1:].split(b"/"):
        segment = unquote_to_bytes(encoded)
        if not _SEGMENT.fullmatch(segment) or segment in (b".", b".."):
            raise Refused(Reason.BAD_TARGET, "segment of the path")
        segments.append(segment.decode("ascii"))
    return segments


def _query(query: bytes, forward: frozenset[str]) -> tuple[tuple[str, str], ...]:
    passed: dict[str, str] = {}
    for pair in query.split(b"&") if query else ():
        encoded_name, _, encoded_value = pair.partition(b"=")
        name = unquote_to_bytes(encoded_name.replace(b"+", b" ")).decode("latin-1")
        if name.strip().lower() in _CREDENTIAL_PARAMETERS:
            raise Refused(Reason.CREDENTIAL_IN_QUERY, "credential in the query")
        if name != "api-version" and name not in forward:
            continue
        value = unquote_to_bytes(encoded_value).decode("latin-1")
        if name in passed:
            raise Refused(Reason.BAD_TARGET, "parameter sent twice")
        if name == "api-version" and not _API_VERSION.fullmatch(value):
            raise Refused(Reason.BAD_TARGET, "api-version")
        passed[name] = value
    return tuple(passed.items())


def _resolve(method: bytes, segments: list[str], query: tuple[tuple[str, str], ...]) -> Target:
    if len(segments) < 2 or segments[0] != "openai":
        raise Refused(Reason.UNKNOWN_OPERATION, "path")
    model: str | None = None
    if segments[1] == "deployments" and len(segments) > 3:
        surface, model, rest = "deployments", segments[2], segments[3:]
    elif segments[1] == "v1":
        surface, rest = "v1", segments[2:]
    else:
        surface, rest = "dated", segments[1:]
    operation = _BY_PATH.get((surface, "/".join(rest)))
    if operation is None:
        raise _unknown(rest, surface)
    if method != operation.method.encode():
        raise Refused(Reason.METHOD_NOT_ALLOWED, operation.name)
    if surface != "v1" and not any(name == "api-version" for name, _ in query):
        raise Refused(Reason.UNKNOWN_OPERATION, "api-version missing")
    return Target(operation, surface, model, query)


def _unknown(rest: list[str], surface: str) -> Refused:
    first = rest[0] if rest else ""
    stored = first in _STORED_STATE or (first in _STORED_UNDER and len(rest) > 1 and surface != "deployments")
    return Refused(Reason.STORED_STATE if stored else Reason.UNKNOWN_OPERATION, first[:64] or "path")


class Targets:
    """`parse_target` with a bounded memory: the same few targets come again and again."""

    def __init__(self, forward_query: tuple[str, ...] = (), size: int = 1024) -> None:
        self._forward = frozenset(forward_query)
        self._size = size
        self._seen: dict[tuple[bytes, bytes], Target] = {}

    def parse(self, method: bytes, raw: bytes) -> Target:
        key = (method, raw)
        target = self._seen.get(key)
        if target is None:
            target = parse_target(method, raw, self._forward)
            if len(raw) <= 512:
                if len(self._seen) >= self._size:
                    self._seen.clear()
                self._seen[key] = target
        return target
