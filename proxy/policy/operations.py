"""What a request asks for: from method and target to an operation, or a refusal.

The target is parsed here once, and what is forwarded is built from what was parsed, so that no backend can read it
otherwise. Nothing in here performs I/O.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import msgspec

from proxy.policy.operation import Operation
from proxy.policy.stored_operations import STORED_OPERATIONS
from proxy.refusal import Reason, Refused

__all__ = ("OPERATIONS", "STATELESS", "Operation", "Target", "Targets", "parse_target")


_STATELESS: dict[str, Operation] = {
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
            "responses",
            "responses",
            "json",
            surfaces=("v1", "dated"),
            limits=("max_output_tokens",),
            streams=True,
            stored="responses.store",
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

STATELESS = frozenset(_STATELESS)
"""What `*` in a grant stands for."""

OPERATIONS = _STATELESS | {operation.name: operation for operation in STORED_OPERATIONS}
"""Every operation, by the name that grants use."""

_BY_PATH: dict[tuple[str, str], Operation] = {
    (surface, operation.path): operation for operation in _STATELESS.values() for surface in operation.surfaces
} | {("dated", "deployments"): OPERATIONS["models"]}


def _templates() -> dict[tuple[int, str], dict[tuple[str, ...], dict[str, Operation]]]:
    """The paths of operations on stored state: by length and first segment, then path, then method."""
    found: dict[tuple[int, str], dict[tuple[str, ...], dict[str, Operation]]] = {}
    for operation in STORED_OPERATIONS:
        path = tuple(operation.path.split("/"))
        if operation.path not in {one.path for one in _STATELESS.values() if one.stored == operation.name}:
            found.setdefault((len(path), path[0]), {}).setdefault(path, {})[operation.method] = operation
    return found


_TEMPLATES = _templates()
_STORED_STATE = frozenset(
    "assistants batches containers conversations evals files fine-tunes fine_tuning threads uploads "
    "vector_stores".split()
)
"""First segments of operations on stored state, those among them that are refused."""

_RETIRED = frozenset(("assistants", "threads"))
_STORED_UNDER = frozenset({"responses", "chat", "completions", "fine_tuning"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_REPEATED = frozenset(("include", "include[]"))

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
    body does. `query` holds the parameters that pass on, in order. `ids` are those in the path, each with its kind, and
    `path` is the operation's with them in it.
    """

    operation: Operation
    surface: str
    model: str | None
    query: tuple[tuple[str, str], ...] = ()
    api_version: str = ""
    ids: tuple[tuple[str, str], ...] = ()
    path: str = ""
    forwarded: dict[str, str] = {}

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
        return f"/openai/{middle}{self.path or self.operation.path}{'?' + query if query else ''}"


def parse_target(method: bytes, raw: bytes, forward_query: frozenset[str] = frozenset()) -> Target:
    """Understand a request's method and target.

    `forward_query` names the parameters that pass on beside `api-version`; all others are dropped.
    Raises `Refused`: BAD_TARGET, CREDENTIAL_IN_QUERY, METHOD_NOT_ALLOWED, NOT_FOUND, STORED_STATE, UNKNOWN_OPERATION.
    """
    if not _VISIBLE.fullmatch(raw):
        raise Refused(Reason.BAD_TARGET, "not in origin form")
    path, _, query = raw.partition(b"?")
    segments = _segments(path)
    given = _query(query)
    target = _resolve(method, segments)
    state = target.operation.state
    target.query = _passed(given, forward_query if state is None else forward_query | state.query)
    target.api_version = dict(target.query).get("api-version", "")
    if target.surface != "v1" and not target.api_version:
        raise Refused(Reason.UNKNOWN_OPERATION, "api-version missing")
    return target


def _segments(path: bytes) -> list[str]:
    segments = []
    for encoded in path[1:].split(b"/"):
        segment = unquote_to_bytes(encoded)
        if not _SEGMENT.fullmatch(segment) or segment in (b".", b".."):
            raise Refused(Reason.BAD_TARGET, "segment of the path")
        segments.append(segment.decode("ascii"))
    return segments


def _query(query: bytes) -> list[tuple[str, str]]:
    """The parameters, all of them. Raises `Refused`: CREDENTIAL_IN_QUERY, BAD_TARGET."""
    given = []
    for pair in query.split(b"&") if query else ():
        encoded_name, _, encoded_value = pair.partition(b"=")
        name = unquote_to_bytes(encoded_name.replace(b"+", b" ")).decode("latin-1")
        if name.strip().lower() in _CREDENTIAL_PARAMETERS:
            raise Refused(Reason.CREDENTIAL_IN_QUERY, "credential in the query")
        value = unquote_to_bytes(encoded_value).decode("latin-1")
        if name == "api-version" and not _API_VERSION.fullmatch(value):
            raise Refused(Reason.BAD_TARGET, "api-version")
        given.append((name, value))
    return given


def _passed(given: list[tuple[str, str]], forward: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Those that pass on. Raises `Refused`: BAD_TARGET for one that is sent twice."""
    passed = [(name, value) for name, value in given if name == "api-version" or name in forward]
    names = [name for name, _ in passed if name not in _REPEATED]
    if len(names) != len(set(names)):
        raise Refused(Reason.BAD_TARGET, "parameter sent twice")
    return tuple(passed)


def _resolve(method: bytes, segments: list[str]) -> Target:
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
    if operation is not None and method == operation.method.encode():
        return Target(operation, surface, model)
    template, methods = _template(rest, surface)
    stored = methods.get(method.decode("ascii"))
    if stored is not None:
        ids = tuple((part[1:-1], own) for part, own in zip(template, rest, strict=True) if part.startswith("{"))
        return Target(stored, surface, None, ids=ids, path="/".join(rest))
    if operation is None and not methods:
        raise _unknown(rest, surface)
    allowed = [one.name for one in (*([operation] if operation else ()), *methods.values())]
    raise Refused(Reason.METHOD_NOT_ALLOWED, ", ".join(allowed))


def _template(rest: list[str], surface: str) -> tuple[tuple[str, ...], Mapping[str, Operation]]:
    """The path of operations on stored state that this is one of. Raises `Refused`: NOT_FOUND for what is no id."""
    for template, methods in _TEMPLATES.get((len(rest), rest[0]), {}).items() if rest else ():
        if all(part.startswith("{") or part == own for part, own in zip(template, rest, strict=True)):
            of_surface = {name: one for name, one in methods.items() if surface in one.surfaces}
            if of_surface and not all(
                part == own or _ID.fullmatch(own) for part, own in zip(template, rest, strict=True)
            ):
                raise Refused(Reason.NOT_FOUND, "id")
            return template, of_surface
    return (), {}


def _unknown(rest: list[str], surface: str) -> Refused:
    first = rest[0] if rest else ""
    stored = first in _STORED_STATE or (first in _STORED_UNDER and len(rest) > 1 and surface != "deployments")
    message = _ASSISTANTS if first in _RETIRED else None
    return Refused(Reason.STORED_STATE if stored else Reason.UNKNOWN_OPERATION, first[:64] or "path", message=message)


_ASSISTANTS = "Assistants and threads are retired; they are not available through this gateway: use the Responses API."


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
            if len(raw) <= 512 and target.operation.state is None:
                if len(self._seen) >= self._size:
                    self._seen.clear()
                self._seen[key] = target
        return target
