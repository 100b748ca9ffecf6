"""`penstock check --online`: does what the configuration names answer? Each thing once, all at a time, each bounded."""

import logging
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import trio

from proxy.config.revocation import is_url
from proxy.config.structs import Backend, Config, Issuer
from proxy.identity.crl import CRL_AT_MOST, CrlUnusable, read_crls
from proxy.supervisor.credential_sources import CredentialFailed, Source, build
from proxy.supervisor.discovery import KeysUnavailable, fetch_keys
from proxy.supervisor.key_vault import Ask, VaultFailed, asking, references
from proxy.supervisor.revocation.fetch import FetchFailed, Place, client, fetch
from proxy.wire.tls import backend_context

_WITHIN = 10.0
_AT_ONCE = 16


class Failed(Exception):
    """What did not answer; the message is one clean clause."""


def check(config: Config, *, within: float = _WITHIN) -> int:
    """Try all that is named, each for at most `within` seconds, and say how it went; the exit code."""
    logging.getLogger("azure").setLevel(logging.CRITICAL)  # what it warns of is said here, once
    attempts: dict[str, Callable[[], None]] = {}
    for name, credential in config.credentials.items():
        attempts[f"credential {name}"] = _credential(build(name, credential))
    for issuer in config.issuers:
        attempts[f"issuer {issuer.name}"] = _issuer(issuer)
    for source in filter(is_url, config.listen.client_certificates.crls):
        attempts[f"CRL {source}"] = _crl(source, within)
    for ref in references(config):
        ask = asking(ref, config.key_vault, config.credentials[config.key_vault.credential])
        attempts[f"certificate {ref.name} of {ref.key_vault}"] = _certificate(ask)
    for backend in config.backends:
        attempts[f"backend {backend.name}"] = _backend(backend, within)
    failures = trio.run(_try_all, attempts, within)
    for what in attempts:
        failure = failures.get(what)
        print(f"{what}: {failure or 'ok'}", file=sys.stderr if failure else sys.stdout)
    return 1 if failures else 0


async def _try_all(attempts: dict[str, Callable[[], None]], within: float) -> dict[str, str]:
    """What failed, and why. An attempt that does not end in time is left to its thread, which holds up no exit."""
    failures: dict[str, str] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def attempt(what: str, run: Callable[[], None]) -> None:
        async with limiter:
            try:
                with trio.fail_after(within):
                    await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            except trio.TooSlowError:
                failures[what] = f"failed: no answer within {within:g} s"
            except Failed as failed:
                failures[what] = f"failed: {failed}"

    async with trio.open_nursery() as nursery:
        for what, run in attempts.items():
            nursery.start_soon(attempt, what, run)
    return failures


def _credential(source: Source) -> Callable[[], None]:
    def run() -> None:
        try:
            source()
        except CredentialFailed as failed:
            raise Failed(failed.fact) from None

    return run


def _issuer(issuer: Issuer) -> Callable[[], None]:
    """Its keys, as the gateway would fetch them."""

    def run() -> None:
        try:
            trio.run(fetch_keys, issuer)
        except KeysUnavailable as error:
            raise Failed(error.fact) from None

    return run


def _crl(source: str, within: float) -> Callable[[], None]:
    """A list of revoked certificates that can be read; whether it fits is judged when a path needs it."""

    async def read() -> None:
        async with client() as http:
            read_crls(await fetch(http, Place(source), at_most=CRL_AT_MOST, within=within))

    def run() -> None:
        try:
            trio.run(read)
        except (FetchFailed, CrlUnusable) as error:
            raise Failed(str(error)) from None

    return run


def _certificate(ask: Ask) -> Callable[[], None]:
    def run() -> None:
        try:
            ask()
        except VaultFailed as failed:
            raise Failed(failed.fact) from None

    return run


def _backend(backend: Backend, within: float) -> Callable[[], None]:
    """A TLS connection, verified as the gateway would."""

    def run() -> None:
        address = urlsplit(backend.url)
        host = address.hostname or ""
        try:
            context = backend_context(Path(backend.ca).read_bytes() if backend.ca else None)
            with (
                socket.create_connection((host, address.port or 443), timeout=within) as sock,
                context.wrap_socket(sock, server_hostname=host),
            ):
                return
        except ssl.SSLCertVerificationError as error:
            raise Failed(f"its certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise Failed(f"it does not speak TLS as expected: {error.reason or 'no reason given'}") from None
        except OSError as error:
            raise Failed(f"it cannot be reached: {error.strerror or type(error).__name__}") from None

    return run
