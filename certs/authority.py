"""An authority's certificate and key as files, and what it signs: CRLs and OCSP answers. For tests and the mock alone.

Everything can also be made wrong on purpose: that is what `Fault` names.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_UNKNOWN = ObjectIdentifier("1.3.6.1.4.1.99999.7")


class Fault(Enum):
    """What is wrong with a CRL or an answer. Each is for one of the two, or for both."""

    LAPSED = "lapsed"
    NOT_YET = "not_yet"
    BAD_SIGNATURE = "bad_signature"
    WRONG_SIGNER = "wrong_signer"
    # of CRLs
    DELTA = "delta"
    INDIRECT = "indirect"
    SOME_REASONS = "some_reasons"
    CRITICAL = "critical"
    OLDER = "older"
    # of OCSP answers
    UNKNOWN = "unknown"
    OTHER_NONCE = "other_nonce"
    NO_NONCE = "no_nonce"
    OTHER_CERTIFICATE = "other_certificate"
    OTHER_ISSUER = "other_issuer"
    DELEGATE = "delegate"  # this one is right
    DELEGATE_WITHOUT_PURPOSE = "delegate_without_purpose"
    DELEGATE_EXPIRED = "delegate_expired"
    DELEGATE_OF_STRANGER = "delegate_of_stranger"
    TRY_LATER = "try_later"


class Authority:
    """What it has revoked, by serial. `life` is how long its CRLs and answers hold."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.key = key
        self.revoked: set[int] = set()
        self.life = timedelta(hours=1)
        self._stranger = ec.generate_private_key(ec.SECP256R1())

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "Authority":
        """Raises `OSError`, `ValueError`."""
        loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return cls(x509.load_pem_x509_certificate(certificate.read_bytes()), loaded)

    def crl(self, fault: Fault | None = None) -> bytes:
        """The present CRL, in DER."""
        now = datetime.now(UTC)
        begins, ends = now - timedelta(minutes=1), now + self.life
        if fault is Fault.LAPSED:
            begins, ends = now - timedelta(hours=2), now - timedelta(hours=1)
        elif fault is Fault.NOT_YET:
            begins = now + timedelta(minutes=30)
        elif fault is Fault.OLDER:
            begins = now - timedelta(days=1)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(begins).next_update(ends)
        for serial in () if fault is Fault.OLDER else sorted(self.revoked):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        if fault is Fault.DELTA:
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        elif fault is Fault.CRITICAL:
            builder = builder.add_extension(x509.UnrecognizedExtension(_UNKNOWN, b"\x05\x00"), critical=True)
        elif fault in (Fault.INDIRECT, Fault.SOME_REASONS):
            builder = builder.add_extension(_point(indirect=fault is Fault.INDIRECT), critical=True)
        signer = self._stranger if fault is Fault.WRONG_SIGNER else self.key
        data = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return _spoiled(data) if fault is Fault.BAD_SIGNATURE else data

    def issued(self, request: ocsp.OCSPRequest) -> bool:
        """Whether a question is about a certificate of this authority."""
        digest = hashes.Hash(request.hash_algorithm)
        digest.update(self.certificate.subject.public_bytes())
        return digest.finalize() == request.issuer_name_hash

    def answer(self, request: ocsp.OCSPRequest, fault: Fault | None = None) -> bytes:
        """The answer to a question, in DER."""
        if fault is Fault.TRY_LATER:
            refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
            return refusal.public_bytes(serialization.Encoding.DER)
        now = datetime.now(UTC)
        begins, ends = now - timedelta(minutes=1), now + self.life
        if fault is Fault.LAPSED:
            begins, ends = now - timedelta(hours=2), now - timedelta(hours=1)
        elif fault is Fault.NOT_YET:
            begins = now + timedelta(minutes=30)
        revoked = request.serial_number in self.revoked
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        if fault is Fault.UNKNOWN:
            status, revoked = ocsp.OCSPCertStatus.UNKNOWN, False
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=request.issuer_name_hash,
            issuer_key_hash=bytes(20) if fault is Fault.OTHER_ISSUER else request.issuer_key_hash,
            serial_number=request.serial_number + (fault is Fault.OTHER_CERTIFICATE),
            algorithm=request.hash_algorithm,
            cert_status=status,
            this_update=begins,
            next_update=ends,
            revocation_time=now if revoked else None,
            revocation_reason=None,
        )
        for nonce in _nonces(request, fault):
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        certificate, key = self._responder(fault)
        by = ocsp.OCSPResponderEncoding.NAME if fault is Fault.WRONG_SIGNER else ocsp.OCSPResponderEncoding.HASH
        builder = builder.responder_id(by, certificate)
        if fault is not None and fault.name.startswith("DELEGATE"):
            builder = builder.certificates([certificate])
        data = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return _spoiled(data) if fault is Fault.BAD_SIGNATURE else data

    def _responder(self, fault: Fault | None) -> tuple[x509.Certificate, Key]:
        if fault is None or not (fault is Fault.WRONG_SIGNER or fault.name.startswith("DELEGATE")):
            return self.certificate, self.key
        now = datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name.from_rfc4514_string("CN=responder")
        if fault is Fault.WRONG_SIGNER:  # one who uses the authority's name
            name = self.certificate.subject
        purpose = ExtendedKeyUsageOID.OCSP_SIGNING
        if fault is Fault.DELEGATE_WITHOUT_PURPOSE:
            purpose = ExtendedKeyUsageOID.CLIENT_AUTH
        ends = now - timedelta(days=1) if fault is Fault.DELEGATE_EXPIRED else now + timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(ends)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self._stranger if fault is Fault.DELEGATE_OF_STRANGER else self.key, hashes.SHA256())
        )
        return certificate, key


def _point(*, indirect: bool) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None if indirect else frozenset((x509.ReasonFlags.key_compromise,)),
        indirect_crl=indirect,
        only_contains_attribute_certs=False,
    )


def _nonces(request: ocsp.OCSPRequest, fault: Fault | None) -> Iterable[bytes]:
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce) and fault is not Fault.NO_NONCE:
            yield bytes(32) if fault is Fault.OTHER_NONCE else extension.value.nonce


def _spoiled(data: bytes) -> bytes:
    """The same with one bit of its signature, which ends it, turned over."""
    return data[:-1] + bytes((data[-1] ^ 1,))
