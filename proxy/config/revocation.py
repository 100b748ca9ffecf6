"""What is wrong with how revocation is asked for: a policy without sources, addresses and files of no use."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

from proxy.config.address import is_network
from proxy.config.files import Unreadable, read
from proxy.config.problem import Problem, quoted
from proxy.config.structs import ClientCertificates
from proxy.identity.crl import CRL_AT_MOST, Crl, CrlUnusable, read_crls

_MOST = 4 << 20


def is_url(source: str) -> bool:
    """Whether a source of CRLs is an address, not a file."""
    return source.startswith(("http://", "https://"))


def problems(key: str, settings: ClientCertificates, now: datetime) -> Iterator[Problem]:
    """Everything about `crls`, `ocsp` and `revocation`; files are read and judged at `now`."""
    asked = bool(settings.crls) or settings.ocsp != "off"
    if settings.revocation in ("soft", "hard") and not asked:
        yield Problem(
            f"{key}.revocation",
            f"{quoted(settings.revocation)}, and nothing to tell it by",
            'give crls, or ocsp = "aia" or a responder\'s address',
        )
    if settings.mode == "off" and settings.ocsp != "off":
        yield Problem(f"{key}.ocsp", 'set, while mode is "off"', 'set mode to "optional" or "required"')
    if settings.ocsp not in ("off", "aia") and not _is_address(settings.ocsp):
        yield Problem(f"{key}.ocsp", "is neither a mode nor an address", 'give "off", "aia" or "http://…"')
    for index, network in enumerate(settings.ocsp_allow):
        if not is_network(network):
            yield Problem(f"{key}.ocsp_allow[{index}]", quoted(network), 'give a network such as "10.0.0.0/8"')
    if settings.ocsp_allow and settings.ocsp != "aia":
        yield Problem(f"{key}.ocsp_allow", "set", 'it is for ocsp = "aia": leave it out')
    authorities = _authorities(settings)
    for index, source in enumerate(settings.crls):
        at = f"{key}.crls[{index}]"
        if not is_url(source):
            yield from _file(at, source, authorities, now)
        elif not _is_address(source):
            yield Problem(at, "is no address", 'give "http://" or "https://", a host and a path')


def _file(key: str, path: str, authorities: list[x509.Certificate], now: datetime) -> Iterator[Problem]:
    try:
        crls = read_crls(read(path, CRL_AT_MOST))
    except Unreadable as error:
        yield Problem(key, f"{path} {error}", "name a readable file")
        return
    except CrlUnusable as error:
        yield Problem(key, f"{path} {error}", "give whole CRLs, PEM or DER")
        return
    for crl in crls:
        if crl.next_update <= now.timestamp():
            yield Problem(key, f"{path} lapsed on {_day(crl.next_update, now)}", "fetch the authority's present one")
        if crl.this_update > now.timestamp():
            yield Problem(key, f"{path} is not valid before {_day(crl.this_update, now)}", "give one that is")
        if _forged(crl, authorities):
            yield Problem(
                key, f"{path} names an authority of roots or intermediates, which has not signed it", "fetch it anew"
            )


def _forged(crl: Crl, authorities: list[x509.Certificate]) -> bool:
    """By name one of them has issued it, by signature none. An authority that clients present need not be listed."""
    named = [authority for authority in authorities if authority.subject == crl.issuer]
    return bool(named) and not any(crl.signed_by(authority) for authority in named)


def _authorities(settings: ClientCertificates) -> list[x509.Certificate]:
    """All that can be read: what cannot is a problem told elsewhere."""
    found: list[x509.Certificate] = []
    for path in (*settings.roots, *settings.intermediates):
        try:
            found += x509.load_pem_x509_certificates(read(path, _MOST))
        except (Unreadable, ValueError):
            continue
    return found


def _day(moment: float, now: datetime) -> str:
    return f"{datetime.fromtimestamp(moment, now.tzinfo):%Y-%m-%d %H:%M} UTC"


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and "@" not in text and "#" not in text
    return plain and url.scheme in ("http", "https") and bool(url.hostname) and port != 0
