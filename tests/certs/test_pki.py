"""The development PKI: each certificate is good or bad in exactly the way its name says."""

import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.__main__ import main
from certs.pki import Algorithm, Pair, Pki, build
from proxy.identity.certificate import read_certificate

HOSTS = ("localhost", "NAME.localhost", "127.0.0.1", "::1")
REFUSED = {
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "wrong-eku": "unsuitable certificate purpose|unsupported certificate purpose",
    "untrusted": "self-signed certificate|unable to get local issuer",
    "self-signed": "self-signed certificate",
    "no-intermediate": "unable to get local issuer certificate",
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def leaf(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pair.certificate.read_bytes())[0]


def contexts(pki: Pki, server: Pair, client: Pair) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.key)
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_verify_locations(pki.client_root)
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling.load_verify_locations(pki.server_root)
    calling.load_cert_chain(client.certificate, client.key)
    return serving, calling


def shake(serving: ssl.SSLContext, calling: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Both sides of a handshake, in memory; the server's. Raises what either side raises."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = calling.wrap_bio(down, up, server_hostname=host)
    server = serving.wrap_bio(up, down, server_side=True)
    for _ in range(10):
        waiting = 0
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            return server
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("server", ["server", "mock"])
def test_servers_are_trusted_under_every_local_name(pki: Pki, server: str, host: str) -> None:
    shake(*contexts(pki, pki.pairs[server], pki.pairs["turbine-7"]), host.replace("NAME", server))


def test_servers_are_not_trusted_under_another_name(pki: Pki) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(*contexts(pki, pki.pairs["server"], pki.pairs["turbine-7"]), "example.com")


@pytest.mark.parametrize("client", ["turbine-7", "billing", "revoked"])
def test_good_clients_pass_the_handshake(pki: Pki, client: str) -> None:
    server = shake(*contexts(pki, pki.pairs["server"], pki.pairs[client]), "localhost")
    assert server.getpeercert(binary_form=True) is not None


@pytest.mark.parametrize(("client", "reason"), REFUSED.items())
def test_bad_clients_fail_the_handshake_for_their_own_reason(pki: Pki, client: str, reason: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake(*contexts(pki, pki.pairs["server"], pki.pairs[client]), "localhost")


def test_every_certificate_is_accounted_for(pki: Pki) -> None:
    good = {"server", "mock", "turbine-7", "billing", "revoked"}
    assert set(pki.pairs) == good | set(REFUSED)


def test_clients_are_named_as_the_configuration_matches_them(pki: Pki) -> None:
    facts = {name: read_certificate(ssl.PEM_cert_to_DER_cert(pem)) for name, pem in first_pems(pki).items()}
    assert facts["turbine-7"].issuer == "CN=Devices CA,O=Contoso"
    assert facts["turbine-7"].san_uri == {"spiffe://contoso/turbine-7"}
    assert facts["billing"].san_dns == {"billing.contoso.example"}


def first_pems(pki: Pki) -> dict[str, str]:
    end = "-----END CERTIFICATE-----\n"
    return {
        name: pair.certificate.read_text().partition(end)[0] + end
        for name, pair in pki.pairs.items()
        if name in ("turbine-7", "billing")
    }


def test_the_crl_revokes_one_and_is_the_issuers(pki: Pki) -> None:
    crl = x509.load_pem_x509_crl(pki.client_crl.read_bytes())
    issuer = x509.load_pem_x509_certificate(pki.client_intermediate.read_bytes())
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    assert crl.get_revoked_certificate_by_serial_number(leaf(pki.pairs["revoked"]).serial_number) is not None
    assert crl.get_revoked_certificate_by_serial_number(leaf(pki.pairs["turbine-7"]).serial_number) is None


def test_keys_are_their_owners_alone_and_certificates_short_lived(pki: Pki) -> None:
    for pair in pki.pairs.values():
        assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
        assert (leaf(pair).not_valid_after_utc - leaf(pair).not_valid_before_utc).days <= 90


@pytest.mark.parametrize(("algorithm", "kind"), [("ec", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)])
def test_the_algorithm_is_a_choice(tmp_path: Path, algorithm: Algorithm, kind: type) -> None:
    made = build(tmp_path, algorithm)
    assert isinstance(load_pem_private_key(made.pairs["server"].key.read_bytes(), None), kind)
    before = made.server_root.read_bytes()
    assert build(tmp_path, algorithm).server_root.read_bytes() == before
    build(tmp_path, "ec" if algorithm == "rsa" else "rsa")
    assert made.server_root.read_bytes() != before


@pytest.mark.parametrize("broken", ["server-root.pem", "turbine-7.key", "client.crl"])
def test_what_is_incomplete_is_made_anew_as_a_whole(tmp_path: Path, broken: str) -> None:
    made = build(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / broken).unlink()
    build(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    shake(*contexts(made, made.pairs["server"], made.pairs["turbine-7"]), "localhost")


def test_what_is_no_certificate_is_made_anew(tmp_path: Path) -> None:
    made = build(tmp_path)
    made.server_root.write_text("nothing of the kind")
    build(tmp_path)
    assert x509.load_pem_x509_certificate(made.server_root.read_bytes()).not_valid_after_utc > datetime.now(UTC)


def test_the_command_makes_it_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "new" / "pki")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "pki")
    assert (tmp_path / "new" / "pki" / "server.pem").exists()


def test_the_command_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--out", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err
