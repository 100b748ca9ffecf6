"""The Online Certificate Status Protocol (RFC 6960): a request about one certificate, and its answer judged. Pure.

An answer counts if it is for this certificate, signed by its issuer or by one whom that issuer has named for it
(id-kp-OCSPSigning, section 4.2.2.2), current, and not an older one played again: a nonce, where the answer has one,
must be the request's. Responders that prepare their answers ahead send none, and are believed for as long as they say.
"""

from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.identity.crl import Member

ANSWER_AT_MOST = 64 << 10
"""Bytes of an answer."""

_AHEAD = 60.0  # a responder's clock may be ahead so much
_WITHOUT_NEXT_UPDATE = 60.0  # "newer information is available all the time"
_CERTIFICATES_AT_MOST = 8
_ANSWERS_AT_MOST = 64
_WEAK_HASHES = (hashes.MD5, hashes.SHA1, hashes.SHA224)


class OcspUnusable(Exception):
    """An answer that says nothing to rely on; the message says why."""


class Answer(NamedTuple):
    """What a responder said of a certificate, and until when it holds (Unix time)."""

    status: Literal["good", "revoked", "unknown"]
    until: float


def request(member: Member, issuer: Member, nonce: bytes) -> bytes:
    """The request about a certificate, in DER. SHA-1 names the issuer: what every responder knows (RFC 5019)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        member.certificate, issuer.certificate, hashes.SHA1()  # noqa: S303 - names a key; nothing rests on it
    )  # fmt: skip
    return builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)


def judge(data: bytes, member: Member, issuer: Member, nonce: bytes, now: float) -> Answer:
    """What an answer says of a certificate at `now` (Unix time). Raises `OcspUnusable`."""
    try:
        return _judge(data, member, issuer, nonce, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise OcspUnusable("the answer cannot be read") from None


def _judge(data: bytes, member: Member, issuer: Member, nonce: bytes, now: float) -> Answer:
    response = ocsp.load_der_ocsp_response(data)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspUnusable(f"the responder answered {response.response_status.name.lower()}")
    _check_signature(response, issuer, now)
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            if extension.value.nonce != nonce:
                raise OcspUnusable("the answer is to another request")
        elif extension.critical:
            raise OcspUnusable("the answer has a critical extension that is not understood")
    single = _about(response, member, issuer)
    begins = single.this_update_utc.timestamp()
    ends = single.next_update_utc.timestamp() if single.next_update_utc is not None else begins + _WITHOUT_NEXT_UPDATE
    if begins > now + _AHEAD:
        raise OcspUnusable("the answer is not valid yet")
    if ends <= now:
        raise OcspUnusable("the answer has lapsed")
    match single.certificate_status:
        case ocsp.OCSPCertStatus.GOOD:
            return Answer("good", ends)
        case ocsp.OCSPCertStatus.REVOKED:
            return Answer("revoked", ends)
        case _:
            return Answer("unknown", ends)


def _about(response: ocsp.OCSPResponse, member: Member, issuer: Member) -> ocsp.OCSPSingleResponse:
    """The part of an answer that is about the certificate: by its serial, and by its issuer's name and key."""
    for number, single in enumerate(response.responses):
        if number >= _ANSWERS_AT_MOST:
            break
        if single.serial_number != member.serial:
            continue
        name = _digest(single.hash_algorithm, issuer.certificate.subject.public_bytes())
        key = _digest(single.hash_algorithm, _key_bits(issuer.certificate))
        if (single.issuer_name_hash, single.issuer_key_hash) == (name, key):
            return single
    raise OcspUnusable("the answer is about another certificate")


def _check_signature(response: ocsp.OCSPResponse, issuer: Member, now: float) -> None:
    """Signed by the issuer itself, or by a certificate that it has issued for the purpose."""
    if isinstance(response.signature_hash_algorithm, _WEAK_HASHES):
        raise OcspUnusable("the answer has a weak signature")
    if _is_responder(response, issuer.certificate):
        signer = issuer.certificate
    else:
        candidates = [c for c in response.certificates[:_CERTIFICATES_AT_MOST] if _is_responder(response, c)]
        if not candidates:
            raise OcspUnusable("the answer is signed by a stranger")
        signer = candidates[0]
        _check_delegate(signer, issuer.certificate, now)
    if not _verifies(response, signer.public_key()):
        raise OcspUnusable("the answer's signature is not valid")


def _is_responder(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == certificate.subject
    return response.responder_key_hash == _digest(hashes.SHA1(), _key_bits(certificate))  # noqa: S303 - a key's name


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, now: float) -> None:
    try:
        delegate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise OcspUnusable("the responder's certificate is not the issuer's") from None
    if isinstance(delegate.signature_hash_algorithm, _WEAK_HASHES):
        raise OcspUnusable("the responder's certificate has a weak signature")
    if not delegate.not_valid_before_utc.timestamp() <= now < delegate.not_valid_after_utc.timestamp():
        raise OcspUnusable("the responder's certificate is not valid now")
    try:
        purposes = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise OcspUnusable("the responder's certificate is not for that purpose") from None
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise OcspUnusable("the responder's certificate is not for that purpose")


def _verifies(response: ocsp.OCSPResponse, key: object) -> bool:
    algorithm, signature, signed = response.signature_hash_algorithm, response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        elif algorithm is None:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _key_bits(certificate: x509.Certificate) -> bytes:
    """What `issuerKeyHash` is of: the bits of the public key, without algorithm (RFC 6960 section 4.1.1)."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    raise ValueError("a key of another kind")


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
