"""Clients that one credential could name: a credential that could be two clients' is neither's. Pure.

Two matches overlap unless something that both ask for differs: the issuer, the subject, all serials, all thumbprints,
or all SANs of one kind. One that asks for no name at all (an issuer alone) covers whatever that issuer gives out. Two
that ask for different kinds of names, a URI of the one and a DNS name of the other, are taken to be apart, as an
authority names one subject in a certificate; should a certificate have both, it names neither client, and is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.config.structs import CertificateMatch, Client, TokenMatch
from proxy.identity.certificate import canonical_name, canonical_serial


class Clash(NamedTuple):
    """The client at index `second` can show what the one at `first` can; `field` is where in the client."""

    first: int
    second: int
    field: str


class _Names(NamedTuple):
    issuer: str | None
    of_kind: dict[str, frozenset[str]]


def clashes(clients: Sequence[Client]) -> Iterator[Clash]:
    """Every client that shares a credential with an earlier one, once for each kind of credential."""
    yield from _of_keys(clients)
    yield from _of_tokens(clients)
    yield from _of_certificates(clients)


def overlap(one: CertificateMatch, other: CertificateMatch) -> bool:
    """Whether there may be a certificate that both match."""
    return _overlap(_names(one), _names(other))


def _of_keys(clients: Sequence[Client]) -> Iterator[Clash]:
    owners: dict[str, int] = {}
    for index, client in enumerate(clients):
        digests = {digest.lower() for digest in client.key_hashes}
        taken = [owners[digest] for digest in digests if digest in owners]
        if taken:
            yield Clash(min(taken), index, "key_hashes")
        for digest in digests:
            owners.setdefault(digest, index)


def _of_tokens(clients: Sequence[Client]) -> Iterator[Clash]:
    owners: dict[TokenMatch, int] = {}
    for index, client in enumerate(clients):
        if client.token is not None:
            owner = owners.setdefault(client.token, index)
            if owner != index:
                yield Clash(owner, index, "token")


def _of_certificates(clients: Sequence[Client]) -> Iterator[Clash]:
    """By names in common, so that a thousand clients are not compared each with each."""
    known: dict[int, _Names] = {}
    nameless: list[int] = []
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, client in enumerate(clients):
        if client.certificate is None:
            continue
        names = _names(client.certificate)
        pairs = [(kind, value) for kind, values in names.of_kind.items() for value in values]
        if pairs:
            candidates: Iterable[int] = {*nameless, *(i for pair in pairs for i in by_name.get(pair, ()))}
        else:
            candidates = known
        first = next((i for i in sorted(candidates) if _overlap(known[i], names)), None)
        if first is not None:
            yield Clash(first, index, "certificate")
        known[index] = names
        for pair in pairs:
            by_name.setdefault(pair, []).append(index)
        if not pairs:
            nameless.append(index)


def _names(match: CertificateMatch) -> _Names:
    of_kind = {
        "subject": frozenset((_canonical(match.subject),) if match.subject is not None else ()),
        "san_uri": frozenset(match.san_uri),
        "san_dns": frozenset(name.lower() for name in match.san_dns),
        "san_email": frozenset(match.san_email),
        "thumbprints": frozenset(entry.lower() for entry in match.thumbprints),
        "serials": frozenset(_serial(entry) for entry in match.serials),
    }
    issuer = _canonical(match.issuer) if match.issuer is not None else None
    return _Names(issuer, {kind: values for kind, values in of_kind.items() if values})


def _canonical(name: str) -> str:
    try:
        return canonical_name(name)
    except ValueError:
        return name  # a problem of its own, found elsewhere


def _serial(text: str) -> str:
    try:
        return canonical_serial(text)
    except ValueError:
        return text  # a problem of its own, too


def _overlap(one: _Names, other: _Names) -> bool:
    if one.issuer is not None and other.issuer is not None and one.issuer != other.issuer:
        return False
    shared = one.of_kind.keys() & other.of_kind.keys()
    if any(one.of_kind[kind].isdisjoint(other.of_kind[kind]) for kind in shared):
        return False
    return bool(shared) or not one.of_kind or not other.of_kind
