"""The endpoints of a public key infrastructure, over plain HTTP as real ones: CRLs and an OCSP responder (RFC 6960).

`GET /crl/NAME.crl` gives the CRL of an authority of the configuration, `POST /ocsp` answers for all of them. Each can
be made to fail, by control or, for one request, by `?fault=`: with a fault of `certs.authority`, or as any server may.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.mock.connection import Connection
from bench.mock.engine import Engine
from bench.mock.received import Log
from bench.mock.request import Request
from certs.authority import Authority, Fault
from proxy.config.structs import Table

_HUGE = 1 << 20  # an answer
_HUGE_LIST = 17 << 20
_SERVED = frozenset(("down", "error", "nonsense", "empty", "huge", "redirect"))


class AuthorityFiles(Table, frozen=True, kw_only=True):
    """An authority that the mock signs for: PEM files of its certificate and key."""

    name: str
    certificate: str
    private_key: str


class RevocationChange(msgspec.Struct, forbid_unknown_fields=True):
    """`revoke` and `restore`: serials in hex, of `authority`. `crl` and `ocsp`: what is wrong from now on, or "ok".

    `delay`: seconds until answers of either kind; `life`: seconds for which CRLs and answers hold.
    """

    authority: str | None = None
    revoke: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    crl: str | None = None
    ocsp: str | None = None
    delay: float | None = None
    life: float | None = None


class RevocationServer:
    """Both endpoints. Raises `OSError`, `ValueError` for files of no use."""

    def __init__(self, engine: Engine, log: Log, authorities: tuple[AuthorityFiles, ...]) -> None:
        self._engine = engine
        self._log = log
        self._authorities: Mapping[str, Authority] = {
            files.name: Authority.load(Path(files.certificate), Path(files.private_key)) for files in authorities
        }
        self._wrong: dict[str, str] = {"crl": "ok", "ocsp": "ok"}
        self._delay = 0.0

    def change(self, change: RevocationChange) -> None:
        """Raises `ValueError` for a name that is none."""
        for name, wrong in (("crl", change.crl), ("ocsp", change.ocsp)):
            if wrong is not None:
                if wrong != "ok" and wrong not in _SERVED:
                    Fault(wrong)
                self._wrong[name] = wrong
        if change.delay is not None:
            self._delay = change.delay
        for name, authority in self._authorities.items():
            if change.life is not None:
                authority.life = type(authority.life)(seconds=change.life)
            if change.authority in (None, name):
                authority.revoked |= {int(serial, 16) for serial in change.revoke}
                authority.revoked -= {int(serial, 16) for serial in change.restore}

    def handle(self, connection: Connection, request: Request) -> None:
        received = self._log.add("revocation", request)
        connection.on_over = lambda gone: received.end("client_gone" if gone else "complete")
        url = urlsplit(request.target.decode("latin-1"))
        path, asked = url.path, url.query.partition("fault=")[2]
        kind = "ocsp" if path.startswith("/ocsp") else "crl"
        respond: Callable[[], None] = partial(self._respond, connection, path, request.body, asked or self._wrong[kind])
        if self._delay:
            self._engine.at(self._engine.now + self._delay, respond)
        else:
            respond()

    def _respond(self, connection: Connection, path: str, body: bytes, wrong: str) -> None:
        match wrong:
            case "down":
                connection.reset()
            case "error":
                _send(connection, 500, b"out of order")
            case "nonsense":
                _send(connection, 200, b"<html>It works!</html>")
            case "empty":
                _send(connection, 200, b"")
            case "huge":
                _send(connection, 200, b"\x30" * (_HUGE if path.startswith("/ocsp") else _HUGE_LIST))
            case "redirect":
                _send(connection, 302, b"", b"location: http://169.254.169.254/metadata\r\n")
            case _:
                status, data = self._made(path, body, None if wrong == "ok" else Fault(wrong))
                _send(connection, status, data)

    def _made(self, path: str, body: bytes, fault: Fault | None) -> tuple[int, bytes]:
        if not path.startswith("/ocsp"):
            authority = self._authorities.get(path.rpartition("/")[2].removesuffix(".crl"))
            return (404, b"") if authority is None else (200, authority.crl(fault))
        try:
            request = ocsp.load_der_ocsp_request(body)
        except ValueError:
            return 400, b""
        for authority in self._authorities.values():
            if authority.issued(request):
                return 200, authority.answer(request, fault)
        refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        return 200, refusal.public_bytes(Encoding.DER)


def _send(connection: Connection, status: int, data: bytes, headers: bytes = b"") -> None:
    connection.send(
        b"HTTP/1.1 %d %b\r\ncontent-type: application/octet-stream\r\n%bcontent-length: %d\r\n\r\n%b"
        % (status, b"OK" if status == 200 else b"Other", headers, len(data), data)
    )
    connection.finish()
