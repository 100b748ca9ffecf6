"""Whether a verified certificate still counts, as a table; and what OpenSSL's words come to."""

import math

import pytest

from proxy.identity.certificate import CertificateFacts
from proxy.identity.handshake import verify_reason
from proxy.identity.known import AskCertificate, CertificateVerdict, Known, Undecided
from proxy.identity.standing import Trust
from proxy.refusal import Reason, Refused

NOW = 1_000.0
GOOD = CertificateFacts("sha256:leaf", "CN=CA", "CN=x", chain=(b"leaf", b"root"), root="sha256:root", expires=NOW + 9)


def said(status: str, until: float = NOW + 5) -> dict[str, CertificateVerdict]:
    return {"sha256:leaf": CertificateVerdict("sha256:leaf", status, until, "why")}  # type: ignore[arg-type]


def trust(revocation: str = "hard", root: str = "sha256:root") -> Trust:
    return Trust(frozenset((root,)), revocation)


TABLE = [
    ("good", trust(), said("good"), None),
    ("revoked", trust(), said("revoked"), Reason.CERTIFICATE_REVOKED),
    ("revoked, softly", trust("soft"), said("revoked"), Reason.CERTIFICATE_REVOKED),
    ("no source knows it", trust(), said("refused"), Reason.CERTIFICATE_STATUS_UNKNOWN),
    ("a source is out", trust(), said("unknown"), Reason.IDENTITY_UNAVAILABLE),
    ("a source is out, softly", trust("soft"), said("unknown"), "revocation not checked: why"),
    ("not asked", trust("off"), said("revoked"), None),
    ("another root", trust("off", "sha256:other"), said("good"), Reason.CERTIFICATE_UNTRUSTED),
    ("never seen", trust(), {}, AskCertificate),
    ("the verdict has lapsed", trust(), said("good", NOW), AskCertificate),
]


@pytest.mark.parametrize(("rules", "verdicts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_vet(rules: Trust, verdicts: dict[str, CertificateVerdict], expected: object) -> None:
    if isinstance(expected, Reason):
        with pytest.raises(Refused) as refused:
            rules.vet(GOOD, verdicts, NOW)
        assert refused.value.reason is expected
    elif expected is AskCertificate:
        with pytest.raises(Undecided) as undecided:
            rules.vet(GOOD, verdicts, NOW)
        assert undecided.value.question == AskCertificate("sha256:leaf", GOOD.chain)
    else:
        assert rules.vet(GOOD, verdicts, NOW) == expected


def test_a_certificate_expires_on_an_open_connection() -> None:
    with pytest.raises(Refused) as refused:
        trust("off").vet(GOOD, {}, GOOD.expires)
    assert refused.value.reason is Reason.CERTIFICATE_EXPIRED


def test_what_is_known_of_certificates_is_bounded() -> None:
    known = Known()
    known.learn(CertificateVerdict(str(number), "good", math.inf) for number in range(20_100))
    assert len(known.certificates) == 20_000
    assert "20099" in known.certificates


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (10, Reason.CERTIFICATE_EXPIRED),
        (20, Reason.CERTIFICATE_UNTRUSTED),
        (26, Reason.CERTIFICATE_BAD_PURPOSE),
        (66, Reason.CERTIFICATE_WEAK),
        (999, Reason.CERTIFICATE_REFUSED),
    ],
)
def test_openssls_words(code: int, reason: Reason) -> None:
    assert verify_reason(code) is reason
