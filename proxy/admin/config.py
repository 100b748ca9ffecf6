"""The configuration over the admin address: what is in force, what would change, another one, and one from before.

GET  /api/config                      what is in force: TOML where `accept` names application/toml, else JSON
POST /api/config/check      TOML      what would change, or what is wrong; nothing is applied
PUT  /api/config            TOML      this is in force from now on, and in the file; `if-match: "version"` is needed
POST /api/config/rollback   {…}       a version from before is in force again; without a body, the last one
GET  /api/config/history              the versions that were in force
GET  /api/config/history/{version}    one of them, as TOML

Relative paths in a text are relative to the folder of the gateway's file, wherever the text comes from.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.body import Cannot, read_body, read_bytes
from proxy.admin.guard import CONFIG_AT_MOST
from proxy.admin.turn import Turn
from proxy.config.difference import Change
from proxy.refusal import error_body

TOML = "application/toml"

_VERSION = re.compile(r"[0-9]{1,15}")

Source: TypeAlias = Literal["start", "file", "api", "rollback"]
"""Where a configuration came from: the file at the start, the file later, the admin address, a version before."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a configuration: where, what was found, what to do. `key` is empty for all of it."""

    file: str
    key: str
    found: str
    remedy: str


class NamedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the configuration names. `holds`: its certificates or lists, by fingerprint; nothing else is told."""

    path: str
    holds: tuple[str, ...]


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """`since` is in Unix seconds. `config`: every key with its value; secrets as references."""

    version: int
    digest: str
    since: float
    source: Source
    file: str
    config: Any
    files: tuple[NamedFile, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How a candidate differs from `version`, which is in force. `left_out`: how many more changes there are.

    `restart`: the running gateway would refuse it.
    """

    version: int
    restart: bool
    summary: str
    changes: tuple[Change, ...]
    left_out: int = 0


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is in force now, and the text is in `file`; what was there is in `previous`."""

    version: int
    file: str
    previous: str
    summary: str
    changes: tuple[Change, ...]
    left_out: int = 0


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One that was in force from `time` on. `digest` is its text's; `summary`: how it differed from the one before."""

    version: int
    time: float
    source: Source
    digest: str
    summary: str


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is in force; `versions` has the newest first."""

    version: int
    versions: tuple[Version, ...]


class RollBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`to`: the version to take up again; absent: the last one before that in force."""

    to: int | None = None


class Invalid(Cannot):
    """A configuration that cannot be in force, and everything that is wrong with it."""

    def __init__(self, message: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(422, "InvalidConfiguration", message)
        self.problems = problems


class Configuration(Protocol):
    """Who answers. `text`, `check`, `apply` and `roll_back` raise `Cannot`."""

    def in_force(self) -> InForce: ...

    def text(self, version: int | None) -> bytes:
        """The text of a version, or of the one in force."""
        ...

    def versions(self) -> Versions: ...

    async def check(self, text: bytes) -> Difference: ...

    async def apply(self, text: bytes, instead_of: int) -> Applied: ...

    async def roll_back(self, to: int | None, instead_of: int | None) -> Applied: ...


def config_routes(configuration: Configuration, turn: Turn) -> list[Route]:
    async def show(request: Request) -> Response:
        shown = configuration.in_force()
        etag = {"etag": f'"{shown.version}"'}
        if TOML in request.headers.get("accept", ""):
            return Response(configuration.text(None), headers=etag, media_type=TOML)
        return Response(msgspec.json.encode(shown), headers=etag, media_type="application/json")

    async def check(request: Request) -> Response:
        async def do() -> Difference:
            return await configuration.check(_given(await read_bytes(request, TOML, CONFIG_AT_MOST)))

        return await _answered(do)

    async def apply(request: Request) -> Response:
        async def do() -> Applied:
            instead_of = _instead_of(request)
            if instead_of is None:
                raise Cannot(428, "PreconditionRequired", 'Say which version this is to replace: if-match: "7".')
            text = _given(await read_bytes(request, TOML, CONFIG_AT_MOST))
            return await turn.take(lambda: configuration.apply(text, instead_of))

        return await _answered(do)

    async def roll_back(request: Request) -> Response:
        async def do() -> Applied:
            instead_of = _instead_of(request)
            wanted = _given(await read_body(request, RollBack, empty=RollBack()))
            return await turn.take(lambda: configuration.roll_back(wanted.to, instead_of))

        return await _answered(do)

    async def versions(_request: Request) -> Response:
        return Response(msgspec.json.encode(configuration.versions()), media_type="application/json")

    async def text(request: Request) -> Response:
        number = request.path_params["version"]
        try:
            if not _VERSION.fullmatch(number):
                raise Cannot(404, "UnknownVersion", "A version is a number.")
            return Response(configuration.text(int(number)), media_type=TOML)
        except Cannot as cannot:
            return _refused(cannot)

    return [
        Route("/api/config", show, methods=["GET"]),
        Route("/api/config", apply, methods=["PUT"]),
        Route("/api/config/check", check, methods=["POST"]),
        Route("/api/config/rollback", roll_back, methods=["POST"]),
        Route("/api/config/history", versions, methods=["GET"]),
        Route("/api/config/history/{version}", text, methods=["GET"]),
    ]


def _given(found: Any) -> Any:
    """What was read of the request. Raises the `Cannot` that it is instead."""
    if isinstance(found, Cannot):
        raise found
    return found


def _instead_of(request: Request) -> int | None:
    """RFC 9110 section 13.1.1, of which one strong tag is all there is use for. Raises `Cannot`."""
    header = request.headers.get("if-match")
    if header is None:
        return None
    tag = header.strip().removeprefix('"').removesuffix('"')
    if not _VERSION.fullmatch(tag):
        raise Cannot(400, "BadRequest", 'The if-match header must be a version in quotes, such as "7".')
    return int(tag)


async def _answered(do: Callable[[], Awaitable[Any]]) -> Response:
    try:
        return Response(msgspec.json.encode(await do()), media_type="application/json")
    except Cannot as cannot:
        return _refused(cannot)


def _refused(cannot: Cannot) -> Response:
    body = error_body(cannot.code, str(cannot))
    if isinstance(cannot, Invalid):
        told: dict[str, Any] = {**msgspec.json.decode(body), "problems": cannot.problems}
        body = msgspec.json.encode(told)
    return Response(body, cannot.status, media_type="application/json")
