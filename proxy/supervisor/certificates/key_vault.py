"""The gateway's own certificates from Azure Key Vault: fetched with its credential, polled, and held in memory alone.

A certificate in a vault is also a secret of the same name, which has the key with it; that is what is read, so the
gateway's identity needs the right to get secrets and no other. What was fetched serves until the vault has another
version that is fit to be served: while the vault is out, or what it gives is of no use, the old one stays.
"""

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from proxy.config.secrets import SecretMissing
from proxy.config.structs import Config, Credential, KeyVault, KeyVaultRef
from proxy.messages import ServerCertificate, Tls
from proxy.supervisor.backends.credential_sources import EXCHANGE, clean_line, identity, secret_of
from proxy.supervisor.events.events import Event
from proxy.wire.tls import server_context

_ANSWER_WITHIN = 15.0
_AGAIN = 1.0
_AGAIN_AT_MOST = 30.0
_AT_ONCE = 4
_VALUE = 256 << 10
_CERTIFICATES = 20
_API_VERSION = "7.4"  # in every cloud; nothing newer is made use of
_PEM = "application/x-pem-file"
_PKCS12 = "application/x-pkcs12"

_log = logging.getLogger("penstock.key_vault")

Held = Mapping[KeyVaultRef, ServerCertificate]


class VaultFailed(Exception):
    """A vault that gave no certificate to serve. `fact` is one clean line."""

    def __init__(self, ref: KeyVaultRef, fact: str) -> None:
        super().__init__(f"certificate '{ref.name}' of {ref.key_vault}: {fact}")
        self.ref = ref
        self.fact = fact


class Unfit(Exception):
    """What a vault gave is nothing to be served; the message says why, and holds nothing of it."""


def references(config: Config) -> tuple[KeyVaultRef, ...]:
    """The certificates that the configuration has in vaults."""
    named = (config.listen.certificate, *(pair.certificate for pair in config.listen.certificates))
    return tuple(dict.fromkeys(each for each in named if isinstance(each, KeyVaultRef)))


# What a secret holds.


