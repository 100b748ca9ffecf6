"""Addresses in the configuration: is each what it should be? Quotes one only where it holds no secret. Pure."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from proxy.config.problem import quoted
from proxy.config.structs import Backend

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
"""A host's name; an IPv6 address is none."""


def https_fault(text: str) -> str | None:
    """What keeps an address from being https with a host and nothing else."""
    return _fault(text, "https")


def http_fault(text: str) -> str | None:
    """What keeps an address from being http with a host and nothing else."""
    return _fault(text, "http")


def _fault(text: str, scheme: str) -> str | None:
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
        if "@" in text or "?" in text or "#" in text:
            return "has a user name, a query or a fragment in it"
        if not (text.isascii() and text.isprintable()) or " " in text or host is None:
            return f"{quoted(text)} is no URL"
        if not HOST.fullmatch(host):
            ip_address(host)
    except ValueError:
        return "is no URL"
    if url.scheme != scheme:
        return f"{quoted(text)} is not {scheme}"
    if url.path not in ("", "/"):
        return f"{quoted(text)} has a path"
    return f"{quoted(text)} has port 0" if port == 0 else None


def endpoint(text: str) -> tuple[str, int]:
    """Host and port to connect to: `10.0.0.4:443`, `[fd00::4]:443`, `name.example:443`. Raises `ValueError`."""
    host, _, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(IPv6Address(host[1:-1]))
    elif not HOST.fullmatch(host):
        raise ValueError("no host")
    if not (digits.isascii() and digits.isdecimal()) or not 0 < int(digits) <= 65535:
        raise ValueError("no port")
    return host, int(digits)


def dialled(backend: Backend) -> tuple[str, int]:
    """Where connections to a backend go; what is asked for and verified there is its `url`'s host."""
    if backend.connect_to is not None:
        return endpoint(backend.connect_to)
    url = urlsplit(backend.url)
    return url.hostname or "", url.port or 443


def is_network(text: str) -> bool:
    """Whether this is a network in CIDR form, or a single address."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
