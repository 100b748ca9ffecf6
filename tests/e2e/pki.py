"""A gateway whose client certificates can be revoked, and a client that shows it any certificate there is."""

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography import x509

from bench.mock.config import MockConfig
from bench.mock.process import MockProcess
from bench.mock.revocation import AuthorityFiles
from certs.pki import Pair, Pki
from proxy.identity.certificate import thumbprint
from tests.e2e.gateway import WITHIN, Gateway, azure, config_text

LISTING = b"GET /openai/v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


def world(pki: Pki) -> MockConfig:
    """The mock Azure, with the clients' authorities."""
    authorities = (
        AuthorityFiles(name="root", certificate=str(pki.client_root), private_key=str(pki.client_root_key)),
        AuthorityFiles(
            name="devices", certificate=str(pki.client_intermediate), private_key=str(pki.client_intermediate_key)
        ),
    )
    return msgspec.structs.replace(azure(pki), authorities=authorities)


def lists(mock: MockProcess, fault: str = "") -> str:
    """`crls` of both authorities, by address."""
    urls = [f"{mock.revocation_url}/crl/{name}.crl" for name in ("root", "devices")]
    if fault:
        urls[1] += f"?fault={fault}"
    return f'crls = ["{urls[0]}", "{urls[1]}"]\nrevocation_refresh = "300ms"\n'


def text(pki: Pki, mock: MockProcess, settings: str, workers: int = 1) -> str:
    """A configuration with these `settings` of client certificates, and clients for those the tests make."""
    clients = """[[clients]]
name = "ended"
on_revocation = "end"
certificate = { issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/ended"] }
[[clients.grants]]
models = ["*"]
operations = ["*"]
"""
    whole = config_text(pki, mock, clients=clients).replace("workers = 2", f"workers = {workers}")
    return whole.replace('mode = "optional"', 'mode = "optional"\n' + settings)


class Outcome(NamedTuple):
    """What a request with a certificate came to: a status, or the alert that ended the handshake."""

    status: int | None
    alert: str | None


def context(gateway: Gateway, pair: Pair | None, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client that shows whatever it has, be it as weak as it may."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.load_verify_locations(gateway.pki.server_root)
    if version is not None:
        made.maximum_version = version
    if pair is not None:
        made.load_cert_chain(pair.certificate, pair.key)
    return made


def connected(gateway: Gateway, pair: Pair | None) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=WITHIN)
    return context(gateway, pair).wrap_socket(sock, server_hostname="localhost")


def ask(gateway: Gateway, pair: Pair, request: bytes = LISTING) -> Outcome:
    """One request on a connection of its own."""
    received = b""
    try:
        with connected(gateway, pair) as sock:
            sock.sendall(request)
            while part := sock.recv(65536):
                received += part
    except ssl.SSLError as error:
        if not received:
            return Outcome(None, error.reason)
    except OSError:
        if not received:
            return Outcome(None, "RESET")
    return Outcome(int(received[9:12]), None)


def status_on(sock: ssl.SSLSocket) -> int:
    """One request on a connection that stays open."""
    sock.sendall(LISTING.replace(b"connection: close\r\n", b""))
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return int(head[9:12])


def leaf(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pair.certificate.read_bytes())[0]


def serial(pair: Pair) -> str:
    return f"{leaf(pair).serial_number:x}"


def print_of(pair: Pair) -> str:
    """The thumbprint of a leaf, even of one that `cryptography` would not read."""
    block = pair.certificate.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    return thumbprint(ssl.PEM_cert_to_DER_cert(block))


def record_of(gateway: Gateway, pair: Pair) -> dict[str, Any]:
    fingerprint = print_of(pair)
    return gateway.record(lambda record: record["credential"]["fingerprint"] == fingerprint)


def reconfigure(gateway: Gateway, whole: str) -> None:
    """Put another configuration in force, at the same addresses."""
    for table in ("[listen]", "[listen.health]", "[admin]"):
        ours, theirs = _address(gateway.config.read_text(), table), _address(whole, table)
        whole = whole.replace(theirs, ours)
    gateway.config.write_text(whole)
    answer = gateway.api("POST", "/api/reload").json()
    assert answer["ok"], answer


def _address(whole: str, table: str) -> str:
    return whole.partition(table + "\n")[2].partition('address = "')[2].partition('"')[0]


def quietly(sock: ssl.SSLSocket) -> bytes:
    """What comes until the other side ends it, however it does."""
    received = b""
    with contextlib.suppress(OSError):
        while part := sock.recv(65536):
            received += part
    return received


def folder_of(pki: Pki) -> Path:
    return pki.directory
