"""A client certificate, reduced to what a client can be matched by and what it must be to count at all.

The handshake has verified the path already; in here a certificate is data. Distinguished names are compared attribute
by attribute in the order of RFC 4514.
"""

import hashlib

from cryptography import x509

from proxy.config.structs import CertificateMatch
from proxy.frozen import Frozen
from proxy.refusal import Reason


class CertificateFacts(Frozen, frozen=True):
    """`thumbprint` is `sha256:` and hex over the DER form; names are in RFC 4514 form, the serial in hex.

    `chain` is the verified path in DER, leaf first; `root` the thumbprint of its end. `expires` is the Unix time at
    which the first certificate of the path does. `fault` says why the certificate never counts, and by which rule.
    """

    thumbprint: str
    issuer: str
    subject: str
    san_uri: frozenset[str] = frozenset()
    san_dns: frozenset[str] = frozenset()
    san_email: frozenset[str] = frozenset()
    serial: str = ""
    chain: tuple[bytes, ...] = ()
    root: str = ""
    expires: float = float("inf")
    fault: tuple[Reason, str] | None = None


def thumbprint(der: bytes) -> str:
    return "sha256:" + hashlib.sha256(der).hexdigest()


def read_certificate(der: bytes) -> CertificateFacts:
    """The facts of a certificate alone. Raises `ValueError` or `DuplicateExtension` for what is not one."""
    certificate = x509.load_der_x509_certificate(der)
    uris: list[str] = []
    names: list[str] = []
    emails: list[str] = []
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        uris = san.get_values_for_type(x509.UniformResourceIdentifier)
        names = [name.lower() for name in san.get_values_for_type(x509.DNSName)]
        emails = san.get_values_for_type(x509.RFC822Name)
    return CertificateFacts(
        thumbprint(der),
        certificate.issuer.rfc4514_string(),
        certificate.subject.rfc4514_string(),
        frozenset(uris),
        frozenset(names),
        frozenset(emails),
        f"{certificate.serial_number:x}",
    )


def canonical_name(text: str) -> str:
    """A distinguished name as `read_certificate` spells it. Raises `ValueError` if it is not in RFC 4514 form."""
    return x509.Name.from_rfc4514_string(text).rfc4514_string()


def canonical_serial(text: str) -> str:
    """A serial number as `read_certificate` spells it. Raises `ValueError` if it is not hex, colons allowed."""
    digits = text.replace(":", "")
    if not digits.isalnum():
        raise ValueError("a serial is hex digits, with colons or without")
    return f"{int(digits, 16):x}"


def matches(facts: CertificateFacts, match: CertificateMatch) -> bool:
    """All given fields must match; of a list, any one. A match without fields matches nothing."""
    checks = []
    if match.thumbprints:
        checks.append(
            facts.thumbprint
            in {entry.replace(":", "").lower().replace("sha256", "sha256:", 1) for entry in match.thumbprints}
        )
    if match.issuer is not None:
        checks.append(facts.issuer == canonical_name(match.issuer))
    if match.subject is not None:
        checks.append(facts.subject == canonical_name(match.subject))
    if match.serials:
        checks.append(facts.serial in {canonical_serial(entry) for entry in match.serials})
    if match.san_uri:
        checks.append(not facts.san_uri.isdisjoint(match.san_uri))
    if match.san_dns:
        checks.append(not facts.san_dns.isdisjoint(name.lower() for name in match.san_dns))
    if match.san_email:
        checks.append(not facts.san_email.isdisjoint(match.san_email))
    return bool(checks) and all(checks)
