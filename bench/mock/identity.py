"""The endpoints that give tokens: instance metadata (IMDS) and Entra. The instances accept what they issue.

Microsoft's documentation: "How to use managed identities on an Azure VM to acquire an access token", and the OAuth 2.0
client credentials grant of the identity platform. Both are faulted as instances named `identity` and `entra` are; the
faults that make sense there are `throttle`, `error`, `reset`, `close`, `hang`, `late`, and `malformed`: no JSON.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.mock.answers import dump
from bench.mock.assertion import Assertions, NotProven
from bench.mock.connection import Connection
from bench.mock.engine import Engine
from bench.mock.faults import ENTRA, IDENTITY, Faults, Kind
from bench.mock.received import Log, Received
from bench.mock.request import PHRASES, Request

_ISSUED_AT_MOST = 10_000
_LIKE_A_REAL_ONE = "x" * 1200
_AUDIENCES = tuple(
    f"https://{host}" for host in ("cognitiveservices.azure.com", "cognitiveservices.azure.us",
                                   "cognitiveservices.azure.cn", "ai.azure.com")
)  # fmt: skip
_NONSENSE = b"<html><body>Maintenance</body></html>"
Body = dict[str, Any] | bytes
Answer = tuple[int, Body] | tuple[int, Body, bytes]
"""Status and body, and whole lines of header fields."""


class Tokens:
    """The tokens that were issued, in memory; `life` in seconds is that of the next ones. Times are Unix times."""

    def __init__(self, life: float) -> None:
        self.life = life
        self.issued = 0
        self._expiry: dict[str, tuple[float, str]] = {}

    def issue(self, resource: str, now: float) -> tuple[str, float]:
        """A token for a resource, and when it expires."""
        self.issued += 1
        token = f"mock-token-{self.issued:06d}-{_LIKE_A_REAL_ONE}"
        self._expiry[token] = now + self.life, resource.rstrip("/")
        if len(self._expiry) > _ISSUED_AT_MOST:
            del self._expiry[next(iter(self._expiry))]
        return token, now + self.life

    def valid(self, token: str, now: float) -> bool:
        """It is one of these, for Azure OpenAI, and has not expired."""
        expiry, resource = self._expiry.get(token, (0.0, ""))
        return expiry > now and resource in _AUDIENCES

    def resource(self, token: str, now: float) -> str | None:
        """What one of these is for, while it is valid."""
        expiry, resource = self._expiry.get(token, (0.0, ""))
        return resource if expiry > now else None

    def revoke(self) -> None:
        """None that was issued is valid any more."""
        self._expiry.clear()


class Player:
    """Answers of an endpoint that is no instance, each as it is or as a fault by the endpoint's name has it."""

    def __init__(self, engine: Engine, faults: Faults, log: Log) -> None:
        self._engine = engine
        self._faults = faults
        self._log = log

    def play(self, name: str, connection: Connection, request: Request, answer: Callable[[Request], Answer]) -> None:
        """Answer, or what a fault says."""
        received = self._log.add(name, request)
        connection.on_over = lambda gone: received.end("client_gone" if gone else "complete")
        fault = self._faults.pick(name, "")
        kind = fault.kind if fault is not None else None
        headers = b""
        if fault is not None and fault.retry_after is not None:
            headers = b"retry-after: %d\r\n" % int(fault.retry_after)
        respond: Callable[[], None]
        match kind:
            case Kind.RESET | Kind.CLOSE:
                received.end("fault")
                respond = connection.reset if kind is Kind.RESET else connection.close
            case Kind.HANG:
                return
            case Kind.THROTTLE:
                busy = {"error": "too_many_requests", "error_description": "Temporarily throttled."}
                respond = partial(_send, connection, received, (429, busy), headers)
            case Kind.ERROR:
                assert fault is not None
                failed = {"error": fault.code or "server_error", "error_description": "A fault was asked for."}
                respond = partial(_send, connection, received, (fault.status, failed), headers)
            case Kind.MALFORMED:
                respond = partial(_send, connection, received, (200, _NONSENSE), headers)
            case _:
                respond = partial(self._give, connection, request, received, answer)
        if fault is not None and fault.delay:
            self._engine.at(self._engine.now + fault.delay, respond)
        else:
            respond()

    def _give(
        self, connection: Connection, request: Request, received: Received, answer: Callable[[Request], Answer]
    ) -> None:
        if received.ended is None:
            _send(connection, received, answer(request), b"")


