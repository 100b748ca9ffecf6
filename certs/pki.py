"""The development PKI: a root for servers, one for clients, good certificates, and every kind of bad one tests need.

Nothing of it is for production, and nothing of it is committed: it is made when it is needed, and again when less than
a week of it is left. The authorities' keys are not written, so what is made is all that is ever signed, unless they are
asked for: tests and the mock sign CRLs, OCSP answers and bad certificates with those of the clients' authorities.
"""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

_LIFE = timedelta(days=90)
_RENEW_BEFORE = timedelta(days=7)
Algorithm = Literal["ec", "rsa"]
"""P-256, or RSA of 2048 bits."""

_Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_NAMES = (
    *("server", "mock", "turbine-7", "billing", "expired", "not-yet-valid", "wrong-eku", "untrusted"),
    *("self-signed", "no-intermediate", "revoked"),
)


class Pair(msgspec.Struct, frozen=True):
    """A certificate with its chain, and its key; both PEM files."""

    certificate: Path
    key: Path


class Pki(msgspec.Struct, frozen=True):
    """Where everything is. `pairs` by name: `server`, `mock`, `turbine-7`, `expired`, …"""

    directory: Path
    pairs: dict[str, Pair]

    @property
    def server_root(self) -> Path:
        return self.directory / "server-root.pem"

    @property
    def client_root(self) -> Path:
        return self.directory / "client-root.pem"

    @property
    def client_intermediate(self) -> Path:
        return self.directory / "client-intermediate.pem"

    @property
    def client_crl(self) -> Path:
        """Of the intermediate, then of the root."""
        return self.directory / "client.crl"

    @property
    def client_root_key(self) -> Path:
        """There only if it was asked for, as is the next."""
        return self.directory / "client-root.key"

    @property
    def client_intermediate_key(self) -> Path:
        return self.directory / "client-intermediate.key"


class _Authority:
    """A certificate authority that signs what it is asked to."""

    def __init__(self, name: str, algorithm: Algorithm, parent: "_Authority | None" = None) -> None:
        self.algorithm = algorithm
        self.key = _new_key(algorithm)
        self.name = x509.Name.from_rfc4514_string(name)
        signer = parent or self
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None if parent is None else 0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
            .sign(signer.key, hashes.SHA256())
        )

    def issue(
        self,
        name: str,
        san: list[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        *,
        start: timedelta = timedelta(hours=-1),
        life: timedelta = _LIFE,
    ) -> tuple[x509.Certificate, _Key]:
        """A leaf for one purpose, and its key."""
        key = _new_key(self.algorithm)
        begin = datetime.now(UTC) + start
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name.from_rfc4514_string(name))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(san), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate, key


def _new_key(algorithm: Algorithm) -> _Key:
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def build(directory: Path, algorithm: Algorithm = "ec", *, authorities: bool = False) -> Pki:
    """Make the PKI in `directory`, or use the one that is there while more than a week of it is left.

    `authorities`: write the keys of the clients' authorities, too. Raises `OSError` where it cannot be written.
    """
    pki = Pki(directory, {name: Pair(directory / f"{name}.pem", directory / f"{name}.key") for name in _NAMES})
    keyed = pki.client_root_key.exists() and pki.client_intermediate_key.exists()
    if not _usable(pki, algorithm) or (authorities and not keyed):
        directory.mkdir(parents=True, exist_ok=True)
        # Removed first and written last: while it is there, all the rest is, and of one making.
        pki.server_root.unlink(missing_ok=True)
        _make_clients(pki, algorithm, authorities=authorities)
        _make_servers(pki, algorithm)
    return pki


def _usable(pki: Pki, algorithm: Algorithm) -> bool:
    files = [file for pair in pki.pairs.values() for file in (pair.certificate, pair.key)]
    files += [pki.server_root, pki.client_root, pki.client_intermediate, pki.client_crl]
    if not all(file.exists() for file in files):
        return False
    try:
        root = x509.load_pem_x509_certificate(pki.server_root.read_bytes())
    except ValueError:
        return False
    same = isinstance(root.public_key(), rsa.RSAPublicKey) == (algorithm == "rsa")
    return same and root.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE


