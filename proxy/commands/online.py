"""`penstock check --online`: does what the configuration names answer? Each thing once, many at a time, each bounded.

Backends come last, so that each can be asked with its credential.
"""

import logging
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import trio

from proxy.config.revocation import is_url
from proxy.config.structs import Backend, Config, Issuer
from proxy.identity.crl import CRL_AT_MOST, CrlUnusable, read_crls
from proxy.messages import ForwardProxy, UpstreamCredential
from proxy.supervisor.backends.client import backend_client
from proxy.supervisor.backends.credential_sources import CredentialFailed, Source, build
from proxy.supervisor.backends.forward_proxies import forward_proxies
from proxy.supervisor.certificates.key_vault import Ask, VaultFailed, asking, references
from proxy.supervisor.configuration.snapshot import shown_to
from proxy.supervisor.identity.discovery import KeysUnavailable, fetch_keys
from proxy.supervisor.revocation.fetch import FetchFailed, Place, client, fetch
from proxy.wire.tls import backend_context

_WITHIN = 10.0
_AT_ONCE = 16
_MODELS = "/openai/models?api-version=2024-10-21"


class Failed(Exception):
    """What did not answer; the message is one clean clause."""


def check(config: Config, *, within: float = _WITHIN) -> int:
    """Try all that is named, each for at most `within` seconds, and say how it went; the exit code."""
    logging.getLogger("azure").setLevel(logging.CRITICAL)  # what it warns of is said here, once
    attempts: dict[str, Callable[[], None]] = {}
    obtained: dict[str, UpstreamCredential] = {}
    for name, credential in config.credentials.items():
        attempts[f"credential {name}"] = _credential(name, build(name, credential), obtained)
    for issuer in config.issuers:
        attempts[f"issuer {issuer.name}"] = _issuer(issuer)
    for source in filter(is_url, config.listen.client_certificates.crls):
        attempts[f"CRL {source}"] = _crl(source, within)
    for ref in references(config):
        ask = asking(ref, config.key_vault, config.credentials[config.key_vault.credential])
        attempts[f"certificate {ref.name} of {ref.key_vault}"] = _certificate(ask)
    failures = trio.run(_try_all, attempts, within)
    proxies = forward_proxies(config)
    backends = {
        f"backend {each.name}": _backend(each, obtained, within, proxies.get(each.name)) for each in config.backends
    }
    failures |= trio.run(_try_all, backends, within)
    for what in (*attempts, *backends):
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


def _credential(name: str, source: Source, obtained: dict[str, UpstreamCredential]) -> Callable[[], None]:
    """One that is kept for the backends."""

    def run() -> None:
        try:
            obtained[name] = source()
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


def _backend(
    backend: Backend, obtained: Mapping[str, UpstreamCredential], within: float, proxy: ForwardProxy | None
) -> Callable[[], None]:
    """Its models, which cost no token: asked for as the gateway would, by the credential if that was obtained.

    Any answer shows that it is there; one that refuses the credential is a failure.
    """

    async def ask(context: ssl.SSLContext) -> int:
        credential = obtained.get(backend.credential)
        headers = {} if credential is None else {credential.header: credential.value}
        with trio.fail_after(2 * within):
            client = backend_client(backend, context, within, proxy)
            async with client as http, http.stream("GET", _MODELS, headers=headers) as answer:
                return answer.status_code

    def run() -> None:
        try:
            context = backend_context(Path(backend.ca).read_bytes() if backend.ca else None, shown_to(backend))
            status = trio.run(ask, context)
        except trio.TooSlowError:
            raise Failed(f"no answer within {within:g} s") from None
        except httpx.TimeoutException:
            raise Failed(f"no answer within {within:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            raise Failed(_unreachable(error)) from None
        if status in (401, 403) and backend.credential in obtained:
            raise Failed(f"it refuses the credential {backend.credential}, with {status}")

    return run


def _unreachable(error: BaseException) -> str:
    """Why there was no answer: what lies at the bottom of it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as expected: {error.reason or 'no reason given'}"
    if isinstance(error, OSError):
        why, plain = error.strerror or type(error).__name__, os.strerror(abs(error.errno or 0))
        return f"it cannot be reached: {plain if why.endswith(plain) else why}"  # trio puts the address before it
    return f"it does not answer as expected ({type(error).__name__})"
