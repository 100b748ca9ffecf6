"""A Key Vault: secrets in versions, for whoever shows a token that was issued for the vault's own resource.

    GET /secrets/{name}[/{version}]
    GET /secrets/{name}/versions

Microsoft's "Azure Key Vault REST API reference", and "Authentication, requests and responses" for the challenge: a
request without a valid token is a 401 that names the authority and the resource. The real client insists on a resource
that is the vault's host without its first label, as `vault.azure.net` is of `name.vault.azure.net`; that is why this
vault is at `127.0.0.1`, whose resource is `https://0.0.1`, and not at `localhost`. It is faulted as an instance named
`vault`; the faults that make sense are those of the token endpoints, and `malformed`.
"""

import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.mock.connection import Connection
from bench.mock.faults import VAULT
from bench.mock.identity import Answer, Player, Tokens
from bench.mock.request import Request

TENANT = "11111111-1111-1111-1111-111111111111"
"""The tenant that the vault says it is of."""

_SECRETS_AT_MOST = 1_000


class Secret(msgspec.Struct, forbid_unknown_fields=True):
    """A new version of a secret. A certificate's is PEM, its key included, or PKCS#12 in base64."""

    name: str
    value: str
    content_type: str = "application/x-pem-file"


class Version(msgspec.Struct):
    """What the control address answers to a new one."""

    version: str


class Vault:
    """`authority`: where its tokens come from, an address without a path."""

    def __init__(self, player: Player, tokens: Tokens, authority: str) -> None:
        self._player = player
        self._tokens = tokens
        self._authority = authority
        self._secrets: dict[str, dict[str, Secret]] = {}

    def put(self, secret: Secret) -> Version:
        """Store a new version. Raises `ValueError` when there are too many."""
        versions = self._secrets.setdefault(secret.name, {})
        if len(self._secrets) > _SECRETS_AT_MOST or len(versions) >= _SECRETS_AT_MOST:
            raise ValueError("the vault is full")
        version = uuid.uuid4().hex
        versions[version] = secret
        return Version(version)

    def handle(self, connection: Connection, request: Request) -> None:
        self._player.play(VAULT, connection, request, self._answer)

    def _answer(self, request: Request) -> Answer:
        host = request.headers.get(b"host", b"").decode("latin-1")
        resource = f"https://{host.partition('.')[2]}"
        scheme, _, token = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or self._tokens.resource(token, time.time()) != resource:
            challenge = f'Bearer authorization="{self._authority}/{TENANT}", resource="{resource}"'
            body = _error("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
            return 401, body, f"www-authenticate: {challenge}\r\n".encode("latin-1")
        path = urlsplit(request.target.decode("latin-1")).path.strip("/").split("/")
        if request.method != b"GET" or path[0] != "secrets" or not 2 <= len(path) <= 3:
            return 404, _error("NotFound", "There is no such endpoint here.")
        versions = self._secrets.get(path[1], {})
        at = f"https://{host}/secrets/{path[1]}"
        if path[2:] == ["versions"]:
            return 200, {"value": [_shown(at, version, secret, whole=False) for version, secret in versions.items()]}
        version = path[2] if path[2:] else next(reversed(versions), "")
        if version not in versions:
            message = f"A secret with (name/id) {'/'.join(path[1:])} was not found in this key vault."
            return 404, _error("SecretNotFound", message)
        return 200, _shown(at, version, versions[version], whole=True)


def _shown(at: str, version: str, secret: Secret, *, whole: bool) -> dict[str, Any]:
    attributes = {"enabled": True, "recoveryLevel": "Recoverable+Purgeable"}
    shown = {"id": f"{at}/{version}", "contentType": secret.content_type, "attributes": attributes, "managed": True}
    return shown | {"value": secret.value} if whole else shown


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
