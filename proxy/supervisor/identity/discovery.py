"""An issuer's signing keys, fetched: from the address that is configured, or from the one the issuer names itself.

OpenID Connect Discovery 1.0 section 4. HTTPS only, verified by the issuer's `ca` or the system's trust; no redirect is
followed, no proxy of the environment asked; bounded in size and time.
"""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from proxy.config.structs import Issuer
from proxy.identity.json_object import NotStrict, read_object
from proxy.identity.jwks import DOCUMENT, BadKeys, KeySet, read
from proxy.identity.token import TENANT
from proxy.wire.tls import backend_context

_WITHIN = 5.0
_CONNECT_WITHIN = 2.0
_CONFIGURATION = "/.well-known/openid-configuration"
_ANY_TENANT = "common"  # where Entra publishes what holds for all tenants


class KeysUnavailable(Exception):
    """An issuer that gave no keys. `fact` is one clean clause."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


async def fetch_keys(issuer: Issuer) -> KeySet:
    """The keys that an issuer publishes now. Raises `KeysUnavailable`."""
    import httpx  # a tenth of a second, and only for who has issuers

    try:
        context = await trio.to_thread.run_sync(_context, issuer.ca)
        with trio.fail_after(_WITHIN):
            async with httpx.AsyncClient(
                verify=context,
                follow_redirects=False,
                trust_env=False,
                timeout=httpx.Timeout(_WITHIN, connect=_CONNECT_WITHIN),
                headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "penstock"},
            ) as client:
                address = issuer.jwks or _named(issuer, await _get(client, _configuration(issuer)))
                return read(await _get(client, address))
    except KeysUnavailable:
        raise
    except BadKeys as error:
        raise KeysUnavailable(error.fact) from None
    except (trio.TooSlowError, httpx.TimeoutException):
        raise KeysUnavailable(f"no answer within {_WITHIN:g} s") from None
    except Exception as error:  # whatever a library lets out, the gateway lives on
        raise KeysUnavailable(_line(error)) from None


def _context(ca: str | None) -> ssl.SSLContext:
    return backend_context(Path(ca).read_bytes() if ca is not None else None)


def _configuration(issuer: Issuer) -> str:
    return issuer.issuer.replace(TENANT, _ANY_TENANT).rstrip("/") + _CONFIGURATION


def _named(issuer: Issuer, document: bytes) -> str:
    """The address of the keys in the document an issuer is discovered by. Raises `KeysUnavailable`."""
    try:
        members = read_object(document)
    except NotStrict:
        raise KeysUnavailable("its configuration is not a JSON object") from None
    if members.get("issuer") != issuer.issuer:
        raise KeysUnavailable("its configuration is that of another issuer")
    address = members.get("jwks_uri")
    if not isinstance(address, str) or not address.isascii() or "@" in address:
        raise KeysUnavailable("its configuration names no address for its keys")
    url = urlsplit(address)
    if url.scheme != "https" or not url.hostname:
        raise KeysUnavailable("the address its configuration names for its keys is not https")
    return address


async def _get(client: Any, address: str) -> bytes:
    """The document at an address. Raises `KeysUnavailable`, and httpx's errors."""
    async with client.stream("GET", address) as response:
        if response.status_code != 200:
            raise KeysUnavailable(f"answered {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise KeysUnavailable("answered in an encoding that was not asked for")
        found = bytearray()
        size = 0
        async for part in response.aiter_raw():  # to its end or our time's: what is left half read is never closed
            size += len(part)
            if size <= DOCUMENT:
                found += part
    if size > DOCUMENT:
        raise KeysUnavailable(f"answered with more than {DOCUMENT} bytes")
    return bytes(found)


def _line(error: Exception) -> str:
    """What went wrong with a connection, without what a stranger may have put into it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError):
        return f"cannot be reached: {error.strerror or type(error).__name__}"
    return f"cannot be reached ({type(error).__name__})"