def read(value: str, content_type: str | None, now: datetime) -> ServerCertificate:
    """The certificate with its key in a secret's value, fit to be served at `now`. Raises `Unfit`."""
    if len(value) > _VALUE:
        raise Unfit(f"it has more than {_VALUE} characters")
    try:
        if content_type == _PKCS12:
            key, certificates = _read_pkcs12(value)
        elif content_type == _PEM:
            key, certificates = _read_pem(value)
        else:
            raise Unfit(f"its content type is neither {_PEM} nor {_PKCS12}")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unfit("it holds no certificate with a private key that can be read") from None
    if len(certificates) > _CERTIFICATES:
        raise Unfit(f"it holds more than {_CERTIFICATES} certificates")
    chain = _leaf_first(key, certificates)
    for certificate in chain:
        if certificate.not_valid_after_utc <= now:
            raise Unfit(f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
        if certificate.not_valid_before_utc > now:
            raise Unfit(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    pair = ServerCertificate(
        b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    try:
        server_context(Tls((pair,), "1.2", "off", b"", b""))
    except (OSError, ValueError):
        raise Unfit("TLS does not take it: its key is too small, or of a kind that is not served") from None
    return pair


def _read_pem(value: str) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    content = value.encode("ascii")
    return load_pem_private_key(content, password=None), x509.load_pem_x509_certificates(content)


def _read_pkcs12(value: str) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        content = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    key, leaf, more = pkcs12.load_key_and_certificates(content, None)
    if key is None or leaf is None:
        raise ValueError("no key or no certificate")
    return key, [leaf, *more]


def _leaf_first(key: PrivateKeyTypes, certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    """The certificate of this key, and the others after it as they came. Raises `Unfit`."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for leaf in certificates:
        if leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public:
            return [leaf, *(each for each in certificates if each is not leaf)]
    raise Unfit("its key is of none of its certificates")


# Asking a vault.

Ask = Callable[[], ServerCertificate]
"""Blocking. Raises `VaultFailed`."""


def asking(ref: KeyVaultRef, settings: KeyVault, credential: Credential) -> Ask:
    """How to ask for one certificate."""

    def ask() -> ServerCertificate:
        try:
            value, content_type = _secret(ref, settings, credential)
            return read(value, content_type, datetime.now(UTC))
        except (SecretMissing, Unfit) as error:
            raise VaultFailed(ref, str(error)) from None

    return ask


def _secret(ref: KeyVaultRef, settings: KeyVault, credential: Credential) -> tuple[str, str | None]:
    """The newest version of a secret, and its content type. Raises `SecretMissing`, `VaultFailed`."""
    from azure.keyvault.secrets import SecretClient

    secret = secret_of(credential)
    options = dict(EXCHANGE) | {"permit_redirects": False}
    if settings.ca is not None:
        options["connection_verify"] = settings.ca
    try:
        source = identity(credential, secret)
        try:
            with SecretClient(ref.key_vault, source, api_version=_API_VERSION, **options) as client:
                found = client.get_secret(ref.name)
        finally:
            source.close()
    except Exception as error:  # whatever a library lets out, the gateway lives on
        raise VaultFailed(ref, clean_line(error, secret)) from None
    if not isinstance(found.value, str):
        raise VaultFailed(ref, "the answer holds no value")
    return found.value, found.properties.content_type


Fetch = Callable[[KeyVaultRef, KeyVault, Credential], Awaitable[ServerCertificate]]


async def fetch(ref: KeyVaultRef, settings: KeyVault, credential: Credential) -> ServerCertificate:
    """Ask in a thread, at most so long. Raises `VaultFailed`."""
    ask = asking(ref, settings, credential)
    try:
        with trio.fail_after(_ANSWER_WITHIN):
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    except trio.TooSlowError:
        raise VaultFailed(ref, f"no answer within {_ANSWER_WITHIN:.0f} s") from None


async def fetch_all(config: Config, refs: Iterable[KeyVaultRef], fetch: Fetch) -> dict[KeyVaultRef, ServerCertificate]:
    """All of these, some at a time. Raises the first `VaultFailed`, when all have been tried."""
    limiter = trio.CapacityLimiter(_AT_ONCE)
    found: dict[KeyVaultRef, ServerCertificate] = {}
    failed: list[VaultFailed] = []

    async def one(ref: KeyVaultRef) -> None:
        async with limiter:
            try:
                found[ref] = await fetch(ref, config.key_vault, config.credentials[config.key_vault.credential])
            except VaultFailed as error:
                failed.append(error)

    async with trio.open_nursery() as nursery:
        for ref in refs:
            nursery.start_soon(one, ref)
    if failed:
        raise failed[0]
    return found


async def first(config: Config, within: float, *, fetch: Fetch = fetch) -> dict[KeyVaultRef, ServerCertificate]:
    """What is needed to start, asked for again and again for `within` seconds. Raises `VaultFailed`."""
    deadline = trio.current_time() + within
    told = False
    while True:
        try:
            return await fetch_all(config, references(config), fetch)
        except VaultFailed as failed:
            if trio.current_time() + _AGAIN > deadline:
                raise
            if not told:
                told = True
                _log.warning("%s; it is waited for, at most %.0f s", failed, within)
        await trio.sleep(_AGAIN)


class KeyVaults:
    """Keeps what is `held` fresh. `replaced` is told when a version has taken another's place.

    `announce` hears once of a failure and once of its end. Times are Unix times of `wall`.
    """

    def __init__(
        self,
        config: Config,
        held: Held,
        replaced: Callable[[], Awaitable[None]],
        announce: Callable[[Event], None],
        *,
        fetch: Fetch = fetch,
    ) -> None:
        self.held: dict[KeyVaultRef, ServerCertificate] = dict(held)
        self.failing: dict[KeyVaultRef, str] = {}
        self._config = config
        self._replaced = replaced
        self._announce = announce
        self._fetch = fetch
        self._poll_now = trio.Event()

    def __repr__(self) -> str:
        return f"<KeyVaults {len(self.held)} held, {len(self.failing)} failing>"

    async def run(self) -> None:
        """Poll for ever; a failing vault is asked again within half a minute."""
        while True:
            poll = float(self._config.key_vault.poll)
            with trio.move_on_after(min(poll, _AGAIN_AT_MOST) if self.failing else poll):
                await self._poll_now.wait()
            self._poll_now = trio.Event()
            await self._poll()

    async def obtained(self, config: Config) -> dict[KeyVaultRef, ServerCertificate]:
        """What a configuration needs: what is held, and what is new to it from its vault. Raises `VaultFailed`."""
        needed = references(config)
        fresh = await fetch_all(config, [ref for ref in needed if ref not in self.held], self._fetch)
        return {ref: fresh[ref] if ref in fresh else self.held[ref] for ref in needed}

    def reconfigure(self, config: Config, obtained: Held) -> None:
        """Another configuration is in force, with what was `obtained` for it. Vaults are asked again at once."""
        self._config = config
        self.held = dict(obtained)
        self.failing = {ref: fact for ref, fact in self.failing.items() if ref in obtained}
        self._poll_now.set()

    async def _poll(self) -> None:
        config = self._config
        changed = False
        for ref in references(config):
            try:
                fresh = (await fetch_all(config, [ref], self._fetch))[ref]
            except VaultFailed as failed:
                self._note_failure(failed)
                continue
            if self._config is not config:
                return  # overtaken by a new configuration, which asks again
            self._note_success(ref)
            if fresh != self.held.get(ref):
                self.held[ref] = fresh
                changed = True
        if changed:
            await self._replaced()

    def _note_failure(self, failed: VaultFailed) -> None:
        if failed.ref not in self.failing:
            self._announce(_event("warning", failed.ref, f"{failed}; the old one serves on, trying again"))
        self.failing[failed.ref] = failed.fact

    def _note_success(self, ref: KeyVaultRef) -> None:
        if self.failing.pop(ref, None) is not None:
            self._announce(_event("info", ref, f"certificate '{ref.name}' of {ref.key_vault} is read again"))


def _event(severity: Literal["info", "warning"], ref: KeyVaultRef, message: str) -> Event:
    return Event("key_vault", severity, message, {"key_vault": ref.key_vault, "name": ref.name})
