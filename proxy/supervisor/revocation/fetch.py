"""One bounded HTTP exchange of the supervisor's, and the rule where a certificate's own address may lead.

An address in the configuration is taken as it is. One out of a certificate was written by an authority, not by whoever
runs the gateway: it may not lead to this machine, to its link (where cloud metadata is served), or to where nobody is,
unless a network is allowed by name. The address that was judged is the one that is connected to.
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, NamedTuple

import httpx
import trio

_METADATA = frozenset((ip_address("168.63.129.16"), ip_address("100.100.100.200"), ip_address("fd00:ec2::254")))
"""Hosts that serve a machine's own secrets and are neither loopback nor link-local: Azure's, Alibaba's, Amazon's."""

Announce = Callable[[Literal["info", "warning"], str], None]
"""Hears of sources that fail and recover."""

Network = IPv4Network | IPv6Network


class FetchFailed(Exception):
    """An exchange that gave nothing; the message is one clean clause."""


class Place(NamedTuple):
    """Where to connect: `url` as it is asked for; what HTTP and TLS are to call the host, if not by that."""

    url: str
    host: str | None = None
    name: str = ""


def client() -> httpx.AsyncClient:
    """Without redirects, proxies of the environment, or cookies that last."""
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=None)  # noqa: S113 - `fetch` has one


async def fetch(
    http: httpx.AsyncClient, place: Place, *, at_most: int, within: float, post: bytes | None = None, kind: str = ""
) -> bytes:
    """The body of a 200. `at_most` in bytes, `within` in seconds. Raises `FetchFailed`."""
    headers = {"accept": "*/*", "accept-encoding": "identity"}
    if post is not None:
        headers["content-type"] = kind
    extensions = {}
    if place.host is not None:
        headers["host"] = place.host
        extensions["sni_hostname"] = place.name
    try:
        with trio.fail_after(within):
            request = http.stream(
                "GET" if post is None else "POST", place.url, content=post, headers=headers, extensions=extensions
            )
            async with request as response:
                if response.status_code != 200:
                    raise FetchFailed(f"it answered {response.status_code}")
                body = bytearray()
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > at_most:
                        raise FetchFailed(f"its answer has more than {at_most} bytes")
                return bytes(body)
    except trio.TooSlowError:
        raise FetchFailed(f"no answer within {within:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        raise FetchFailed(f"it cannot be asked ({type(error).__name__})") from None


async def guarded(url: str, allowed: Sequence[Network]) -> Place:
    """Where an address out of a certificate leads, if it may lead there. Raises `FetchFailed`."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise FetchFailed("is no URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise FetchFailed("is no http address")
    try:
        found = await trio.socket.getaddrinfo(parsed.host, parsed.port or 80, type=trio.socket.SOCK_STREAM)
        addresses = [ip_address(entry[4][0]) for entry in found]
    except (OSError, ValueError, UnicodeError):
        raise FetchFailed("its host cannot be resolved") from None
    if not addresses or not all(may_lead_to(address, allowed) for address in addresses):
        raise FetchFailed("leads to where a certificate's address may not")
    return Place(str(parsed.copy_with(host=str(addresses[0]))), parsed.netloc.decode("ascii"), parsed.host)


def may_lead_to(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    """Whether an address out of a certificate may be connected to."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
        or address in _METADATA
    )
