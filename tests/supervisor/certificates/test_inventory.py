"""Which certificates are followed: all that the configuration names, each once, and those that clients use."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.pki import Pki, build
from proxy.config.structs import Admin, Backend, ClientCertificates, Config, KeyVaultRef, Listen
from proxy.identity.crl import read_crls
from proxy.messages import ServerCertificate
from proxy.supervisor.certificates.inventory import ShownCertificates, configured, listed

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = 86_400.0


def made(subject: str, days: float) -> bytes:
    """A certificate that ends so many days after `NOW`, in DER."""
    name = x509.Name.from_rfc4514_string(subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(KEY, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def backend(name: str, ca: Path) -> Backend:
    return Backend(name=name, url="https://azure.example", region="here", credential="gateway", ca=str(ca))


def test_all_that_the_configuration_names(pki: Pki, tmp_path: Path) -> None:
    server, mock = pki.pairs["server"], pki.pairs["mock"]
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(pki.client_root.read_bytes() * 20)
    config = Config(
        listen=Listen(
            certificate=str(server.certificate),
            private_key=str(server.key),
            client_certificates=ClientCertificates(
                mode="optional", roots=(str(pki.client_root),), intermediates=(str(pki.client_intermediate),)
            ),
        ),
        admin=Admin(certificate=str(mock.certificate), private_key=str(mock.key), roots=(str(pki.client_root),)),
        backends=(backend("swc", pki.server_root), backend("fra", bundle), backend("lost", tmp_path / "none")),
    )
    found = configured(config, {})
    assert [(each.name, each.use, each.subject) for each in found] == [
        ("listen.certificate", "server", "CN=server"),
        ("listen.certificate #2", "server", "CN=Development Server CA,O=Penstock"),
        ("listen.client_certificates.roots[0]", "client root", "CN=Devices Root,O=Contoso"),
        ("listen.client_certificates.intermediates[0]", "intermediate", "CN=Devices CA,O=Contoso"),
        ("admin.certificate", "admin", "CN=mock"),
        ("backends.swc.ca", "trust", "CN=Development Server Root,O=Penstock"),
    ]
    assert all(each.fingerprint.startswith("sha256:") and each.client is None for each in found)


def test_what_was_fetched_is_there_too(pki: Pki) -> None:
    ref = KeyVaultRef(key_vault="https://vault.example", name="gateway")
    held = {ref: ServerCertificate(pki.pairs["mock"].certificate.read_bytes(), b"")}
    config = Config(listen=Listen(certificate=ref))
    assert configured(config, held)[0].subject == "CN=mock"
    assert configured(config, {}) == []


def test_the_crls_that_are_held(pki: Pki) -> None:
    crls = read_crls(pki.client_crl.read_bytes())
    found = listed({"client.crl": crls, "http://pki.example/none.crl": []})
    assert [(each.name, each.use, each.subject) for each in found] == [
        ("CRL client.crl", "CRL", "CN=Devices CA,O=Contoso"),
        ("CRL client.crl", "CRL", "CN=Devices Root,O=Contoso"),
    ]
    assert all(each.begins < each.ends for each in found)
    assert found[0].fingerprint != found[1].fingerprint


def test_a_client_with_two_certificates() -> None:
    now = NOW.timestamp()
    shown = ShownCertificates()
    shown.note("first", made("CN=device", 5), now)
    shown.note("first", made("CN=other device", 6), now)
    shown.note("first", made("CN=device", 90), now + 3_600)

    def ends(at: float) -> list[float]:
        return sorted(round((each.ends - now) / DAY) for each in shown.tracked(at))

    assert ends(now + 3_600) == [5, 6, 90], "the old one may still be in use somewhere"
    shown.note("first", made("CN=third device", 7), now + 2 * DAY)
    assert ends(now + 2 * DAY) == [5, 6, 7, 90]


def test_a_certificate_that_was_replaced_is_not_followed_any_more() -> None:
    now = NOW.timestamp()
    old, new, other = made("CN=device", 5), made("CN=device", 90), made("CN=other", 6)
    shown = ShownCertificates()
    for der in (old, new, other):
        shown.note("first", der, now)
    shown.note("first", new, now + 1.5 * DAY)
    assert {each.ends for each in shown.tracked(now + 1.5 * DAY)} == {now + 90 * DAY, now + 6 * DAY}
    shown.note("first", old, now + 1.6 * DAY)
    assert len(shown.tracked(now + 1.6 * DAY)) == 3, "seen again: in use after all"


def test_what_ended_long_ago_and_whose_client_is_gone_is_forgotten() -> None:
    now = NOW.timestamp()
    shown = ShownCertificates()
    shown.note("first", made("CN=device", 1), now)
    shown.note("second", made("CN=another", 50), now)
    assert len(shown.tracked(now + 1.5 * DAY)) == 2
    assert len(shown.tracked(now + 2.5 * DAY)) == 1
    shown.keep(["first"])
    assert shown.tracked(now) == []


def test_of_too_many_those_that_end_first_are_kept() -> None:
    now = NOW.timestamp()
    shown = ShownCertificates(most=3)
    for days in (50, 10, 40, 20, 60, 30):
        shown.note("first", made(f"CN={days}", days), now)
    assert len(shown) == 3
    assert {each.subject for each in shown.tracked(now)} == {"CN=10", "CN=20", "CN=30"}
    with pytest.raises(ValueError):
        shown.note("first", b"no certificate", now)
