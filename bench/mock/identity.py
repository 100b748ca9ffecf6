"""The endpoints that give tokens: instance metadata (IMDS) and Entra. The instances accept what they issue.

Microsoft's documentation: "How to use managed identities on an Azure VM to acquire an access token", and the OAuth 2.0
client credentials grant of the identity platform.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.mock.answers import dump
from bench.mock.engine import Connection, Engine, Request


class Identity:
    """Issues tokens. `mode` is what both endpoints do: `ok`, `down` (a reset), `error`, `throttle` or `slow`."""

    def __init__(self, engine: Engine, life: float) -> None:
        self.mode = "ok"
        self.delay = 5.0
        self.life = life
        self.issued = 0
        self._engine = engine
        self._numbers = itertools.count(1)
        self._tokens: dict[str, float] = {}

    def valid(self, token: str) -> bool:
        return self._tokens.get(token, 0.0) > time.time()

    def metadata(self, connection: Connection, request: Request) -> None:
        """`GET /metadata/identity/oauth2/token`."""
        url = urlsplit(request.target)
        query = parse_qs(url.query)
        if url.path.rstrip("/") != "/metadata/identity/oauth2/token":
            self._send(connection, 404, {"error": "not_found"})
        elif request.headers.get("metadata", "").lower() != "true" or "resource" not in query:
            self._send(connection, 400, {"error": "invalid_request", "error_description": "Required metadata header"})
        else:
            self._played(connection, lambda: self._give_metadata(connection, query["resource"][0]))

    def _give_metadata(self, connection: Connection, resource: str) -> None:
        token, expires = self._token()
        self._send(
            connection,
            200,
            {
                "access_token": token,
                "client_id": "00000000-0000-0000-0000-000000000000",
                "expires_in": str(int(self.life)),
                "expires_on": str(int(expires)),
                "not_before": str(int(time.time())),
                "resource": resource,
                "token_type": "Bearer",
            },
        )

    def entra(self, connection: Connection, request: Request) -> None:
        """`POST /{tenant}/oauth2/v2.0/token`, and the documents a client discovers it by."""
        path = urlsplit(request.target).path
        tenant = path.strip("/").split("/")[0]
        origin = f"https://{request.headers.get('host', 'localhost')}/{tenant}"
        if path.endswith("/.well-known/openid-configuration"):
            self._send(
                connection,
                200,
                {
                    "authorization_endpoint": f"{origin}/oauth2/v2.0/authorize",
                    "issuer": f"{origin}/v2.0",
                    "jwks_uri": f"{origin}/discovery/v2.0/keys",
                    "token_endpoint": f"{origin}/oauth2/v2.0/token",
                },
            )
        elif path.endswith("/oauth2/v2.0/token") and request.method == "POST":
            form = parse_qs(request.body.decode("utf-8", "replace"))
            if form.get("client_secret") == ["wrong"]:
                self._send(connection, 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid."})
                return
            self._played(connection, lambda: self._give_entra(connection))
        else:
            self._send(connection, 404, {"error": "not_found"})

    def _give_entra(self, connection: Connection) -> None:
        token, _ = self._token()
        self._send(connection, 200, {"access_token": token, "expires_in": int(self.life), "token_type": "Bearer"})

    def _played(self, connection: Connection, give: Callable[[], None]) -> None:
        match self.mode:
            case "down":
                connection.reset()
            case "error":
                self._send(connection, 500, {"error": "server_error"})
            case "throttle":
                self._send(connection, 429, {"error": "too_many_requests"})
            case "slow":
                self._engine.at(time.monotonic() + self.delay, give)
            case _:
                give()

    def _token(self) -> tuple[str, float]:
        self.issued += 1
        token = f"mock-token-{next(self._numbers):06d}-" + "x" * 1200  # as long as a real one
        expires = time.time() + self.life
        self._tokens = {t: e for t, e in self._tokens.items() if e > time.time()} | {token: expires}
        return token, expires

    def _send(self, connection: Connection, status: int, body: dict[str, Any]) -> None:
        data = dump(body)
        connection.send(
            b"HTTP/1.1 %d -\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(data), data)
        )
        connection.finish()
