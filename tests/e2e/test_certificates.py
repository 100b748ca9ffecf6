"""Certificates that break a rule each, through the real listener: who refuses, with what, and what the record says."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from bench.mock.process import MockProcess
from certs.bad import Plan, Workshop, rsa_key, write
from certs.pki import Pair, Pki
from tests.e2e.gateway import WITHIN, Gateway, gateway, wait_for
from tests.e2e.pki import ask, context, lists, print_of, record_of, serial, status_on, text

Make = Callable[[Workshop, Path], Pair]
SERVER, EMAIL, ANY = (
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)
ODD, ODDER = ObjectIdentifier("1.3.6.1.4.1.99999.1"), ObjectIdentifier("1.3.6.1.4.1.99999.2")
IN_DER = {oid: x509.UnrecognizedExtension(oid, b"\x05\x00") for oid in (ODD, ODDER)}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, keyed_pki: Pki, keyed_mock: MockProcess) -> Iterator[Gateway]:
    whole = text(keyed_pki, keyed_mock, lists(keyed_mock))
    with gateway(tmp_path_factory.mktemp("gateway"), keyed_pki, keyed_mock, whole) as running:
        yield running


@pytest.fixture(scope="module")
def workshop(keyed_pki: Pki) -> Workshop:
    return Workshop(keyed_pki)


def changed(**fields: object) -> Make:
    """A good client's certificate, but for these."""

    def change(plan: Plan) -> None:
        for name, value in fields.items():
            setattr(plan, name, value)

    return lambda shop, folder: shop.make(folder, "bad", change)


def below(*authorities: Callable[[], Plan], **fields: object) -> Make:
    """A good client's certificate under authorities that are not all good."""

    def make(shop: Workshop, folder: Path) -> Pair:
        leaf = Plan()
        for name, value in fields.items():
            setattr(leaf, name, value)
        return shop.under(folder, "bad", *(authority() for authority in authorities), leaf=leaf)

    return make


def authority(name: str = "CN=Other CA,O=Contoso", **fields: object) -> Callable[[], Plan]:
    def plan() -> Plan:
        made = Plan().as_authority(name)
        for field, value in fields.items():
            setattr(made, field, value() if callable(value) else value)
        return made

    return plan


def constrained(**subtrees: str) -> list[tuple[x509.ExtensionType, bool]]:
    names = {kind: [x509.UniformResourceIdentifier(host)] for kind, host in subtrees.items()}
    return [(x509.NameConstraints(names.get("permitted"), names.get("excluded")), True)]


def self_signed(shop: Workshop, folder: Path, name: str = "CN=turbine-7,O=Contoso") -> Pair:
    plan = Plan()
    plan.subject = name
    return write(folder, "bad", plan.key, plan.sign(x509.Name.from_rfc4514_string(name), plan.key))


def of_false_root(shop: Workshop, folder: Path) -> Pair:
    """Everything by the right names, and by keys of one's own."""
    root = Plan().as_authority("CN=Devices Root,O=Contoso")
    middle = Plan().as_authority("CN=Devices CA,O=Contoso")
    name = x509.Name.from_rfc4514_string(root.subject)
    leaf = Plan()
    chain = [leaf.sign(x509.Name.from_rfc4514_string(middle.subject), middle.key), middle.sign(name, root.key)]
    return write(folder, "bad", leaf.key, *chain, root.sign(name, root.key))


def issued_by_client(shop: Workshop, folder: Path) -> Pair:
    """A client that plays authority with its own certificate."""
    client = Plan()
    client.subject = "CN=billing,O=Contoso"
    parent = client.sign(shop.devices.certificate.subject, shop.devices.key)
    leaf = Plan()
    return write(
        folder, "bad", leaf.key, leaf.sign(parent.subject, client.key), parent, shop.devices.certificate
    )  # fmt: skip


def alone(shop: Workshop, folder: Path) -> Pair:
    plan = Plan()
    return write(folder, "bad", plan.key, plan.sign(shop.devices.certificate.subject, shop.devices.key))


