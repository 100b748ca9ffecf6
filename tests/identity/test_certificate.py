"""Which client a certificate is: what is read of it, and every field of a match."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from proxy.config.structs import CertificateMatch
from proxy.identity.certificate import CertificateFacts, canonical_name, matches, read_certificate, thumbprint

KEY = ec.generate_private_key(ec.SECP256R1())
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def name(**attributes: str) -> x509.Name:
    """In the order given, as a certificate has them: from the country down."""
    return x509.Name([x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in attributes.items()])


CA = name(COUNTRY_NAME="SE", ORGANIZATION_NAME="Contoso, Ltd.", COMMON_NAME="Devices CA")
LEAF = name(ORGANIZATION_NAME="Contoso", COMMON_NAME="turbine-7")


def made(*alternatives: x509.GeneralName, subject: x509.Name = LEAF, issuer: x509.Name = CA) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(WHEN)
        .not_valid_after(WHEN + timedelta(days=1))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


DER = made(
    x509.UniformResourceIdentifier("spiffe://contoso/turbine-7"),
    x509.UniformResourceIdentifier("urn:x"),
    x509.DNSName("Turbine-7.Example"),
    x509.RFC822Name("turbine-7@contoso.example"),
)
FACTS = read_certificate(DER)
HEX = hashlib.sha256(DER).hexdigest()


def test_what_is_read() -> None:
    assert FACTS.thumbprint == thumbprint(DER) == f"sha256:{HEX}"
    assert FACTS.issuer == r"CN=Devices CA,O=Contoso\, Ltd.,C=SE"
    assert FACTS.subject == "CN=turbine-7,O=Contoso"
    assert FACTS.san_uri == {"spiffe://contoso/turbine-7", "urn:x"}
    assert FACTS.san_dns == {"turbine-7.example"}
    assert FACTS.san_email == {"turbine-7@contoso.example"}


def test_without_alternative_names_there_are_none() -> None:
    facts = read_certificate(made())
    assert (facts.san_uri, facts.san_dns, facts.san_email) == (frozenset(), frozenset(), frozenset())
    assert not matches(facts, CertificateMatch(san_uri=("spiffe://contoso/turbine-7",)))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", DER[:-10], DER[:100], b"-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate_is_said_so(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"^"):
        read_certificate(der)


YES = {
    "thumbprints": (f"sha256:{HEX}",),
    "issuer": r"CN=Devices CA,O=Contoso\, Ltd.,C=SE",
    "subject": "CN=turbine-7,O=Contoso",
    "san_uri": ("spiffe://contoso/turbine-7",),
    "san_dns": ("turbine-7.example",),
    "san_email": ("turbine-7@contoso.example",),
}
NO = {
    "thumbprints": (f"sha256:{'0' * 64}",),
    "issuer": "CN=Devices CA,O=Fabrikam,C=SE",
    "subject": "CN=turbine-8,O=Contoso",
    "san_uri": ("spiffe://contoso/turbine-70",),
    "san_dns": ("example",),
    "san_email": ("turbine-8@contoso.example",),
}


def match(**fields: object) -> CertificateMatch:
    return CertificateMatch(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", YES)
def test_each_field_alone(field: str) -> None:
    assert matches(FACTS, match(**{field: YES[field]}))
    assert not matches(FACTS, match(**{field: NO[field]}))


@pytest.mark.parametrize("wrong", YES)
def test_all_given_fields_must_match(wrong: str) -> None:
    assert matches(FACTS, match(**YES))
    assert not matches(FACTS, match(**{**YES, wrong: NO[wrong]}))


@pytest.mark.parametrize("field", [field for field, value in YES.items() if isinstance(value, tuple)])
def test_of_a_list_any_one(field: str) -> None:
    assert matches(FACTS, match(**{field: (*NO[field], *YES[field])}))
    assert not matches(FACTS, match(**{field: (*NO[field], *NO[field])}))


def test_a_match_without_fields_matches_nothing() -> None:
    assert not matches(FACTS, match())
    assert not matches(FACTS, match(thumbprints=(), san_uri=()))
    assert not matches(CertificateFacts("", "", ""), match())


@pytest.mark.parametrize(
    "spelled",
    [
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        "sha256:" + ":".join(HEX[at : at + 2] for at in range(0, 64, 2)),
        "sha256:" + ":".join(HEX[at : at + 2] for at in range(0, 64, 2)).upper(),
    ],
)
def test_thumbprints_as_tools_spell_them(spelled: str) -> None:
    assert matches(FACTS, match(thumbprints=(spelled,)))


@pytest.mark.parametrize("spelled", [HEX, f"sha1:{HEX}", f"sha256:{HEX[:40]}", f"sha256:{HEX}00", "", "sha256:"])
def test_nothing_else_is_its_thumbprint(spelled: str) -> None:
    assert not matches(FACTS, match(thumbprints=(spelled,)))


@pytest.mark.parametrize(
    "spelled",
    [
        r"CN=Devices CA,O=Contoso\, Ltd.,C=SE",
        r"CN=Devices CA,O=Contoso\2C Ltd.,C=SE",
        r"2.5.4.3=Devices CA,O=Contoso\, Ltd.,C=SE",
    ],
)
def test_one_name_in_its_spellings(spelled: str) -> None:
    assert canonical_name(spelled) == FACTS.issuer
    assert matches(FACTS, match(issuer=spelled))


@pytest.mark.parametrize(
    "spelled",
    [
        r"C=SE,O=Contoso\, Ltd.,CN=Devices CA",  # the other way round
        r"CN=Devices CA,O=Contoso\, Ltd.",
        r"CN=devices ca,O=Contoso\, Ltd.,C=SE",
        r"CN=Devices CA,OU=Contoso\, Ltd.,C=SE",
        "CN=Devices CA",
    ],
)
def test_another_name_is_another(spelled: str) -> None:
    assert not matches(FACTS, match(issuer=spelled))


def test_one_attribute_that_reads_as_two_is_still_one() -> None:
    forged = read_certificate(made(subject=name(COMMON_NAME="turbine-7,O=Contoso")))
    assert forged.subject != FACTS.subject
    assert not matches(forged, match(subject="CN=turbine-7,O=Contoso"))
    assert matches(forged, match(subject=r"CN=turbine-7\,O\=Contoso"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("san_uri", "SPIFFE://contoso/turbine-7"),
        ("san_uri", "spiffe://contoso/turbine-7/"),
        ("san_uri", "turbine-7.example"),
        ("san_dns", "spiffe://contoso/turbine-7"),
        ("san_dns", "*.example"),
        ("san_dns", "turbine-7.example."),
        ("san_email", "Turbine-7@contoso.example"),
        ("san_email", "contoso.example"),
    ],
)
def test_alternative_names_are_whole_and_of_their_own_kind(field: str, value: str) -> None:
    assert not matches(FACTS, match(**{field: (value,)}))


def test_host_names_are_the_same_in_any_case() -> None:
    assert matches(FACTS, match(san_dns=("TURBINE-7.example",)))


@pytest.mark.parametrize("text", ["turbine-7", "CN", "=x", "CN=a,,O=b", "CN=a;O=b\\"])
def test_what_is_no_name_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        canonical_name(text)
