"""What is wrong with how backends are connected to: forward proxies, and what proves the gateway to them."""

from collections.abc import Iterator

from proxy.config.address import http_fault
from proxy.config.problem import Problem
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.shape import REFERENCE
from proxy.config.structs import Config, SecretRef

_REMEDY = 'give "http://", a host and a port: what goes through its tunnel is TLS with the backend'


def problems(config: Config) -> Iterator[Problem]:
    upstream = config.upstream
    proxies = [("upstream.forward_proxy", upstream.forward_proxy)]
    proxies += [
        (f"backends[{index}].forward_proxy", backend.forward_proxy)
        for index, backend in enumerate(config.backends)
        if backend.forward_proxy != "none"
    ]
    for key, url in proxies:
        fault = http_fault(url) if url is not None else None
        if fault is not None:
            yield Problem(key, fault, _REMEDY)
    ref = upstream.forward_proxy_credential
    if ref is not None:
        if upstream.forward_proxy is None:
            yield Problem("upstream.forward_proxy_credential", "set, without upstream.forward_proxy", "leave it out")
        yield from _credential("upstream.forward_proxy_credential", ref)


def _credential(key: str, ref: SecretRef) -> Iterator[Problem]:
    try:
        user, colon, _ = resolve(ref).reveal().partition(":")
    except SecretMissing as error:
        yield Problem(key, str(error), f"give {REFERENCE}, with the secret there")
        return
    if not user or not colon:
        yield Problem(key, "is no user name and password", 'put "user:password" there')