def twice(shop: Workshop, folder: Path) -> Pair:
    """RFC 5280 section 4.2: an extension may be there once only."""

    def change(plan: Plan) -> None:
        plan.more = [(extension, False) for extension in IN_DER.values()]

    old, new = bytes.fromhex("06092b06010401868d1f02"), bytes.fromhex("06092b06010401868d1f01")
    return shop.resigned(folder, "bad", change, old, new)


def bad_san(shop: Workshop, folder: Path) -> Pair:
    """A SAN whose content is no GeneralNames."""
    return shop.resigned(
        folder, "bad", lambda plan: None, b"spiffe://contoso/turbine-7", b"spiffe://contoso/turbine\xff7"
    )


WEAK_CURVE = ec.SECP224R1()
DAY = timedelta(days=1)

HANDSHAKE: dict[str, tuple[Make, str]] = {
    # validity, RFC 5280 section 6.1.3 (a)(2)
    "expired": (changed(begins=-9 * DAY, ends=-DAY), "certificate_expired"),
    "expired a moment ago": (changed(ends=-timedelta(seconds=5)), "certificate_expired"),
    "not yet valid": (changed(begins=DAY), "certificate_not_yet_valid"),
    "intermediate expired": (below(authority(begins=-9 * DAY, ends=-DAY)), "certificate_expired"),
    "intermediate not yet valid": (below(authority(begins=DAY)), "certificate_not_yet_valid"),
    # purpose, sections 4.2.1.3 and 4.2.1.12
    "for servers": (changed(purposes=(SERVER,)), "certificate_bad_purpose"),
    "for mail": (changed(purposes=(EMAIL,)), "certificate_bad_purpose"),
    "for anything but by name": (changed(purposes=(ANY,)), "certificate_bad_purpose"),
    "key not for signatures": (changed(usage={"key_encipherment"}), "certificate_bad_purpose"),
    "intermediate for servers": (below(authority(purposes=(SERVER,))), "certificate_bad_purpose"),
    # who may issue, sections 4.2.1.9 and 6.1.4
    "issued by a client": (issued_by_client, "certificate_bad_path"),
    "intermediate is no authority": (below(authority(authority=False)), "certificate_bad_path"),
    "intermediate without constraints": (below(authority(constraints=False, usage=None)), "certificate_bad_path"),
    "intermediate may not sign": (below(authority(usage={"crl_sign"})), "certificate_bad_path"),
    "path too long": (below(authority(path_length=0), authority("CN=Below")), "certificate_bad_path"),
    "path too long by two": (
        below(authority(path_length=1), authority("CN=Below"), authority("CN=Lower")), "certificate_bad_path",
    ),
    # names, section 4.2.1.10
    "name not permitted": (below(authority(more=constrained(permitted="fabrikam"))), "certificate_bad_name"),
    "name excluded": (below(authority(more=constrained(excluded="contoso"))), "certificate_bad_name"),
    # trust
    "self-signed": (self_signed, "certificate_untrusted"),
    "self-signed in the root's name": (
        lambda shop, folder: self_signed(shop, folder, "CN=Devices Root,O=Contoso"), "certificate_untrusted",
    ),
    "of a false root": (of_false_root, "certificate_bad_signature"),
    "without its intermediate": (alone, "certificate_untrusted"),
    # signatures and strength
    "in the authority's name": (lambda shop, folder: shop.by_impostor(folder, "bad"), "certificate_bad_signature"),
    "signature spoiled": (lambda shop, folder: shop.spoiled(folder, "bad"), "certificate_bad_signature"),
    "signed with SHA-1": (lambda shop, folder: shop.with_sha1(folder, "bad"), "certificate_weak"),
    "RSA of 1024 bits": (
        lambda shop, folder: shop.make(folder, "bad", lambda plan: setattr(plan, "key", rsa_key(1024))),
        "certificate_weak",
    ),
    "intermediate of RSA 1024": (below(authority(key=lambda: rsa_key(1024))), "certificate_weak"),
    # what cannot be understood, section 4.2
    "unknown critical extension": (changed(more=[(IN_DER[ODD], True)]), "certificate_malformed"),
}  # fmt: skip

