"""Where the gateway sends what people and their collectors should hear of: addresses that are safe to send it to."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from proxy.config.address import HOST
from proxy.config.problem import Problem
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.shape import REFERENCE
from proxy.config.structs import Audit

_REMEDY = 'give "https://", a host and a path; "http://" only to this machine itself'


def problems(audit: Audit) -> Iterator[Problem]:
    """What is wrong with `audit.webhook` and `audit.otlp`. An address is never quoted: many hold a secret."""
    placed = (("webhook", audit.webhook, audit.webhook_token), ("otlp", audit.otlp, audit.otlp_token))
    for name, url, token in placed:
        if url is not None and not _is_safe(url):
            yield Problem(f"audit.{name}", "is no address that this may be sent to", _REMEDY)
        if token is not None:
            if url is None:
                yield Problem(f"audit.{name}_token", f"set, without audit.{name}", "leave it out")
            try:
                resolve(token)
            except SecretMissing as error:
                yield Problem(f"audit.{name}_token", str(error), f"give {REFERENCE}, with the secret there")


def _is_safe(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
        if not (text.isascii() and text.isprintable()) or " " in text or "#" in text or host is None or port == 0:
            return False
        if url.username is not None or url.password is not None:
            return False
        named = HOST.fullmatch(host) is not None
        address = None if named and not host.replace(".", "").isdigit() else ip_address(host)
    except ValueError:
        return False
    local = host == "localhost" or (address is not None and address.is_loopback)
    return url.scheme == "https" or (url.scheme == "http" and local)