class Identity:
    """Both endpoints. `client_ids` empty: any; `secret` None: any."""

    def __init__(
        self, player: Player, tokens: Tokens, client_ids: tuple[str, ...], secret: str | None, assertions: Assertions
    ) -> None:
        self._player = player
        self._tokens = tokens
        self._client_ids = client_ids
        self._secret = secret
        self._assertions = assertions

    def metadata(self, connection: Connection, request: Request) -> None:
        """`GET /metadata/identity/oauth2/token`."""
        self._player.play(IDENTITY, connection, request, self._metadata)

    def entra(self, connection: Connection, request: Request) -> None:
        """`POST /{tenant}/oauth2/v2.0/token`, and the document it is discovered by."""
        self._player.play(ENTRA, connection, request, self._entra)

    def _metadata(self, request: Request) -> Answer:
        url = urlsplit(request.target.decode("latin-1"))
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path.rstrip("/") != "/metadata/identity/oauth2/token":
            return 404, {"error": "not_found", "error_description": "No such endpoint."}
        if request.method != b"GET":
            return 405, {"error": "method_not_allowed", "error_description": "Only GET is allowed."}
        if request.headers.get(b"metadata", b"").lower() != b"true":
            return _bad("Required metadata header not specified")
        for name in ("api-version", "resource"):
            if not query.get(name):
                return _bad(f"Required query variable '{name}' is missing")
        client_id = query.get("client_id", "00000000-0000-0000-0000-000000000000")
        if "client_id" in query and self._client_ids and client_id not in self._client_ids:
            return _bad("Identity not found")
        now = time.time()
        token, expires = self._tokens.issue(query["resource"], now)
        return 200, {
            "access_token": token,
            "client_id": client_id,
            "expires_in": str(int(expires - now)),
            "expires_on": str(int(expires)),
            "ext_expires_in": str(int(expires - now)),
            "not_before": str(int(now)),
            "resource": query["resource"],
            "token_type": "Bearer",
        }

    def _entra(self, request: Request) -> Answer:
        path = urlsplit(request.target.decode("latin-1")).path
        tenant = path.strip("/").partition("/")[0]
        origin = f"https://{request.headers.get(b'host', b'localhost').decode('latin-1')}/{tenant}"
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {
                "authorization_endpoint": f"{origin}/oauth2/v2.0/authorize",
                "issuer": f"{origin}/v2.0",
                "jwks_uri": f"{origin}/discovery/v2.0/keys",
                "token_endpoint": f"{origin}/oauth2/v2.0/token",
            }
        if not path.endswith("/oauth2/v2.0/token") or request.method != b"POST":
            return 404, {"error": "not_found", "error_description": "No such endpoint."}
        form = {name: values[-1] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type", "error_description": "AADSTS70003: Not supported."}
        if not form.get("scope", "").endswith("/.default"):
            return 400, {"error": "invalid_scope", "error_description": "AADSTS1002012: Not valid for this grant."}
        if self._client_ids and form.get("client_id") not in self._client_ids:
            return 401, {"error": "unauthorized_client", "error_description": "AADSTS700016: No such application."}
        try:
            self._judge(form, f"{origin}/oauth2/v2.0/token")
        except NotProven as error:
            return 401, {"error": "invalid_client", "error_description": str(error)}
        now = time.time()
        token, expires = self._tokens.issue(form["scope"].removesuffix("/.default"), now)
        life = int(expires - now)
        return 200, {"access_token": token, "expires_in": life, "ext_expires_in": life, "token_type": "Bearer"}

    def _judge(self, form: dict[str, str], endpoint: str) -> None:
        """Raises `NotProven`."""
        if "client_assertion" in form:
            self._assertions.judge(form, endpoint)
        elif "client_secret" not in form:
            raise NotProven("AADSTS7000216: 'client_assertion' or 'client_secret' is required.")
        elif self._secret not in (None, form["client_secret"]):
            raise NotProven("AADSTS7000215: Invalid client secret provided.")


def _bad(message: str) -> Answer:
    return 400, {"error": "invalid_request", "error_description": message}


def _send(connection: Connection, received: Received, answer: Answer, headers: bytes) -> None:
    status, body, *more = answer
    received.status = status
    data = body if isinstance(body, bytes) else dump(body)
    connection.send(
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json; charset=utf-8\r\n%bcontent-length: %d\r\n\r\n%b"
        % (status, PHRASES.get(status, b"Error"), b"".join([headers, *more]), len(data), data)
    )
    connection.finish()
