"""A verified path, judged by what OpenSSL leaves to policy: strength, the leaf's own kind, and whether it can be read.

OpenSSL has checked signatures, validity, basic constraints, path length, name constraints, key usage and purpose in
the handshake. Here: every key and every signature that is relied on is strong enough (the root's own signature is not
relied on), the leaf is no authority, and no certificate has anything twice.
"""

from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from proxy.identity.certificate import CertificateFacts, read_certificate, thumbprint
from proxy.refusal import Reason

CHAIN_AT_MOST = 10
_RSA_BITS = 2048
_EC_BITS = 256
_WEAK_HASHES = (hashes.MD5, hashes.SHA1, hashes.SHA224)

Fault = tuple[Reason, str]


def read_chain(chain: tuple[bytes, ...]) -> CertificateFacts:
    """The facts of the leaf of a verified path in DER, leaf first; `fault` says what is wrong with it."""
    try:
        facts = read_certificate(chain[0])
        path = [x509.load_der_x509_certificate(der) for der in chain[:CHAIN_AT_MOST]]
        fault = chain_fault(path)
        expires = min(certificate.not_valid_after_utc.timestamp() for certificate in path)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return unreadable(chain[0], "a certificate of the path cannot be read")
    if len(chain) > CHAIN_AT_MOST:
        fault = Reason.CERTIFICATE_BAD_PATH, f"a path of more than {CHAIN_AT_MOST} certificates"
    return msgspec.structs.replace(facts, chain=chain, root=thumbprint(chain[-1]), expires=expires, fault=fault)


def unreadable(leaf: bytes, rule: str, reason: Reason = Reason.CERTIFICATE_MALFORMED) -> CertificateFacts:
    """What is left of a certificate that never counts: its thumbprint."""
    return CertificateFacts(thumbprint(leaf), "", "", fault=(reason, rule))


def chain_fault(path: Sequence[x509.Certificate]) -> Fault | None:
    """What keeps a verified path from counting. Raises what `cryptography` does for what it cannot read."""
    leaf = path[0]
    if _is_authority(leaf):
        return Reason.CERTIFICATE_BAD_PURPOSE, "the leaf is an authority"
    for certificate in path:
        _ = certificate.extensions  # each once only, RFC 5280 section 4.2
        weakness = _weak_key(certificate)
        if weakness is not None:
            return Reason.CERTIFICATE_WEAK, weakness
    for certificate in path[:-1]:
        algorithm = certificate.signature_hash_algorithm
        if isinstance(algorithm, _WEAK_HASHES):
            return Reason.CERTIFICATE_WEAK, f"signed with {algorithm.name}"
    return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _weak_key(certificate: x509.Certificate) -> str | None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits" if key.key_size < _RSA_BITS else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"an EC key of {key.key_size} bits" if key.key_size < _EC_BITS else None
    return None if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) else "a key of another kind"
