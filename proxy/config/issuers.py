"""What the types cannot say of issuers of tokens, and of the clients that are named by theirs. Offline."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from proxy.config import pem
from proxy.config.problem import Problem, one_of, quoted, within
from proxy.config.structs import Client, Config, Issuer
from proxy.identity.token import ALGORITHMS, TENANT

_LEEWAY = 600.0
_REFRESH = 86_400.0
_TENANTS = 1_000


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    """Everything that is wrong with issuers and with references to them."""
    owners: dict[str, int] = {}
    for index, issuer in enumerate(config.issuers):
        key = f"issuers[{index}]"
        yield from _addresses(key, issuer)
        yield from _template(key, issuer)
        yield from _claims(key, issuer)
        yield from _times(key, issuer)
        if issuer.ca is not None:
            yield from pem.trust(f"{key}.ca", issuer.ca, now)
        for iss in _names(issuer):
            owner = owners.setdefault(iss, index)
            if owner != index:
                yield Problem(
                    f"{key}.issuer", f"issuers[{owner}] has it too", "a token is judged by one: give each once"
                )
    for index, client in enumerate(config.clients):
        yield from _reference(f"clients[{index}].token", client, config)


def _names(issuer: Issuer) -> frozenset[str]:
    """Every `iss` that is this issuer's."""
    if TENANT in issuer.issuer:
        return frozenset(issuer.issuer.replace(TENANT, tenant) for tenant in issuer.tenants)
    return frozenset((issuer.issuer,))


def _addresses(key: str, issuer: Issuer) -> Iterator[Problem]:
    for field, text in (("issuer", issuer.issuer.replace(TENANT, "tenant")), ("jwks", issuer.jwks)):
        fault = _fault(text) if text is not None else None
        if fault is not None:
            yield Problem(f"{key}.{field}", fault, "give an https URL, and no query, as the issuer spells it")


def _fault(text: str) -> str | None:
    """What keeps an address from being https, with a host and perhaps a path. Quotes it only where it has no secret."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return "is no URL"
    if "@" in text or "?" in text or "#" in text:
        return "has a user name, a query or a fragment in it"
    if not (text.isascii() and text.isprintable()) or " " in text or not url.hostname or "{" in text or port == 0:
        return f"{quoted(text)} is no URL"
    return None if url.scheme == "https" else f"{quoted(text)} is not https"


def _template(key: str, issuer: Issuer) -> Iterator[Problem]:
    if TENANT in issuer.issuer:
        if not issuer.tenants:
            yield Problem(f"{key}.tenants", "empty", f"name the tenants that {TENANT} may stand for")
        if issuer.issuer.count(TENANT) > 1:
            yield Problem(f"{key}.issuer", f"has {TENANT} more than once", "give it once")
    elif issuer.tenants:
        yield Problem(
            f"{key}.tenants", f"set, and issuer has no {TENANT}", f"put {TENANT} in its place, or leave it out"
        )
    if len(issuer.tenants) > _TENANTS or len(set(issuer.tenants)) < len(issuer.tenants):
        yield Problem(f"{key}.tenants", "too many, or one twice", f"give at most {_TENANTS}, each once")
    for index, tenant in enumerate(issuer.tenants):
        if not tenant.isascii() or not tenant.replace("-", "").replace(".", "").isalnum():
            yield Problem(f"{key}.tenants[{index}]", quoted(tenant), "give the tenant's identifier")


def _claims(key: str, issuer: Issuer) -> Iterator[Problem]:
    for index, algorithm in enumerate(issuer.algorithms):
        if algorithm not in ALGORITHMS:
            yield Problem(f"{key}.algorithms[{index}]", quoted(algorithm), one_of(ALGORITHMS))
    for field in ("audiences", "algorithms", "client_claim", "user_claim"):
        if not getattr(issuer, field):
            yield Problem(f"{key}.{field}", "empty", "name at least one")
    for field in ("audiences", "types", "client_claim", "user_claim"):
        value = getattr(issuer, field)
        if "" in (value if isinstance(value, tuple) else ()):
            yield Problem(f"{key}.{field}", "has an empty text in it", "leave that out")
    for name, allowed in issuer.required_claims.items():
        if not allowed or (isinstance(allowed, tuple) and "" in allowed):
            yield Problem(within(f"{key}.required_claims", name), "empty", "give the value, or a list of those allowed")


def _times(key: str, issuer: Issuer) -> Iterator[Problem]:
    if issuer.leeway > _LEEWAY:
        yield Problem(f"{key}.leeway", f"{issuer.leeway:g} s", f"clocks differ by less: give at most {_LEEWAY:g} s")
    if issuer.refresh > _REFRESH:
        yield Problem(f"{key}.refresh", f"{issuer.refresh:g} s", "keys that are withdrawn must go: give at most a day")
    if issuer.refetch_interval > issuer.refresh:
        yield Problem(f"{key}.refetch_interval", "longer than refresh", "give at most as much")


def _reference(key: str, client: Client, config: Config) -> Iterator[Problem]:
    if client.token is None:
        return
    names = [issuer.name for issuer in config.issuers]
    if client.token.issuer not in names:
        yield Problem(f"{key}.issuer", f"{quoted(client.token.issuer)} is not defined", one_of(names))
    if not client.token.client:
        yield Problem(f"{key}.client", "empty", "give what the issuer's client claim has")
