"""Certificate revocation lists (RFC 5280 sections 5 and 6.3), read, and asked about one certificate. Pure.

Whole CRLs of the certificate's own issuer only: a delta, an indirect one, one for some reasons only or with a critical
extension that is not understood is refused, since what it leaves out would be taken for good.
"""

import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID

CRL_AT_MOST = 16 << 20
"""Bytes of one source."""

_CRLS_AT_MOST = 64
_PEM = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.S)
_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.AuthorityKeyIdentifier, x509.CRLNumber)
_WEAK_HASHES = (hashes.MD5, hashes.SHA1, hashes.SHA224)


class CrlUnusable(Exception):
    """What is no CRL to rely on; the message says why, without quoting it."""


class Member:
    """A certificate of a path, with what revocation needs of it. Raises `ValueError` for what cannot be read."""

    def __init__(self, der: bytes) -> None:
        self.certificate = x509.load_der_x509_certificate(der)
        self.key = self.certificate.fingerprint(hashes.SHA256())
        self.serial = self.certificate.serial_number
        self.authority = False
        self.points: frozenset[str] = frozenset()
        self.responders: tuple[str, ...] = ()
        try:
            for extension in self.certificate.extensions:
                self._note(extension.value)
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise ValueError("extensions") from error

    def _note(self, value: x509.ExtensionType) -> None:
        if isinstance(value, x509.BasicConstraints):
            self.authority = value.ca
        elif isinstance(value, x509.CRLDistributionPoints):
            self.points = frozenset(uri for point in value for uri in _uris(point.full_name))
        elif isinstance(value, x509.AuthorityInformationAccess):
            self.responders = tuple(
                entry.access_location.value
                for entry in value
                if entry.access_method == AuthorityInformationAccessOID.OCSP
                and isinstance(entry.access_location, x509.UniformResourceIdentifier)
            )


def _uris(names: list[x509.GeneralName] | None) -> Iterator[str]:
    return (name.value for name in names or () if isinstance(name, x509.UniformResourceIdentifier))


class Crl:
    """One CRL. Times are Unix times. Raises `CrlUnusable`."""

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        if crl.next_update_utc is None:
            raise CrlUnusable("does not say until when it holds")
        if isinstance(crl.signature_hash_algorithm, _WEAK_HASHES):
            raise CrlUnusable("has a weak signature")
        self._crl = crl
        self._signers: dict[bytes, bool] = {}
        self.fingerprint = crl.fingerprint(hashes.SHA256())
        self.issuer = crl.issuer
        self.this_update = crl.last_update_utc.timestamp()
        self.next_update = crl.next_update_utc.timestamp()
        self._users_only = self._authorities_only = False
        self._names: frozenset[str] = frozenset()
        for extension in crl.extensions:
            self._judge(extension)
        self.serials = frozenset(_serials(crl))

    def __repr__(self) -> str:
        return f"<Crl {self.issuer.rfc4514_string()}, {len(self.serials)} revoked>"

    def _judge(self, extension: x509.Extension[x509.ExtensionType]) -> None:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise CrlUnusable("is a delta CRL")
        if extension.critical and not isinstance(value, _UNDERSTOOD):
            raise CrlUnusable("has a critical extension that is not understood")
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl:
                raise CrlUnusable("is an indirect CRL")
            if value.only_some_reasons or value.only_contains_attribute_certs or value.relative_name is not None:
                raise CrlUnusable("is for a part of the certificates that cannot be told")
            self._users_only = value.only_contains_user_certs
            self._authorities_only = value.only_contains_ca_certs
            self._names = frozenset(_uris(value.full_name))
            if value.full_name and not self._names:
                raise CrlUnusable("is for a part of the certificates that cannot be told")

    def covers(self, member: Member) -> bool:
        """Whether a certificate of its issuer is in its scope (RFC 5280 section 6.3.3 step b)."""
        if (self._users_only and member.authority) or (self._authorities_only and not member.authority):
            return False
        return not self._names or not self._names.isdisjoint(member.points)

    def signed_by(self, issuer: x509.Certificate) -> bool:
        """Whether that authority issued it: by name, by key, and by right (the cRLSign bit). Remembered, bounded."""
        if issuer.subject != self.issuer:
            return False
        key = issuer.fingerprint(hashes.SHA256())
        if key not in self._signers and len(self._signers) < _CRLS_AT_MOST:
            self._signers[key] = self._verify(issuer)
        return self._signers.get(key, False)

    def _verify(self, issuer: x509.Certificate) -> bool:
        try:
            usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
            if not usage.crl_sign:
                return False
        except x509.ExtensionNotFound:
            pass
        except (ValueError, x509.DuplicateExtension):
            return False
        try:
            return self._crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
            return False


def _serials(crl: x509.CertificateRevocationList) -> Iterator[int]:
    for entry in crl:
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CertificateIssuer):
                raise CrlUnusable("is an indirect CRL")
            if extension.critical and not isinstance(extension.value, x509.CRLReason | x509.InvalidityDate):
                raise CrlUnusable("has an entry with a critical extension that is not understood")
        yield entry.serial_number


def read_crls(data: bytes) -> list[Crl]:
    """The CRLs of a file or an answer: PEM, of which there may be several, or DER. Raises `CrlUnusable`."""
    blocks = _PEM.findall(data)
    if len(blocks) > _CRLS_AT_MOST:
        raise CrlUnusable(f"holds more than {_CRLS_AT_MOST} CRLs")
    try:
        if not blocks:
            return [Crl(x509.load_der_x509_crl(data))]
        return [Crl(x509.load_pem_x509_crl(block)) for block in blocks]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise CrlUnusable("holds no CRL that can be read") from None


def issuer_key(name: x509.Name) -> bytes:
    """A name as CRLs are indexed by."""
    return name.public_bytes()
