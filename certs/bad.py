"""Certificates that break one rule each, under the authorities of the development PKI.

What `cryptography` refuses to make, such as an extension that is there twice or a signature with SHA-1, is made by
changing and signing the bytes themselves.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ObjectIdentifier

from certs.authority import Authority, Key
from certs.pki import Pair, Pki

_URI = "spiffe://contoso/turbine-7"
_NAME = "CN=turbine-7,O=Contoso"
_ECDSA = {"sha1": bytes.fromhex("06072a8648ce3d0401"), "sha256": bytes.fromhex("06082a8648ce3d040302")}
_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)


class Plan:
    """A certificate to be made: a good client's until something of it is changed."""

    def __init__(self) -> None:
        self.subject = _NAME
        self.key: Key = ec.generate_private_key(ec.SECP256R1())
        self.begins = timedelta(hours=-1)
        self.ends = timedelta(days=30)
        self.authority = False
        self.path_length: int | None = None
        self.constraints = True
        self.usage: set[str] | None = {"digital_signature"}
        self.purposes: tuple[ObjectIdentifier, ...] | None = _CLIENT
        self.uris: tuple[str, ...] = (_URI,)
        self.dns: tuple[str, ...] = ()
        self.more: list[tuple[x509.ExtensionType, bool]] = []
        self.responder: str | None = None
        self.points: tuple[str, ...] = ()

    def as_authority(self, name: str, path_length: int | None = None) -> "Plan":
        self.subject, self.authority, self.path_length = name, True, path_length
        self.usage, self.purposes, self.uris = {"key_cert_sign", "crl_sign"}, None, ()
        return self

    def sign(self, issuer: x509.Name, key: Key) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(x509.Name.from_rfc4514_string(self.subject))
        builder = builder.issuer_name(issuer).public_key(self.key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + self.begins).not_valid_after(now + self.ends)
        for extension, critical in self._extensions():
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, hashes.SHA256())

    def _extensions(self) -> list[tuple[x509.ExtensionType, bool]]:
        found: list[tuple[x509.ExtensionType, bool]] = []
        if self.constraints:
            found.append((x509.BasicConstraints(self.authority, self.path_length if self.authority else None), True))
        if self.usage is not None:
            found.append((_usage(self.usage), True))
        if self.purposes is not None:
            found.append((x509.ExtendedKeyUsage(self.purposes), False))
        names = [*map(x509.UniformResourceIdentifier, self.uris), *map(x509.DNSName, self.dns)]
        if names:
            found.append((x509.SubjectAlternativeName(names), False))
        if self.responder is not None:
            place = x509.UniformResourceIdentifier(self.responder)
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
            found.append((x509.AuthorityInformationAccess([access]), False))
        if self.points:
            names = [x509.UniformResourceIdentifier(point) for point in self.points]
            found.append((x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)]), False))
        return found + self.more


def _usage(given: set[str]) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: name in given for name in every})


class Workshop:
    """Makes client certificates under the PKI's authorities, whose keys must be there."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.root = Authority.load(pki.client_root, pki.client_root_key)
        self.devices = Authority.load(pki.client_intermediate, pki.client_intermediate_key)

    def make(self, folder: Path, name: str, change: Callable[[Plan], object] | None = None) -> Pair:
        """A client's certificate under the devices' authority, with one thing changed."""
        plan = Plan()
        if change is not None:
            change(plan)
        leaf = plan.sign(self.devices.certificate.subject, self.devices.key)
        return write(folder, name, plan.key, leaf, self.devices.certificate)

    def under(self, folder: Path, name: str, *authorities: Plan, leaf: Plan | None = None) -> Pair:
        """A client's certificate at the end of a path of new authorities below the root."""
        plan = leaf or Plan()
        chain: list[x509.Certificate] = []
        issuer, key = self.root.certificate.subject, self.root.key
        for authority in authorities:
            chain.insert(0, authority.sign(issuer, key))
            issuer, key = chain[0].subject, authority.key
        return write(folder, name, plan.key, plan.sign(issuer, key), *chain)

    def resigned(
        self,
        folder: Path,
        name: str,
        change: Callable[[Plan], object],
        old: bytes,
        new: bytes,
        algorithm: str = "sha256",
    ) -> Pair:
        """A certificate whose signed bytes are changed (as long before as after), and signed again."""
        plan = Plan()
        change(plan)
        made = plan.sign(self.devices.certificate.subject, self.devices.key)
        signed = made.tbs_certificate_bytes
        assert old in signed
        leaf = _sealed(signed.replace(old, new), self.devices.key, algorithm)
        return write(folder, name, plan.key, leaf, self.devices.certificate)

    def with_sha1(self, folder: Path, name: str) -> Pair:
        """Signed with SHA-1."""
        old, new = _ECDSA["sha256"], _ECDSA["sha1"]
        plan = Plan()
        made = plan.sign(self.devices.certificate.subject, self.devices.key).tbs_certificate_bytes
        begin = made.index(b"\x30\x0a" + old)
        content = made[made.index(b"\xa0\x03") : begin] + b"\x30\x09" + new + made[begin + 2 + len(old) :]
        return write(folder, name, plan.key, _sealed(_tlv(0x30, content), self.devices.key, "sha1"),
                     self.devices.certificate)  # fmt: skip

    def spoiled(self, folder: Path, name: str) -> Pair:
        """One bit of the signature turned over."""
        plan = Plan()
        made = plan.sign(self.devices.certificate.subject, self.devices.key).public_bytes(Encoding.DER)
        return write(folder, name, plan.key, made[:-1] + bytes((made[-1] ^ 1,)), self.devices.certificate)

    def by_impostor(self, folder: Path, name: str) -> Pair:
        """Issued in the authority's name, with another's key."""
        plan, key = Plan(), ec.generate_private_key(ec.SECP256R1())
        leaf = plan.sign(self.devices.certificate.subject, key)
        return write(folder, name, plan.key, leaf, self.devices.certificate)


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _sealed(signed: bytes, key: Key, algorithm: str) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    digest = hashes.SHA1() if algorithm == "sha1" else hashes.SHA256()  # noqa: S303 - bad on purpose
    signature = key.sign(signed, ec.ECDSA(digest))
    return _tlv(0x30, signed + _tlv(0x30, _ECDSA[algorithm]) + _tlv(0x03, b"\x00" + signature))


def _tlv(tag: int, content: bytes) -> bytes:
    """One value in DER."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content


def write(folder: Path, name: str, key: Key, *chain: x509.Certificate | bytes) -> Pair:
    """A chain and its key as files."""

    text = ""
    for entry in chain:
        der = entry if isinstance(entry, bytes) else entry.public_bytes(Encoding.DER)
        body = base64.encodebytes(der).decode("ascii")
        text += f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pair.certificate.write_text(text)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair
