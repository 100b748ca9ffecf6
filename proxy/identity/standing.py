"""Whether a certificate that TLS has verified still counts: asked for each request, not for each connection.

A connection may outlive a certificate's validity, its root's place in the configuration, and its good standing. With a
verdict in hand this costs a few look-ups. Pure; the time comes as an argument.
"""

from collections.abc import Mapping

from proxy.identity.certificate import CertificateFacts
from proxy.identity.known import AskCertificate, CertificateVerdict, Undecided
from proxy.refusal import Reason, Refused


class Trust:
    """What certificates are held to: thumbprints of the roots, and `revocation`: off, soft or hard."""

    __slots__ = ("_hard", "_off", "_roots")

    def __init__(self, roots: frozenset[str], revocation: str) -> None:
        self._roots = roots
        self._off = revocation == "off"
        self._hard = revocation == "hard"

    def vet(self, facts: CertificateFacts, verdicts: Mapping[str, CertificateVerdict], now: float) -> str | None:
        """None, or what is to be noted of a certificate that is accepted all the same. `now` is Unix time.

        Raises `Refused`, and `Undecided` where the supervisor is to be asked first.
        """
        if facts.fault is not None:
            raise Refused(*facts.fault)
        if facts.root not in self._roots:
            raise Refused(Reason.CERTIFICATE_UNTRUSTED, "no configured root ends its path")
        if now >= facts.expires:
            raise Refused(Reason.CERTIFICATE_EXPIRED, "expired since the handshake")
        if self._off:
            return None
        verdict = verdicts.get(facts.thumbprint)
        if verdict is None or verdict.until <= now:
            raise Undecided(AskCertificate(facts.thumbprint, facts.chain), Reason.IDENTITY_UNAVAILABLE)
        if verdict.status == "good":
            return None
        if verdict.status == "revoked":
            raise Refused(Reason.CERTIFICATE_REVOKED, verdict.reason)
        if verdict.status == "refused":
            raise Refused(Reason.CERTIFICATE_STATUS_UNKNOWN, verdict.reason)
        if self._hard:
            raise Refused(Reason.IDENTITY_UNAVAILABLE, verdict.reason, retry_after=max(1.0, verdict.until - now))
        return f"revocation not checked: {verdict.reason}"
