"""Addresses in the configuration: is each what it should be? Quotes one only where it holds no secret. Pure."""

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from proxy.config.problem import quoted

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
"""A host's name; an IPv6 address is none."""


def https_fault(text: str) -> str | None:
    """What keeps an address from being https with a host and nothing else."""
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
    if url.scheme != "https":
        return f"{quoted(text)} is not https"
    if url.path not in ("", "/"):
        return f"{quoted(text)} has a path"
    return f"{quoted(text)} has port 0" if port == 0 else None


def is_network(text: str) -> bool:
    """Whether this is a network in CIDR form, or a single address."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
