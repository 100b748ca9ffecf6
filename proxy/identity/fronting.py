"""Client certificates that a trusted proxy in front has seen and hands on in a header. Pure; time is an argument.

A header counts only from a network that is configured, on a connection whose own client certificate was verified; from
anywhere else it is as if it were not there, and none is ever sent on. The proxy's word is not taken for the path: it is
verified here again, by `cryptography`'s implementation of RFC 5280, and then held to all that a path of one's own
handshake is held to. (That implementation is a little stricter than OpenSSL: it follows the Web PKI's profile.)
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from proxy.identity.certificate import CertificateFacts
from proxy.identity.chain import CHAIN_AT_MOST, read_chain
from proxy.identity.remembered import Remembered
from proxy.refusal import Reason, Refused

Headers = Iterable[tuple[bytes, bytes]]

_CHAIN = b"client-cert-chain"
_PAIR = re.compile(rb'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)').match
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def _client_cert(values: list[bytes], chains: list[bytes]) -> list[bytes]:
    """RFC 9440: one byte sequence (RFC 8941 section 3.3.5), and a list of them for the rest of the path."""
    (leaf,) = values
    rest = [item.strip() for item in b",".join(chains).split(b",")] if chains else []
    return [_byte_sequence(item) for item in (leaf.strip(), *rest)]


def _byte_sequence(item: bytes) -> bytes:
    if len(item) < 2 or item[:1] != b":" or item[-1:] != b":":
        raise ValueError
    return base64.b64decode(item[1:-1], validate=True)


def _arr_client_cert(values: list[bytes], _: list[bytes]) -> list[bytes]:
    """Azure App Service's: the certificate alone, as DER in base64."""
    (leaf,) = values
    return [base64.b64decode(leaf.strip(), validate=True)]


def _forwarded_client_cert(values: list[bytes], _: list[bytes]) -> list[bytes]:
    """Envoy's, of one hop: `Cert` and `Chain` as PEM in percent-encoding."""
    (element,) = values
    fields = _element(element)
    (leaf,) = x509.load_pem_x509_certificates(fields.get(b"cert", b""))
    path = x509.load_pem_x509_certificates(fields[b"chain"]) if b"chain" in fields else []
    return [certificate.public_bytes(Encoding.DER) for certificate in (leaf, *path)]


def _element(element: bytes) -> dict[bytes, bytes]:
    """The certificates in one element of the header. Raises `ValueError`, also for what two hops have added to."""
    found: dict[bytes, bytes] = {}
    pos = 0
    while True:
        pair = _PAIR(element, pos)
        if pair is None:
            raise ValueError
        name = pair[1].lower()
        if name in (b"cert", b"chain"):
            if name in found or pair[2][:1] != b'"':
                raise ValueError
            found[name] = unquote_to_bytes(pair[2][1:-1])
        pos = pair.end()
        if pos == len(element):
            return found
        if element[pos : pos + 1] != b";":
            raise ValueError
        pos += 1


_READ: dict[str, Callable[[list[bytes], list[bytes]], list[bytes]]] = {
    "client-cert": _client_cert,
    "x-arr-clientcert": _arr_client_cert,
    "x-forwarded-client-cert": _forwarded_client_cert,
}
HEADERS = frozenset((*_READ, _CHAIN.decode()))
"""Every header of this kind, whichever is honoured."""


class Fronting:
    """The proxies that are trusted, and the one `header` they use. `roots` and `intermediates` are PEM."""

    def __init__(self, networks: Iterable[str], header: str, roots: bytes, intermediates: bytes) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._header = header.encode("ascii")
        self._read = _READ[header]
        self._store = Store(x509.load_pem_x509_certificates(roots))
        self._intermediates = x509.load_pem_x509_certificates(intermediates) if intermediates else []
        self._sources: Remembered[str, bool] = Remembered(1024)
        self._facts: Remembered[bytes, CertificateFacts] = Remembered(4096)

    def trusts(self, source: str) -> bool:
        """Whether a connection from this address is one of the proxies'."""
        if source in self._sources:
            return bool(self._sources.get(source))
        trusted = _within(source, self._networks)
        self._sources.put(source, trusted)
        return trusted

    def certificate(self, headers: Headers, now: float) -> CertificateFacts | None:
        """The certificate handed on, its path verified at `now` (Unix time); None without one. Raises `Refused`."""
        values, chains = [], []
        for name, value in headers:
            if name == self._header:
                values.append(value)
            elif name == _CHAIN:
                chains.append(value)
        if not values:
            return None
        if len(values) > 1:
            raise Refused(Reason.CERTIFICATE_MALFORMED, f"{self._header.decode()} sent twice")
        key = sha256(b"\0".join((*values, *chains))).digest()
        facts = self._facts.get(key)
        if facts is None:
            facts = self._verified(values, chains if self._header == b"client-cert" else [], now)
            self._facts.put(key, facts)
        return facts

    def _verified(self, values: list[bytes], chains: list[bytes], now: float) -> CertificateFacts:
        try:
            ders = self._read(values, chains)
            if len(ders) > CHAIN_AT_MOST:
                raise Refused(Reason.CERTIFICATE_BAD_PATH, f"a path of more than {CHAIN_AT_MOST} certificates")
            leaf, *others = [x509.load_der_x509_certificate(der) for der in ders]
        except (*_UNREADABLE, binascii.Error):
            raise Refused(Reason.CERTIFICATE_MALFORMED, f"{self._header.decode()} holds none") from None
        verifier = PolicyBuilder().store(self._store).time(datetime.fromtimestamp(now, UTC)).build_client_verifier()
        try:
            path = verifier.verify(leaf, [*others, *self._intermediates]).chain
        except (VerificationError, *_UNREADABLE) as error:
            rule = f"forwarded, path: {str(error).partition(' (encountered')[0]}"
            raise Refused(Reason.CERTIFICATE_UNTRUSTED, rule[:256]) from None
        return read_chain(tuple(certificate.public_bytes(Encoding.DER) for certificate in path))


def _within(source: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
