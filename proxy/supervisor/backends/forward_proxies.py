"""The forward proxies that backends are reached through, with what proves the gateway to them."""

from base64 import b64encode
from urllib.parse import urlsplit

from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Config, SecretRef, Upstream
from proxy.messages import ForwardProxy


def forward_proxies(config: Config) -> dict[str, ForwardProxy]:
    """By backend, for those that have one. Raises `OSError` for a secret that is not there."""
    found = {}
    for backend in config.backends:
        url = backend.forward_proxy or config.upstream.forward_proxy
        if url is not None and url != "none":
            found[backend.name] = _forward_proxy(url, config.upstream)
    return found


def _forward_proxy(url: str, upstream: Upstream) -> ForwardProxy:
    """The credential is for the one proxy it stands beside; no other is shown it."""
    parts = urlsplit(url)
    ref = upstream.forward_proxy_credential if url == upstream.forward_proxy else None
    return ForwardProxy(parts.hostname or "", parts.port or 80, _basic(ref) if ref is not None else None)


def _basic(ref: SecretRef) -> str:
    """The value of `Proxy-Authorization` (RFC 7617 section 2)."""
    try:
        return "Basic " + b64encode(resolve(ref).reveal().encode("ascii")).decode("ascii")
    except SecretMissing as error:
        raise OSError(f"upstream.forward_proxy_credential: {error}") from None
