"""Issuers of tokens: the document each is discovered by, and its keys, as the control address was told.

    GET /{name}/.well-known/openid-configuration
    GET /{name}/keys

OpenID Connect Discovery 1.0 section 4, RFC 7517 section 5. An issuer is faulted as an instance named `issuer:NAME`; the
faults that make sense here are those of the token endpoints, and `malformed`, an answer that is no JSON.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.mock.connection import Connection
from bench.mock.faults import ISSUER
from bench.mock.identity import Answer, Player
from bench.mock.request import Request

_KEYS = "/keys"
_CONFIGURATION = "/.well-known/openid-configuration"


class Published(msgspec.Struct, forbid_unknown_fields=True):
    """What an issuer publishes. `configuration` has members to put in place of the usual ones."""

    name: str
    keys: dict[str, Any]
    configuration: dict[str, Any] = {}


class Issuers:
    """All issuers, at one address."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._published: dict[str, Published] = {}

    def publish(self, published: Published) -> None:
        """From now on, this and nothing else."""
        self._published[published.name] = published

    def keys(self, name: str) -> dict[str, Any] | None:
        """What an issuer publishes of its keys; None: there is none of this name."""
        published = self._published.get(name)
        return None if published is None else published.keys

    def handle(self, connection: Connection, request: Request) -> None:
        path = urlsplit(request.target.decode("latin-1")).path
        name = path.strip("/").partition("/")[0]
        self._player.play(ISSUER + name, connection, request, lambda request: self._answer(name, path, request))

    def _answer(self, name: str, path: str, request: Request) -> Answer:
        published = self._published.get(name)
        if published is None or request.method != b"GET":
            return 404, {"error": "not_found"}
        if path == f"/{name}{_KEYS}":
            return 200, published.keys
        if path == f"/{name}{_CONFIGURATION}":
            issuer = f"https://{request.headers.get(b'host', b'localhost').decode('latin-1')}/{name}"
            usual = {"issuer": issuer, "jwks_uri": issuer + _KEYS, "response_types_supported": ["code"]}
            return 200, usual | published.configuration
        return 404, {"error": "not_found"}
