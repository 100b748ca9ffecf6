"""Certificates and keys on file: is each what its place in the configuration needs it to be?

Reads the files that are named, and nothing else. The moment to judge by comes in as `now`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
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
    if private_key is not None:
        yield from shown(key, certificate, f"{at}.private_key", private_key, now)
        return
    yield from _leaf_first(key, certificate, now)[1]
    yield Problem(f"{at}.private_key", "missing", "name the PEM file with the certificate's key")


def shown(key: str, certificate: str, key_of_key: str, private_key: str | None, now: datetime) -> Iterator[Problem]:
    """A certificate that is shown, leaf first, and the key to it: in a file of its own, or None: in the same."""
    found, problems = _leaf_first(key, certificate, now)
    yield from problems
    if private_key is None and not found:
        return  # one file, and it has been said what is wrong with it
    place, path = (key, certificate) if private_key is None else (key_of_key, private_key)
    opened = _open(place, path, None)
    if isinstance(opened, Problem):
        yield opened
    else:
        yield from _other(place, path, certificate, opened, found)


def proof(key: str, path: str, password: str | None, now: datetime) -> Iterator[Problem]:
    """A certificate that an application proves itself with to Entra: with its key, RSA, in one file."""
    found, problems = _leaf_first(key, path, now)
    yield from problems
    if not found:
        return
    opened = _open(key, path, password, "name it under certificate_password")
    if isinstance(opened, Problem):
        yield opened
    elif not isinstance(opened, rsa.RSAPrivateKey):
        yield Problem(key, f"{path} has a key that is not RSA", "Entra takes assertions that are signed by RSA alone")
    else:
        yield from _other(key, path, path, opened, found)


def _leaf_first(key: str, path: str, now: datetime) -> tuple[list[Found], list[Problem]]:
    found, problems = _read(key, path)
    for member in found:
        problems += _untimely(key, path, member, now)
    if found and found[0].small:
        problems.append(Problem(key, f"{path} has an RSA key of under {_RSA_BITS} bits", "issue it for a larger key"))
    return found, problems


def _open(
    key: str, path: str, password: str | None, remedy: str = "give a key without one"
) -> PrivateKeyTypes | Problem:
    """A private key on file, or what is wrong with it. `remedy`: what to do about one that needs a passphrase."""
    try:
        return load_pem_private_key(read(path, _MOST), None if password is None else password.encode())
    except Unreadable as error:
        return Problem(key, f"{path} {error}", "name a readable file")
    except TypeError:
        if password is None:
            return Problem(key, f"{path} needs a passphrase", remedy)
        return Problem(key, f"{path} needs no passphrase", "leave certificate_password out")
    except (ValueError, UnsupportedAlgorithm):
        if password is None:
            return Problem(key, f"{path} holds no private key", "give PEM")
        return Problem(key, f"{path} holds no private key that its passphrase opens", "give PEM, and its passphrase")


def _other(key: str, path: str, certificate: str, opened: PrivateKeyTypes, found: list[Found]) -> Iterator[Problem]:
    if found and _public(opened.public_key()) != found[0].public:
        yield Problem(
            key,
            f"{path} is not the key of the first certificate in {certificate}",
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
