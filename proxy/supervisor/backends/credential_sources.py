"""Where each kind of credential comes from: azure-identity, as Microsoft maintains it, or a key on file.

What a source says when it fails is cut down to one printable line without secrets. Everything here blocks, for a few
seconds at most: it is called in threads.
"""

import logging
import math
import re
from typing import Any, Protocol

from proxy.config.files import Unreadable, read
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Credential
from proxy.messages import UpstreamCredential

EXCHANGE: dict[str, Any] = {"connection_timeout": 3, "read_timeout": 6, "retry_total": 0}
"""Of azure-identity's pipeline: a thread ends soon after it was given up, and trying again is the caller's."""

_COMMAND_WITHIN = 8  # s, of the Azure CLI
_CERTIFICATE_AT_MOST = 1 << 20
_SCOPES = {
    "public": "https://cognitiveservices.azure.com/.default",
    "us_government": "https://cognitiveservices.azure.us/.default",
    "china": "https://cognitiveservices.azure.cn/.default",
}
_AUTHORITIES = {"us_government": "https://login.microsoftonline.us", "china": "https://login.chinacloudapi.cn"}
"""Of the clouds that are not azure-identity's default; these are its `AzureAuthorityHosts`."""

_LINE = 240
_OPAQUE = re.compile(r"[\w+=~-]{40,}")  # a token, or a part of one; longer than any word or identifier

# What they log of a failure is the exception that arrives here, and goes out from here cut down and once.
logging.getLogger("azure").setLevel(logging.CRITICAL)
logging.getLogger("msal").setLevel(logging.CRITICAL)


class CredentialFailed(Exception):
    """A source that gave nothing. `fact` is one clean line."""

    def __init__(self, name: str, fact: str) -> None:
        super().__init__(f"credential '{name}': {fact}")
        self.name = name
        self.fact = fact


class Source(Protocol):
    """Where one credential comes from. Blocking."""

    def __call__(self) -> UpstreamCredential:
        """A credential that is fresh. Raises `CredentialFailed`."""


def build(name: str, credential: Credential) -> Source:
    """The source of a credential. Secrets and files that it refers to are read anew each time it is asked."""
    if credential.kind == "api_key":
        return lambda: _api_key(name, credential)
    return lambda: _token(name, credential)


def _api_key(name: str, credential: Credential) -> UpstreamCredential:
    assert credential.key is not None
    try:
        return UpstreamCredential("api-key", resolve(credential.key).reveal(), math.inf)
    except SecretMissing as error:
        raise CredentialFailed(name, str(error)) from None


def _token(name: str, credential: Credential) -> UpstreamCredential:
    """A token from a new azure-identity object: its own cache could hand back one that is about to expire."""
    secret = None
    try:
        secret = secret_of(credential)
        source = identity(credential, secret)
        try:
            token = source.get_token(scope(credential))
        finally:
            source.close()
    except SecretMissing as error:
        raise CredentialFailed(name, str(error)) from None
    except Exception as error:  # whatever a library lets out, the gateway lives on
        raise CredentialFailed(name, clean_line(error, secret)) from None
    if not (token.token.isascii() and token.token.isprintable() and token.token):
        raise CredentialFailed(name, "the answer holds no token that fits into a header")
    return UpstreamCredential("authorization", f"Bearer {token.token}", float(token.expires_on))


def scope(credential: Credential) -> str:
    """What its tokens are for; a managed identity and the Azure CLI are asked for the resource of the same address."""
    return credential.scope or _SCOPES[credential.cloud]


def secret_of(credential: Credential) -> str | None:
    """The secret that its kind needs, if it needs one. Raises `SecretMissing`."""
    ref = credential.secret or credential.certificate_password
    return None if ref is None else resolve(ref).reveal()


def identity(credential: Credential, secret: str | None) -> Any:
    """The azure-identity object of a kind, with the `secret_of` it. Raises `ValueError` and `SecretMissing`."""
    from azure import identity as azure  # here, since it takes a third of a second

    if credential.kind == "managed_identity":
        return azure.ManagedIdentityCredential(client_id=credential.client_id, **EXCHANGE)
    if credential.kind == "azure_cli":
        return azure.AzureCliCredential(tenant_id=credential.tenant_id or "", process_timeout=_COMMAND_WITHIN)
    options = _of_an_application(credential)
    if credential.kind == "workload_identity":
        options["token_file_path"] = credential.token_file
        return azure.WorkloadIdentityCredential(
            tenant_id=credential.tenant_id, client_id=credential.client_id, **options
        )
    assert credential.tenant_id is not None
    assert credential.client_id is not None
    if credential.kind == "client_certificate":
        options |= {"certificate_data": _certificate(credential), "password": secret}
        return azure.CertificateCredential(credential.tenant_id, credential.client_id, **options)
    assert credential.kind == "client_secret"
    assert secret is not None
    return azure.ClientSecretCredential(credential.tenant_id, credential.client_id, secret, **options)


def _of_an_application(credential: Credential) -> dict[str, Any]:
    """How Entra is asked. In the public cloud the library knows where, or AZURE_AUTHORITY_HOST says it."""
    options = dict(EXCHANGE)
    authority = credential.authority or _AUTHORITIES.get(credential.cloud)
    if authority is not None:
        # One that was chosen is not to be confirmed by Entra's public one, which need not even be in reach.
        options |= {"authority": authority, "disable_instance_discovery": True}
    if credential.ca is not None:
        options["connection_verify"] = credential.ca
    return options


def _certificate(credential: Credential) -> bytes:
    assert credential.certificate is not None
    try:
        return read(credential.certificate, _CERTIFICATE_AT_MOST)
    except Unreadable as error:
        raise SecretMissing(f"{credential.certificate} {error}") from None


def clean_line(error: Exception, secret: str | None) -> str:
    """What a library says, for people: its first line, without the secret or anything that looks like one."""
    text = str(getattr(error, "message", None) or error).strip() or type(error).__name__
    if secret is not None:
        text = text.replace(secret, "…")
    text = _OPAQUE.sub("…", text.splitlines()[0].strip())
    return "".join(c if c.isprintable() else "?" for c in text)[:_LINE]
