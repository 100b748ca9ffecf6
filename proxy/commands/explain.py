"""`penstock explain`: what becomes of a request with these credentials, told without a gateway.

Credentials come from files or standard input, never from the command line. A certificate's path is built and checked by
cryptography's verifier, which is a little stricter than OpenSSL in the handshake. Without a network a token's signature
cannot be checked: its claims are taken at their word then, and that is said.
"""

import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from proxy.config.files import Unreadable, read
from proxy.config.structs import Config, Issuer
from proxy.identity.authenticate import Directory, Presented
from proxy.identity.certificate import CertificateFacts, read_certificate
from proxy.identity.chain import read_chain
from proxy.identity.key import PREFIX, KeyedHash
from proxy.identity.known import IssuerKeys, Known, SigningKey, Undecided
from proxy.identity.principal import Principal
from proxy.identity.token import Parsed, TokenFault, Verified, Verifier, parse, verifiers
from proxy.policy.explain import Asked, Explainer, Explanation
from proxy.refusal import Reason, Refused
from proxy.supervisor.identity.client_keys import by_digest
from proxy.supervisor.identity.discovery import KeysUnavailable, fetch_keys
from proxy.supervisor.secret_file import SecretUnusable
from proxy.supervisor.store.database import StoreError
from proxy.supervisor.store.keys import KeyStore

_CREDENTIAL = 64 << 10
_BODY = 32 << 20


class CannotExplain(Exception):
    """What was given is of no use; the message says why, in one sentence."""


class Given(NamedTuple):
    """Where the credentials and the body are: files, `-` for standard input. `online`: check a token's signature."""

    certificate: Path | None = None
    token: Path | None = None
    key: Path | None = None
    body: Path | None = None
    online: bool = False


def explain(config: Config, method: str, target: str, given: Given, now: float | None = None) -> Explanation:
    """What the gateway would do at Unix time `now`. Raises `CannotExplain`."""
    if [given.token, given.key, given.body].count(Path("-")) > 1:
        raise CannotExplain("standard input can be one of the token, the key and the body: name a file for the others")
    body = _read(given.body, "the body", _BODY)
    notes: list[str] = []
    who = _identify(config, given, time.time() if now is None else now, notes.append)
    told = Explainer(config).explain(Asked(method, target, body), who)
    told.notes[:0] = notes
    return told


def lines(told: Explanation) -> list[str]:
    """An explanation for people: a word on the left, what there is to say of it on the right."""
    rows: list[tuple[str, Iterable[str]]] = [("decision", _decision(told))]
    who = told.identity
    if who is not None:
        rows.append(("client", [who.client + (f", tenant {who.tenant}" if who.tenant else "")]))
        rows.append(("credential", [f"{who.credential} {who.fingerprint}".strip()]))
        held = [("user", (who.user,) if who.user else ()), ("scopes", who.scopes), ("roles", who.roles)]
        rows += [(kind, [", ".join(names)]) for kind, names in [*held, ("groups", who.groups)] if names]
    if told.operation is not None:
        rows.append(("request", [told.operation + (f" with {told.model}" if told.model else "")]))
    rows.append(
        ("grants", [f"{g.grant}: " + ("allows" if g.allows else f"no, {g.field}: {g.found}") for g in told.grants])
    )
    rows.append(("sets", [f"{name} = {value}" for name, value in told.sets.items()]))
    used = {limit: "" if limit.used is None else f", {limit.used} used" for limit in told.limits}
    rows.append(("limits", [f"{limit.name} {limit.limit}{used[limit]}" for limit in told.limits]))
    rows.append(("backends", [_turn(b.turn) + f"{b.backend}/{b.deployment} ({b.region}, {b.tier}): {b.why}"
                              for b in told.backends]))  # fmt: skip
    if told.models is not None:
        rows.append(("models", told.models or ["none"]))
    rows.append(("notes", told.notes))
    found = []
    for name, texts in rows:
        for number, text in enumerate(texts):
            found.append(f"{'' if number else name:<12}{_clean(text)}")
    return found


def _decision(told: Explanation) -> list[str]:
    if told.decision == "allowed":
        return ["allowed" + (f" by {told.rule}" if told.rule else "")]
    return [f"refused: {told.status} {told.reason}", f"rule: {told.rule}", f"the client reads: {told.message}"]


def _turn(turn: int | None) -> str:
    return "-  " if turn is None else f"{turn}. "


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


# Who that is.


