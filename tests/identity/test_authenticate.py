"""One identity: every pair of credentials, each valid, invalid, absent or another client's."""

import hashlib

import pytest

from proxy.config.structs import CertificateMatch, Client
from proxy.identity.authenticate import Directory, Presented, split_bearer
from proxy.identity.certificate import CertificateFacts
from proxy.identity.known import Known
from proxy.refusal import Reason, Refused

KEY_A, KEY_B = b"key-of-a", b"key-of-b"


def hashed(key: bytes) -> str:
    return "sha256:" + hashlib.sha256(key).hexdigest()


def facts(name: str) -> CertificateFacts:
    return CertificateFacts(hashed(name.encode()), "CN=CA", f"CN={name}", frozenset((f"spiffe://x/{name}",)))


CLIENTS = (
    Client(
        name="a",
        tenant="t",
        key_hashes=(hashed(KEY_A).upper().replace("SHA256", "sha256"),),
        certificate=CertificateMatch(san_uri=("spiffe://x/a",), issuer="CN=CA"),
    ),
    Client(name="b", key_hashes=(hashed(KEY_B),), certificate=CertificateMatch(thumbprints=(hashed(b"b"),))),
)
CERT_A, CERT_B, STRANGER = facts("a"), facts("b"), facts("stranger")

TABLE: list[tuple[CertificateFacts | None, tuple[bytes, ...], str | Reason]] = [
    (None, (), Reason.NO_CREDENTIAL),
    (None, (KEY_A,), "a key"),
    (None, (KEY_B,), "b key"),
    (None, (b"wrong",), Reason.UNKNOWN_KEY),
    (None, (b"",), Reason.UNKNOWN_KEY),
    (None, (KEY_A, KEY_A), "a key"),
    (None, (KEY_A, KEY_B), Reason.CREDENTIALS_DISAGREE),
    (None, (KEY_A, b"wrong"), Reason.UNKNOWN_KEY),
    (None, (b"wrong", KEY_A), Reason.UNKNOWN_KEY),
    (CERT_A, (), "a certificate"),
    (CERT_B, (), "b certificate"),
    (STRANGER, (), Reason.UNKNOWN_CERTIFICATE),
    (CERT_A, (KEY_A,), "a key"),
    (CERT_A, (KEY_B,), Reason.CREDENTIALS_DISAGREE),
    (CERT_A, (b"wrong",), Reason.UNKNOWN_KEY),
    (STRANGER, (KEY_A,), "a key"),
    (STRANGER, (b"wrong",), Reason.UNKNOWN_KEY),
    (CERT_B, (KEY_A,), Reason.CREDENTIALS_DISAGREE),
]


@pytest.mark.parametrize(("certificate", "keys", "expected"), TABLE)
def test_one_identity(certificate: CertificateFacts | None, keys: tuple[bytes, ...], expected: str | Reason) -> None:
    directory = Directory(CLIENTS)
    presented = Presented(certificate, keys)
    for _ in range(2):
        if isinstance(expected, Reason):
            with pytest.raises(Refused) as caught:
                directory.authenticate(presented, Known(), 0.0)
            assert caught.value.reason is expected
            assert expected.terms.status == 401
        else:
            principal = directory.authenticate(presented, Known(), 0.0)
            assert f"{principal.client} {principal.kind}" == expected


def test_what_is_recorded_is_no_secret() -> None:
    principal = Directory(CLIENTS).authenticate(Presented(None, (KEY_A,)), Known(), 0.0)
    assert principal.fingerprint == hashed(KEY_A)[:19]
    assert principal.tenant == "t"
    with pytest.raises(Refused) as caught:
        Directory(CLIENTS).authenticate(Presented(None, (b"secret-key",)), Known(), 0.0)
    assert "secret-key" not in f"{caught.value.rule}{caught.value.message}{caught.value!r}"


def test_a_certificate_that_could_be_two_clients_is_neither() -> None:
    both = (
        Client(name="x", certificate=CertificateMatch(issuer="CN=CA")),
        Client(name="y", certificate=CertificateMatch(subject="CN=a")),
    )
    with pytest.raises(Refused) as caught:
        Directory(both).authenticate(Presented(CERT_A), Known(), 0.0)
    assert caught.value.reason is Reason.UNKNOWN_CERTIFICATE


def test_a_token_of_no_issuer_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        Directory(CLIENTS).authenticate(Presented(CERT_A, (KEY_A,), (b"eyJ.x.y",)), Known(), 0.0)
    assert caught.value.reason is Reason.INVALID_TOKEN


def test_the_memory_of_certificates_is_bounded() -> None:
    directory = Directory(CLIENTS, remembered=8)
    for number in range(100):
        with pytest.raises(Refused):
            directory.authenticate(Presented(facts(f"s{number}")), Known(), 0.0)
    assert len(directory._certificates) <= 8


@pytest.mark.parametrize(
    ("value", "key", "token"),
    [
        (b"Bearer abc", b"abc", None),
        (b"bearer  abc ", b"abc", None),
        (b"BEARER eyJhbGciOiJub25lIn0.e30.", None, b"eyJhbGciOiJub25lIn0.e30."),
    ],
)
def test_a_key_is_told_from_a_token_by_its_prefix(value: bytes, key: bytes | None, token: bytes | None) -> None:
    assert split_bearer(value) == (key, token)


@pytest.mark.parametrize("value", [b"", b"Bearer", b"Bearer ", b"Basic abc", b"abc", b"Bearer a b", b"Negotiate x"])
def test_other_schemes_are_refused(value: bytes) -> None:
    with pytest.raises(Refused) as caught:
        split_bearer(value)
    assert caught.value.reason is Reason.UNSUPPORTED_CREDENTIAL