REQUEST: dict[str, tuple[Make, str]] = {
    # policy, on the first request
    "an authority as client": (
        changed(authority=True, usage={"digital_signature", "key_cert_sign"}), "certificate_bad_purpose",
    ),
    "intermediate of EC 224": (
        below(authority(key=lambda: ec.generate_private_key(WEAK_CURVE))), "certificate_weak",
    ),
    "a path of twelve": (below(*(authority(f"CN=CA {n}") for n in range(10))), "certificate_bad_path"),
    "an extension twice": (twice, "certificate_malformed"),
    "SAN that cannot be read": (bad_san, "certificate_malformed"),
    # valid, and nobody's
    "another name": (changed(uris=("spiffe://contoso/turbine-8",)), "unknown_certificate"),
    "a name that begins as a client's": (changed(uris=("spiffe://contoso/turbine-7/x",)), "unknown_certificate"),
    "the name in another case": (changed(uris=("spiffe://Contoso/turbine-7",)), "unknown_certificate"),
    "the name as a host": (changed(uris=(), dns=("turbine-7",)), "unknown_certificate"),
    "the name in the subject alone": (changed(uris=()), "unknown_certificate"),
    # valid, and of an authority that no CRL tells about
    "an authority without CRL": (below(authority()), "certificate_status_unknown"),
}  # fmt: skip


@pytest.mark.parametrize("rule", HANDSHAKE)
def test_refused_in_the_handshake(strict: Gateway, workshop: Workshop, tmp_path: Path, rule: str) -> None:
    make, reason = HANDSHAKE[rule]
    pair = make(workshop, tmp_path)
    outcome = ask(strict, pair)
    assert outcome.status is None
    assert outcome.alert is not None
    assert "ALERT" in outcome.alert or outcome.alert == "RESET"
    record = record_of(strict, pair)
    assert (record["reason"], record["decision"], record["end"]) == (reason, "refused", "refused")
    assert record["credential"]["kind"] == "certificate"
    assert record["source"] == "127.0.0.1"
    assert record["operation"] is None
    assert record["status"] is None


@pytest.mark.parametrize("rule", REQUEST)
def test_refused_on_the_request(strict: Gateway, workshop: Workshop, tmp_path: Path, rule: str) -> None:
    make, reason = REQUEST[rule]
    pair = make(workshop, tmp_path)
    assert ask(strict, pair).status == 401
    record = strict.record(lambda r: print_of(pair) in (r["credential"]["fingerprint"], r["rule"]))
    assert (record["reason"], record["decision"], record["status"]) == (reason, "refused", 401)


def test_a_good_one_passes(strict: Gateway, workshop: Workshop, tmp_path: Path) -> None:
    pair = workshop.make(tmp_path, "good")
    assert ask(strict, pair).status == 200
    assert record_of(strict, pair)["client"] == "first"


def test_a_resumed_session_is_held_to_the_path_it_came_with(
    strict: Gateway, keyed_mock: MockProcess, workshop: Workshop, tmp_path: Path
) -> None:
    """TLS 1.2 resumes by identifier, with a leaf and no chain; a revocation holds for it all the same.

    A worker resumes what it has made itself, so there may have to be some tries until the same one accepts.
    """
    pair = workshop.make(tmp_path, "good")
    client = context(strict, pair, version=ssl.TLSVersion.TLSv1_2)

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", strict.port), timeout=WITHIN)
        return client.wrap_socket(sock, server_hostname="localhost", session=session)

    def resumed(sock: ssl.SSLSocket) -> ssl.SSLSocket | None:
        if sock.session_reused:
            return sock
        sock.close()
        return None

    with connect(None) as first:
        assert status_on(first) == 200
        session = first.session
        with contextlib.suppress(OSError):
            first.unwrap()  # what is cut off is not resumed
    with wait_for(lambda: resumed(connect(session))) as again:
        assert status_on(again) == 200
        keyed_mock.revocation(authority="devices", revoke=[serial(pair)])
        wait_for(lambda: status_on(again) == 401)


def test_no_worker_was_lost(strict: Gateway) -> None:
    assert "ended unasked" not in strict.log
    assert "Traceback" not in strict.log
