"""What applications prove themselves to Entra with that have no secret: assertions, looked into as Entra does.

Two kinds: one that the application signs by the key of a certificate which Entra knows, and one that another issuer
made, such as a cluster for its workloads. RFC 7523 section 3, and Microsoft's "Application authentication certificate
credentials" and "Workload identity federation".
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

AUDIENCE = "api://AzureADTokenExchange"
"""What a token of another issuer is for, when it is to be exchanged."""

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_BY_CERTIFICATE = ["RS256", "PS256"]
_BY_ISSUER = ["RS256", "ES256"]
_REQUIRED = ["exp", "iss", "sub", "aud"]

Keys = Callable[[str], dict[str, Any] | None]
"""What an issuer publishes, by its name in `iss`; None: no such issuer."""


class NotProven(Exception):
    """An assertion that proves nothing; the message is as Entra has it."""


class Assertions:
    """`certificate`: PEM, that of all applications; None: whoever signs is believed. `keys` None: so is any issuer.

    Raises `OSError` and `ValueError` for what is no certificate.
    """

    def __init__(self, certificate: Path | None, keys: Keys | None) -> None:
        self._certificate = None if certificate is None else x509.load_pem_x509_certificate(certificate.read_bytes())
        self._keys = keys

    def judge(self, form: dict[str, str], endpoint: str) -> None:
        """Whether what an application sent to the token endpoint proves it. Raises `NotProven`."""
        if form.get("client_assertion_type") != TYPE:
            raise NotProven("AADSTS50027: JWT token is invalid or malformed.")
        assertion, client_id = form["client_assertion"], form.get("client_id", "")
        try:
            header = jwt.get_unverified_header(assertion)
            issuer = str(jwt.decode(assertion, options={"verify_signature": False}).get("iss"))
            if issuer == client_id:
                self._by_certificate(assertion, header, client_id, endpoint)
            else:
                self._by_issuer(assertion, header, issuer)
        except jwt.InvalidAudienceError:
            raise NotProven("AADSTS700212: No matching federated identity record found for the audience.") from None
        except jwt.ExpiredSignatureError:
            raise NotProven("AADSTS700024: Client assertion is not within its valid time range.") from None
        except (jwt.PyJWTError, ValueError) as error:
            raise NotProven(f"AADSTS700027: The assertion is invalid ({type(error).__name__}).") from None

    def _by_certificate(self, assertion: str, header: dict[str, Any], client_id: str, endpoint: str) -> None:
        if self._certificate is None:
            return
        known = _thumbprints(self._certificate)
        if not any(str(header.get(name)).rstrip("=") == thumbprint for name, thumbprint in known.items()):
            raise NotProven("AADSTS700027: The certificate with this thumbprint is not registered.")
        key: Any = self._certificate.public_key()
        claims = jwt.decode(assertion, key, _BY_CERTIFICATE, audience=endpoint, options={"require": _REQUIRED})
        if claims["sub"] != client_id:
            raise NotProven("AADSTS700023: The subject of the assertion is another application.")

    def _by_issuer(self, assertion: str, header: dict[str, Any], issuer: str) -> None:
        if self._keys is None:
            return
        published = self._keys(issuer)
        if published is None:
            raise NotProven("AADSTS700211: No matching federated identity record found for the issuer.")
        key = jwt.PyJWKSet.from_dict(published)[str(header.get("kid"))] if published.get("keys") else None
        if key is None:
            raise NotProven("AADSTS90061: The issuer publishes no keys.")
        jwt.decode(assertion, key, _BY_ISSUER, audience=AUDIENCE, options={"require": _REQUIRED})


def _thumbprints(certificate: x509.Certificate) -> dict[str, str]:
    digests = {"x5t": hashes.SHA1(), "x5t#S256": hashes.SHA256()}  # noqa: S303 - names a certificate, protects nothing
    return {
        name: base64.urlsafe_b64encode(certificate.fingerprint(digest)).decode().rstrip("=")
        for name, digest in digests.items()
    }