def _make_servers(pki: Pki, algorithm: Algorithm) -> None:
    root = _Authority("CN=Development Server Root,O=Penstock", algorithm)
    intermediate = _Authority("CN=Development Server CA,O=Penstock", algorithm, root)
    for name in ("server", "mock"):
        # OpenSSL takes no wildcard right under a top-level name, hence the name of its own; others do take it.
        names = ("localhost", f"{name}.localhost", "*.localhost")
        addresses = ("127.0.0.1", "::1")
        san = [
            *(x509.DNSName(entry) for entry in names),
            *(x509.IPAddress(ipaddress.ip_address(entry)) for entry in addresses),
        ]
        leaf, key = intermediate.issue(f"CN={name}", san, ExtendedKeyUsageOID.SERVER_AUTH)
        _write_pair(pki.pairs[name], key, leaf, intermediate.certificate)
    _write(pki.server_root, root.certificate)


def _make_clients(pki: Pki, algorithm: Algorithm, *, authorities: bool) -> None:
    root = _Authority("CN=Devices Root,O=Contoso", algorithm)
    devices = _Authority("CN=Devices CA,O=Contoso", algorithm, root)
    stranger = _Authority("CN=Stranger CA,O=Elsewhere", algorithm)
    _write(pki.client_root, root.certificate)
    _write(pki.client_intermediate, devices.certificate)
    for path, authority in ((pki.client_root_key, root), (pki.client_intermediate_key, devices)):
        path.unlink(missing_ok=True)
        if authorities:
            _write_key(path, authority.key)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH

    def uri(name: str) -> list[x509.GeneralName]:
        return [x509.UniformResourceIdentifier(f"spiffe://contoso/{name}")]

    made = {
        "turbine-7": devices.issue("CN=turbine-7,O=Contoso", uri("turbine-7"), purpose),
        "billing": devices.issue("CN=billing,O=Contoso", [x509.DNSName("billing.contoso.example")], purpose),
        "expired": devices.issue(
            "CN=expired", uri("expired"), purpose, start=timedelta(days=-30), life=timedelta(days=10)
        ),
        "not-yet-valid": devices.issue("CN=not-yet-valid", uri("not-yet-valid"), purpose, start=timedelta(days=10)),
        "wrong-eku": devices.issue("CN=wrong-eku", uri("wrong-eku"), ExtendedKeyUsageOID.SERVER_AUTH),
        "revoked": devices.issue("CN=revoked", uri("revoked"), purpose),
        "no-intermediate": devices.issue("CN=turbine-7,O=Contoso", uri("turbine-7"), purpose),
    }
    for name, (leaf, key) in made.items():
        chain = [leaf] if name == "no-intermediate" else [leaf, devices.certificate]
        _write_pair(pki.pairs[name], key, *chain)
    leaf, key = stranger.issue("CN=turbine-7,O=Contoso", uri("turbine-7"), purpose)
    _write_pair(pki.pairs["untrusted"], key, leaf, stranger.certificate)
    alone = _Authority("CN=turbine-7,O=Contoso", algorithm)
    _write_pair(pki.pairs["self-signed"], alone.key, alone.certificate)
    pki.client_crl.write_bytes(_crl(devices, made["revoked"][0]) + _crl(root))


def _crl(authority: _Authority, *revoked: x509.Certificate) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.name)
    builder = builder.last_update(now - timedelta(hours=1)).next_update(now + _LIFE)
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _write(path: Path, *certificates: x509.Certificate) -> None:
    path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))


def _write_pair(pair: Pair, key: _Key, *chain: x509.Certificate) -> None:
    _write(pair.certificate, *chain)
    _write_key(pair.key, key)


def _write_key(path: Path, key: _Key) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
