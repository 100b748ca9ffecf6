"""`penstock check --online`: does what the configuration names answer? Each thing once, bounded in time."""

import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config.structs import Backend, Config
from proxy.supervisor.credentials import CredentialFailed, build
from proxy.wire.tls import backend_context

_WITHIN = 10.0


def check(config: Config) -> int:
    """Try every credential and every backend, say how each went, and give the exit code."""
    results = [(f"credential {name}", _credential(name, config)) for name in config.credentials]
    results += [(f"backend {backend.name}", _backend(backend)) for backend in config.backends]
    for what, failure in results:
        print(f"{what}: {'ok' if failure is None else failure}", file=sys.stdout if failure is None else sys.stderr)
    return 1 if any(failure is not None for _, failure in results) else 0


def _credential(name: str, config: Config) -> str | None:
    try:
        build(name, config.credentials[name])()
    except CredentialFailed as failed:
        return failed.fact
    return None


def _backend(backend: Backend) -> str | None:
    """A TLS connection, verified as the gateway would."""
    address = urlsplit(backend.url)
    host = address.hostname or ""
    try:
        context = backend_context(Path(backend.ca).read_bytes() if backend.ca else None)
        with (
            socket.create_connection((host, address.port or 443), timeout=_WITHIN) as sock,
            context.wrap_socket(sock, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except (ssl.SSLError, OSError) as error:
        return f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
