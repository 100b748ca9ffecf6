"""How commands ask a gateway that runs: over its admin address, with the token from its configuration.

Of the configuration only `admin` counts: what else is wrong with the file must not keep anyone from looking at, or
acting on, the gateway that was started with it.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from proxy.admin.config import Problem
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Admin
from proxy.supervisor import secret_file
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.sockets import parse_address

_WITHIN = 10.0
_ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104

T = TypeVar("T")


class CannotAsk(Exception):
    """The gateway cannot be asked; one sentence says why and what to do."""


class NoAnswer(CannotAsk):
    """It is not there, or does not answer."""


class NotDone(CannotAsk):
    """It was asked, and would not. `problems`: what is wrong with a configuration, where that is why."""

    def __init__(self, text: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(text)
        self.problems = problems


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How the admin address is reached: at `address`, if not as it is configured, and, where it has TLS, with what.

    `ca`: the authority of its certificate; None: the system's.
    """

    address: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Error
    problems: tuple[Problem, ...] = ()


class AdminClient:
    """Asks the gateway whose configuration has `admin`. Raises `CannotAsk` if that cannot even be tried."""

    def __init__(self, admin: Admin, reach: Reach | None = None) -> None:
        reach = reach or Reach()
        try:
            host, port = parse_address(reach.address or admin.address)
        except ValueError as error:
            raise CannotAsk(str(error)) from None
        host = _ANY.get(host, host)
        secure = admin.certificate is not None
        self._where = f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        self._from = _place(admin)
        self._http = httpx.Client(
            base_url=self._where,
            headers={"authorization": f"Bearer {_token(admin)}"},
            verify=_context(reach) if secure else False,
            timeout=_WITHIN,
            trust_env=False,
        )

    def __enter__(self) -> "AdminClient":
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, kind: type[T]) -> T:
        """Raises `NoAnswer`, `NotDone`."""
        return self._decoded(self._asked("GET", path, None, {}, _WITHIN), kind)

    def post(self, path: str, wanted: Any, kind: type[T]) -> T:
        """Raises `NoAnswer`, `NotDone`."""
        return self.send("POST", path, msgspec.json.encode(wanted), kind)

    def send(
        self,
        method: str,
        path: str,
        body: bytes,
        kind: type[T],
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        within: float = _WITHIN,
    ) -> T:
        """Raises `NoAnswer`, `NotDone`."""
        sent = {"content-type": content_type, **(headers or {})}
        return self._decoded(self._asked(method, path, body, sent, within), kind)

    def raw(self, path: str, accept: str) -> bytes:
        """What is there, as it is. Raises `NoAnswer`, `NotDone`."""
        return self._asked("GET", path, None, {"accept": accept}, _WITHIN)

    def _asked(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], within: float) -> bytes:
        try:
            answer = self._http.request(method, path, content=body, headers=headers, timeout=within)
        except httpx.ConnectError as error:
            raise NoAnswer(f"no gateway answers at {self._where}: {_cause(error)}; is it running?") from None
        except httpx.TransportError as error:
            raise NoAnswer(f"the gateway at {self._where} does not answer: {_cause(error)}") from None
        if answer.status_code == 401:
            raise NotDone(f"the gateway at {self._where} refuses the token of {self._from}: it has another one")
        if answer.status_code >= 400:
            said = _said(answer)
            text = said.error.message or f"the gateway at {self._where} answered {answer.status_code}"
            raise NotDone(text, said.problems)
        return answer.content

    def _decoded(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError:
            raise NotDone(f"what answers at {self._where} is no gateway of this version") from None


def _token(admin: Admin) -> str:
    try:
        if admin.token.file is not None:
            return secret_file.load(Path(admin.token.file), "admin token")
        return secret_file.checked(resolve(admin.token).reveal(), "admin.token", "admin token")
    except (SecretUnusable, SecretMissing) as error:
        raise CannotAsk(str(error)) from None


def _place(admin: Admin) -> str:
    return admin.token.file if admin.token.file is not None else "admin.token"


def _context(reach: Reach) -> ssl.SSLContext:
    if reach.certificate is None:
        raise CannotAsk("the admin address asks for a client certificate: name yours with --certificate and --key")
    try:
        context = ssl.create_default_context(cafile=reach.ca)
        context.load_cert_chain(reach.certificate, reach.key, password=_none)
    except ssl.SSLError as error:
        raise CannotAsk(f"the certificate, its key or the CA cannot be used: {error.reason}") from None
    except OSError as error:
        raise CannotAsk(f"the certificate, its key or the CA cannot be read: {error.strerror}") from None
    return context


def _none() -> str:
    """A key with a password is refused, not asked for."""
    raise CannotAsk("the key of the certificate has a password: give one without")


def _cause(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _said(answer: httpx.Response) -> _Refusal:
    try:
        return msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.MsgspecError:
        return _Refusal(_Error())
