"""What is in the files that a configuration names, as far as it takes to tell that it changed, and what to show of it.

Certificates and revocation lists are public, and told apart by fingerprint; of everything else it is only known
whether it is the same.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.config.files import Unreadable, read
from proxy.config.problem import line

_MOST = 64 << 20
_CERTIFICATES = 1_000


class Content(NamedTuple):
    """`digest` is never shown. `holds`: its certificates and lists, one line each; empty where it is neither."""

    digest: bytes
    holds: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Content {len(self.holds)} certificates or lists>"


def contents(paths: Iterable[Path]) -> dict[str, Content]:
    """By path. What cannot be read is left out."""
    found = {}
    for path in paths:
        try:
            data = read(path, _MOST)
        except Unreadable:
            continue
        found[str(path)] = Content(hashlib.sha256(data).digest(), _holds(data))
    return found


def _holds(data: bytes) -> tuple[str, ...]:
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            certificates = x509.load_pem_x509_certificates(data)
            return tuple(_certificate(certificate) for certificate in certificates[:_CERTIFICATES])
        if b"-----BEGIN X509 CRL-----" in data:
            return (_list(x509.load_pem_x509_crl(data)),)
        return (_list(x509.load_der_x509_crl(data)),) if data[:1] == b"\x30" else ()
    except (ValueError, TypeError):
        return ()


def _certificate(certificate: x509.Certificate) -> str:
    fingerprint = certificate.fingerprint(SHA256()).hex()[:16]
    ends = certificate.not_valid_after_utc
    return f"sha256:{fingerprint}… ({line(certificate.subject.rfc4514_string(), 100)}, until {ends:%Y-%m-%d})"


def _list(crl: x509.CertificateRevocationList) -> str:
    digest = hashlib.sha256(crl.public_bytes(Encoding.DER)).hexdigest()[:16]
    return (
        f"sha256:{digest}… (list of {line(crl.issuer.rfc4514_string(), 100)}, of {crl.last_update_utc:%Y-%m-%d %H:%M})"
    )
