"""Certificates and keys on file: is each what its place in the configuration needs it to be?

Reads the files that are named, and nothing else. The moment to judge by comes in as `now`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from proxy.config.files import Unreadable, read
from proxy.config.problem import Problem

_MOST = 4 << 20
_RSA_BITS = 2048
"""The least that OpenSSL serves at its security level 2, the default of the systems this runs on."""


class Found(NamedTuple):
    """One certificate of a file, as far as it is judged. `public` is its key in DER."""

    authority: bool
    self_issued: bool
    public: bytes
    small: bool
    begins: datetime
    ends: datetime


def trust(key: str, path: str, now: datetime) -> Iterator[Problem]:
    """What a backend or an endpoint is verified by, such as a system's bundle: some of many may have run out."""
    found, problems = _read(key, path)
    yield from problems
    untimely = [problem for certificate in found for problem in _untimely(key, path, certificate, now)]
    if len(untimely) == len(found):
        yield from untimely


def roots(key: str, path: str, now: datetime) -> Iterator[Problem]:
    """A file of anchors: only what signs itself may end a path."""
    found, problems = _read(key, path)
    yield from problems
    for certificate in found:
        yield from _untimely(key, path, certificate, now)
    if any(not certificate.authority for certificate in found):
        yield Problem(
            key, f"{path} holds a certificate that is no authority", "list the roots clients are issued under"
        )
    elif any(not certificate.self_issued for certificate in found):
        yield Problem(
            key, f"{path} holds one that is not self-signed", "only roots end a path: list it under intermediates"
        )


def intermediates(key: str, path: str, now: datetime) -> Iterator[Problem]:
    """A file of what helps to build paths: never an anchor."""
    found, problems = _read(key, path)
    yield from problems
    for certificate in found:
        yield from _untimely(key, path, certificate, now)
    if any(certificate.self_issued for certificate in found):
        yield Problem(key, f"{path} holds a self-signed certificate", "an anchor belongs under roots")
    if any(not certificate.authority for certificate in found):
        yield Problem(key, f"{path} holds a certificate that is no authority", "list intermediate authorities only")


def pair(at: str, certificate: str, private_key: str | None, now: datetime) -> Iterator[Problem]:
    """A certificate to serve, leaf first, and the key to it."""
    key = f"{at}.certificate"
    found, problems = _read(key, certificate)
    yield from problems
    for member in found:
        yield from _untimely(key, certificate, member, now)
    if found and found[0].small:
        yield Problem(key, f"{certificate} has an RSA key of under {_RSA_BITS} bits", "issue it for a larger key")
    if private_key is None:
        yield Problem(f"{at}.private_key", "missing", "name the PEM file with the certificate's key")
        return
    try:
        public = _public(load_pem_private_key(read(private_key, _MOST), password=None).public_key())
    except Unreadable as error:
        yield Problem(f"{at}.private_key", f"{private_key} {error}", "name a readable file")
    except TypeError:
        yield Problem(f"{at}.private_key", f"{private_key} needs a passphrase", "give a key without one")
    except (ValueError, UnsupportedAlgorithm):
        yield Problem(f"{at}.private_key", f"{private_key} holds no private key", "give PEM")
    else:
        if found and public != found[0].public:
            yield Problem(
                f"{at}.private_key",
                f"{private_key} is not the key of the first certificate in {certificate}",
                "give the leaf first, and its own key",
            )


def _read(key: str, path: str) -> tuple[list[Found], list[Problem]]:
    try:
        content = read(path, _MOST)
        found = [_judge(certificate) for certificate in x509.load_pem_x509_certificates(content)]
    except Unreadable as error:
        return [], [Problem(key, f"{path} {error}", "name a readable file")]
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return [], [Problem(key, f"{path} holds no certificate that can be read", "give PEM")]
    if not content.isascii():
        # ssl takes trust from memory as text, and its text is ASCII.
        return found, [Problem(key, f"{path} has characters beyond ASCII around its PEM", "take them out")]
    return found, []


def _untimely(key: str, path: str, certificate: Found, now: datetime) -> Iterator[Problem]:
    if certificate.ends < now:
        yield Problem(key, f"{path} expired on {certificate.ends:%Y-%m-%d}", "renew it")
    elif certificate.begins > now:
        yield Problem(key, f"{path} is not valid before {certificate.begins:%Y-%m-%d %H:%M} UTC", "give one that is")


def _judge(certificate: x509.Certificate) -> Found:
    """Raises `ValueError`, `UnsupportedAlgorithm` or `DuplicateExtension` for what cannot be read."""
    public = certificate.public_key()
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    return Found(
        authority,
        certificate.issuer == certificate.subject,
        _public(public),
        isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
