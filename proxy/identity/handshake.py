"""Why OpenSSL refused a certificate: its verify codes (`X509_V_ERR_*`, openssl-verification-options(1)) as reasons."""

from proxy.refusal import Reason

_REASONS: dict[Reason, tuple[int, ...]] = {
    Reason.CERTIFICATE_EXPIRED: (10, 14),
    Reason.CERTIFICATE_NOT_YET_VALID: (9, 13),
    Reason.CERTIFICATE_UNTRUSTED: (2, 18, 19, 20, 21, 27, 28, 29, 30, 31),
    Reason.CERTIFICATE_BAD_SIGNATURE: (4, 6, 7),
    Reason.CERTIFICATE_BAD_PURPOSE: (26, 39),
    Reason.CERTIFICATE_BAD_PATH: (22, 25, 32, 37, 38, 79, 80, 81, 82),
    Reason.CERTIFICATE_BAD_NAME: (47, 48, 49, 51, 52, 53),
    Reason.CERTIFICATE_WEAK: (66, 67, 68),
    Reason.CERTIFICATE_MALFORMED: (24, 34, 41, *range(83, 95)),
}
_BY_CODE = {code: reason for reason, codes in _REASONS.items() for code in codes}


def verify_reason(code: int) -> Reason:
    """The reason for a verify code; `CERTIFICATE_REFUSED` for a rare one."""
    return _BY_CODE.get(code, Reason.CERTIFICATE_REFUSED)
