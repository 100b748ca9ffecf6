"""Certificates that a proxy hands on: in each of three spellings, from whom, and every way to get it wrong."""

import base64
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.pki import Pki, build
from proxy.identity.fronting import Fronting
from proxy.refusal import Reason, Refused

NETWORKS = ("10.1.0.0/16", "192.0.2.7", "2001:db8::/32")
SPELLINGS = ("client-cert", "x-arr-clientcert", "x-forwarded-client-cert")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def fronting(pki: Pki, header: str, *, knows_intermediate: bool = True) -> Fronting:
    intermediates = pki.client_intermediate.read_bytes() if knows_intermediate else b""
    return Fronting(NETWORKS, header, pki.client_root.read_bytes(), intermediates)


def path(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())


def sequence(certificate: x509.Certificate) -> bytes:
    return b":%b:" % base64.b64encode(certificate.public_bytes(Encoding.DER))


def pem(certificates: list[x509.Certificate]) -> bytes:
    return quote(b"".join(c.public_bytes(Encoding.PEM) for c in certificates), safe="").encode()


def spelled(header: str, file: Path) -> list[tuple[bytes, bytes]]:
    leaf, *rest = path(file)
    match header:
        case "client-cert":
            headers = [(b"client-cert", sequence(leaf))]
            return headers + ([(b"client-cert-chain", b", ".join(map(sequence, rest)))] if rest else [])
        case "x-arr-clientcert":
            return [(b"x-arr-clientcert", base64.b64encode(leaf.public_bytes(Encoding.DER)))]
        case _:
            value = b'By=spiffe://mesh/front;Hash=00ff;Cert="%b";Chain="%b"' % (pem([leaf]), pem([leaf, *rest]))
            return [(b"x-forwarded-client-cert", value)]


@pytest.mark.parametrize("header", SPELLINGS)
def test_each_spelling(pki: Pki, header: str) -> None:
    file = pki.pairs["turbine-7"].certificate
    facts = fronting(pki, header).certificate([(b"accept", b"*/*"), *spelled(header, file)], time.time())
    assert facts is not None
    assert facts.san_uri == {"spiffe://contoso/turbine-7"}
    assert facts.fault is None
    assert len(facts.chain) == 3, "to the root, as a handshake's path is"


@pytest.mark.parametrize("header", ["client-cert", "x-forwarded-client-cert"])
def test_the_path_may_come_with_it(pki: Pki, header: str) -> None:
    file = pki.pairs["turbine-7"].certificate
    facts = fronting(pki, header, knows_intermediate=False).certificate(spelled(header, file), time.time())
    assert facts is not None
    assert len(facts.chain) == 3


def test_without_one_there_is_none(pki: Pki) -> None:
    front = fronting(pki, "client-cert")
    assert front.certificate([(b"accept", b"*/*")], time.time()) is None
    others = spelled("x-arr-clientcert", pki.pairs["turbine-7"].certificate)
    assert front.certificate(others, time.time()) is None, "another spelling than the one that is honoured"


@pytest.mark.parametrize(
    ("source", "trusted"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", False),
        ("not an address", False),
    ],
)
def test_who_is_trusted(pki: Pki, source: str, trusted: bool) -> None:
    front = fronting(pki, "client-cert")
    assert [front.trusts(source) for _ in range(2)] == [trusted, trusted]


@pytest.mark.parametrize("name", ["untrusted", "self-signed", "expired", "not-yet-valid", "wrong-eku"])
def test_a_path_that_does_not_hold(pki: Pki, name: str) -> None:
    with pytest.raises(Refused) as refused:
        fronting(pki, "client-cert").certificate(spelled("client-cert", pki.pairs[name].certificate), time.time())
    assert refused.value.reason is Reason.CERTIFICATE_UNTRUSTED
    assert len(refused.value.rule or "") <= 256


def garbage(pki: Pki) -> dict[str, tuple[str, list[tuple[bytes, bytes]]]]:
    leaf, *rest = path(pki.pairs["turbine-7"].certificate)
    good = sequence(leaf)
    return {
        "empty": ("client-cert", [(b"client-cert", b"")]),
        "no colons": ("client-cert", [(b"client-cert", good[1:-1])]),
        "one colon": ("client-cert", [(b"client-cert", b":")]),
        "no base64": ("client-cert", [(b"client-cert", b":!!!!:")]),
        "no DER": ("client-cert", [(b"client-cert", b":AAAA:")]),
        "parameters": ("client-cert", [(b"client-cert", good + b";a=1")]),
        "twice": ("client-cert", [(b"client-cert", good)] * 2),
        "a list": ("client-cert", [(b"client-cert", good + b", " + good)]),
        "a chain of nothing": ("client-cert", [(b"client-cert", good), (b"client-cert-chain", b"")]),
        "a chain too long": ("client-cert", [(b"client-cert", good), (b"client-cert-chain", b", ".join([good] * 10))]),
        "DER in colons": ("x-arr-clientcert", [(b"x-arr-clientcert", good)]),
        "two hops": (
            "x-forwarded-client-cert",
            [(b"x-forwarded-client-cert", b'Cert="%b",Cert="%b"' % (pem([leaf]), pem([leaf])))],
        ),
        "a hash alone": ("x-forwarded-client-cert", [(b"x-forwarded-client-cert", b"Hash=00ff")]),
        "two leaves": ("x-forwarded-client-cert", [(b"x-forwarded-client-cert", b'Cert="%b"' % pem([leaf, *rest]))]),
        "no quotes": ("x-forwarded-client-cert", [(b"x-forwarded-client-cert", b"Cert=%b" % pem([leaf]))]),
    }


@pytest.mark.parametrize("what", [
    "empty", "no colons", "one colon", "no base64", "no DER", "parameters", "twice", "a list", "a chain of nothing",
    "a chain too long", "DER in colons", "two hops", "a hash alone", "two leaves", "no quotes",
])  # fmt: skip
def test_what_is_no_certificate(pki: Pki, what: str) -> None:
    header, headers = garbage(pki)[what]
    with pytest.raises(Refused) as refused:
        fronting(pki, header).certificate(headers, time.time())
    assert refused.value.reason in (Reason.CERTIFICATE_MALFORMED, Reason.CERTIFICATE_BAD_PATH)


def test_it_is_read_once(pki: Pki) -> None:
    front = fronting(pki, "client-cert")
    headers = spelled("client-cert", pki.pairs["turbine-7"].certificate)
    assert front.certificate(headers, time.time()) is front.certificate(headers, time.time())