def _identify(config: Config, given: Given, now: float, note: Callable[[str], None]) -> Principal | Refused:
    """The principal, or why there is none; by the directory that the gateway itself asks."""
    token, key = _line(given.token, "the token"), _line(given.key, "the key")
    try:
        presented = Presented(
            _certificate(config, given.certificate, now, note),
            () if key is None else (key,),
            () if token is None else (token,),
        )
        directory = Directory(config.clients, config.issuers)
        if token is not None and not given.online:
            note("the token's signature was not checked, its claims are taken at their word: --online checks it")
            directory = Directory(config.clients, config.issuers, verified_by=_unsigned)
        known = _known(config, token if given.online else None)
        if key is not None and key.startswith(PREFIX):
            _learn_keys(known, config)
        return directory.authenticate(presented, known, now)
    except Refused as refused:
        return refused
    except Undecided as undecided:
        return Refused(undecided.otherwise, undecided.rule)


def _unsigned(issuers: Iterable[Issuer]) -> dict[str, Verifier]:
    """The rules of issuers whose signatures are not checked. Only to explain by."""
    return {iss: _Claims(rules.issuer, iss, rules.tenant) for iss, rules in verifiers(issuers).items()}


class _Claims(Verifier):
    """An issuer's rules but for its keys."""

    def verify(self, parsed: Parsed, _keys: IssuerKeys | None, now: float) -> Verified:
        self._judge_header(parsed.header)
        return self._judge_claims(parsed.claims, now)


def _known(config: Config, token: bytes | None) -> Known:
    """What is known to decide with: the keys of the issuer of a token that is given, and no others."""
    known = Known()
    known.signing_keys = {issuer.name: IssuerKeys(0, ()) for issuer in config.issuers}
    if token is not None:
        try:
            iss = parse(token).claims.get("iss")
        except TokenFault:
            return known
        rules = verifiers(config.issuers).get(iss) if isinstance(iss, str) else None
        if rules is not None:
            known.signing_keys[rules.issuer.name] = IssuerKeys(1, _fetched(rules.issuer))
    return known


def _learn_keys(known: Known, config: Config) -> None:
    """What the store says of the keys that were issued; without one, none was."""
    if not Path(config.state.path).exists():
        return
    try:
        store = KeyStore.open(config.state)
    except (StoreError, SecretUnusable) as error:
        raise CannotExplain(str(error)) from None
    known.key_hash = KeyedHash(store.pepper)
    known.client_keys = by_digest(store.all())
    store.close()


def _fetched(issuer: Issuer) -> tuple[SigningKey, ...]:
    try:
        return trio.run(fetch_keys, issuer).keys
    except KeysUnavailable as error:
        text = f"the keys of issuer {issuer.name} cannot be fetched: {error.fact}"
        raise CannotExplain(f"{text}; without --online its tokens are explained all the same") from None


def _certificate(config: Config, file: Path | None, now: float, note: Callable[[str], None]) -> CertificateFacts | None:
    content = _read(file, "the certificate", _CREDENTIAL)
    if content is None:
        return None
    settings = config.listen.client_certificates
    if settings.mode == "off":
        note("the listener asks for no client certificate, so this one is never shown")
        return None
    try:
        leaf, *others = x509.load_pem_x509_certificates(content)
        read_certificate(leaf.public_bytes(Encoding.DER))
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise CannotExplain(f"{file} holds no certificate that can be read: give PEM, the leaf first") from None
    roots = _certificates(settings.roots)
    verifier = PolicyBuilder().store(Store(roots)).time(datetime.fromtimestamp(now, UTC)).build_client_verifier()
    try:
        path = verifier.verify(leaf, [*others, *_certificates(settings.intermediates)]).chain
    except VerificationError as error:
        note("the handshake would fail, and no request would come of it")
        raise Refused(Reason.CERTIFICATE_REFUSED, f"path: {str(error).partition(' (encountered')[0]}") from None
    note("its path: " + ", issued by ".join(c.subject.rfc4514_string() for c in path))
    if settings.revocation != "off":
        note("whether the certificate was revoked was not checked: the running gateway knows")
    facts = read_chain(tuple(certificate.public_bytes(Encoding.DER) for certificate in path))
    if facts.fault is not None:
        raise Refused(*facts.fault)
    return facts


def _certificates(files: Iterable[str]) -> list[x509.Certificate]:
    return [c for file in files for c in x509.load_pem_x509_certificates(Path(file).read_bytes())]


# What was given.


def _read(file: Path | None, what: str, most: int) -> bytes | None:
    if file is None:
        return None
    if file == Path("-"):
        if sys.stdin is None:
            raise CannotExplain("there is no standard input: name a file")
        content = sys.stdin.buffer.read(most + 1)
        if len(content) > most:
            raise CannotExplain(f"{what} is larger than {most} bytes")
        return content
    try:
        return read(file, most)
    except Unreadable as error:
        raise CannotExplain(f"{file} {error}") from None


def _line(file: Path | None, what: str) -> bytes | None:
    """A credential: one line of visible characters."""
    content = _read(file, what, _CREDENTIAL)
    if content is None:
        return None
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line or any(byte < 33 or byte > 126 for byte in line):
        raise CannotExplain(f"{what} must be one line of visible ASCII characters, without spaces")
    return line
