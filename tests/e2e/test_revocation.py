"""Revocation through the real listener: by CRL and by OCSP, sources that fail in every way, and streams that run."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from ssl import SSLSocket
from typing import Any

import pytest

from bench.mock.process import MockProcess
from certs.bad import Workshop
from certs.pki import Pair, Pki
from tests.e2e.gateway import Gateway, gateway, wait_for
from tests.e2e.pki import (
    Outcome,
    ask,
    connected,
    lists,
    print_of,
    quietly,
    reconfigure,
    record_of,
    serial,
    status_on,
    text,
)

STREAM = b'{"messages":[{"role":"user","content":"a"}],"stream":true,"max_tokens":%d}'
FAST = 'revocation_refresh = "300ms"\n'


@pytest.fixture(scope="module")
def workshop(keyed_pki: Pki) -> Workshop:
    return Workshop(keyed_pki)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, keyed_pki: Pki, keyed_mock: MockProcess) -> Iterator[Gateway]:
    """Two workers, by CRL; tests put other configurations in force."""
    whole = text(keyed_pki, keyed_mock, lists(keyed_mock), workers=2)
    with gateway(tmp_path_factory.mktemp("gateway"), keyed_pki, keyed_mock, whole) as up:
        yield up


class Given:
    """The gateway under settings of client certificates."""

    def __init__(self, running: Gateway, pki: Pki, mock: MockProcess) -> None:
        self.running = running
        self._pki = pki
        self.mock = mock
        self._now = lists(mock)

    def under(self, settings: str) -> Gateway:
        if settings != self._now:
            reconfigure(self.running, text(self._pki, self.mock, settings, workers=2))
            self._now = settings
        return self.running

    def by_lists(self, fault: str = "", mode: str = "hard") -> Gateway:
        return self.under(lists(self.mock, fault) + f'revocation = "{mode}"\n')

    def by_responder(self, mode: str = "hard") -> Gateway:
        return self.under(f'ocsp = "{self.mock.revocation_url}/ocsp"\nrevocation = "{mode}"\n' + FAST)


@pytest.fixture(scope="module")
def all_given(running: Gateway, keyed_pki: Pki, keyed_mock: MockProcess) -> Given:
    return Given(running, keyed_pki, keyed_mock)


@pytest.fixture
def given(all_given: Given) -> Iterator[Given]:
    yield all_given
    all_given.mock.revocation(crl="ok", ocsp="ok", delay=0.0, life=3600.0)


def outcome(gateway: Gateway, pair: Pair) -> tuple[int | None, str | None, str | None]:
    """Status, and the record's reason and rule."""
    status = ask(gateway, pair).status
    record = record_of(gateway, pair)
    return status, record["reason"], record["rule"]


def refusal_of(gateway: Gateway, pair: Pair, reason: str) -> dict[str, Any]:
    fingerprint = print_of(pair)
    return gateway.record(lambda r: r["credential"]["fingerprint"] == fingerprint and r["reason"] == reason)


# Sources that say something.


@pytest.mark.parametrize("source", ["lists", "responder"])
def test_a_leaf_is_revoked(given: Given, workshop: Workshop, tmp_path: Path, source: str) -> None:
    pair, other = workshop.make(tmp_path, "leaf"), workshop.make(tmp_path, "other")
    up = given.by_lists() if source == "lists" else given.by_responder()
    with connected(up, pair) as open_before, connected(up, other) as another:
        assert (status_on(open_before), status_on(another)) == (200, 200)
        given.mock.revocation(authority="devices", revoke=[serial(pair)])
        wait_for(lambda: ask(up, pair).status == 401)
        assert status_on(open_before) == 401
        assert status_on(another) == 200
    record = refusal_of(up, pair, "certificate_revoked")
    assert record["rule"] == f"the certificate is revoked by {'CRL' if source == 'lists' else 'OCSP'}"
    given.mock.revocation(authority="devices", restore=[serial(pair)])
    wait_for(lambda: ask(up, pair).status == 200)


@pytest.mark.parametrize("source", ["lists", "responder"])
def test_an_intermediate_is_revoked(given: Given, workshop: Workshop, tmp_path: Path, source: str) -> None:
    pair = workshop.make(tmp_path, "leaf")
    intermediate = f"{workshop.devices.certificate.serial_number:x}"
    up = given.by_lists() if source == "lists" else given.by_responder()
    assert ask(up, pair).status == 200
    given.mock.revocation(authority="root", revoke=[intermediate])
    try:
        wait_for(lambda: ask(up, pair).status == 401)
        rule = refusal_of(up, pair, "certificate_revoked")["rule"]
        assert rule.startswith("the authority 1 above it is revoked")
    finally:
        given.mock.revocation(authority="root", restore=[intermediate])
    wait_for(lambda: ask(up, pair).status == 200)


@pytest.mark.parametrize("fault", ["delegate", "no_nonce"])
def test_answers_that_are_right_in_another_way(given: Given, workshop: Workshop, tmp_path: Path, fault: str) -> None:
    given.mock.revocation(ocsp=fault)
    assert ask(given.by_responder(), workshop.make(tmp_path, "leaf")).status == 200


# Sources that fail.

ANSWERS = {
    "bad_signature": "the answer's signature is not valid",
    "wrong_signer": "the answer's signature is not valid",
    "lapsed": "the answer has lapsed",
    "not_yet": "the answer is not valid yet",
    "other_nonce": "the answer is to another request",
    "other_certificate": "the answer is about another certificate",
    "other_issuer": "the answer is about another certificate",
    "delegate_without_purpose": "the responder's certificate is not for that purpose",
    "delegate_expired": "the responder's certificate is not valid now",
    "delegate_of_stranger": "the responder's certificate is not the issuer's",
    "try_later": "the responder answered try_later",
    "nonsense": "the answer cannot be read",
    "empty": "the answer cannot be read",
    "huge": "its answer has more than 65536 bytes",
    "error": "it answered 500",
    "redirect": "it answered 302",
    "down": "it cannot be asked",
    "slow": "no answer",
}


@pytest.mark.parametrize("fault", ANSWERS)
def test_a_responder_that_cannot_be_relied_on(given: Given, workshop: Workshop, tmp_path: Path, fault: str) -> None:
    """Under hard revocation, and under soft, where its record says so."""
    given.mock.revocation(ocsp="ok" if fault == "slow" else fault, delay=30.0 if fault == "slow" else 0.0)
    # One that cannot be reached is left alone for a while: another address of the same one has no past.
    ocsp = f'ocsp = "{given.mock.revocation_url}/ocsp/{fault}"\n' + FAST
    for mode, expected in (("hard", (503, "identity_unavailable")), ("soft", (200, None))):
        up = given.under(f'{ocsp}revocation = "{mode}"\n')
        began = time.monotonic()
        status, reason, rule = outcome(up, workshop.make(tmp_path, mode))
        assert time.monotonic() - began < 2.5
        assert (status, reason) == expected
        assert rule is not None
        assert ANSWERS[fault] in rule
        assert rule.startswith("revocation not checked: ") is (mode == "soft")


@pytest.mark.parametrize(("mode", "expected"), [("hard", (401, "certificate_status_unknown")), ("soft", (200, None))])
def test_a_responder_that_does_not_know(
    given: Given, workshop: Workshop, tmp_path: Path, mode: str, expected: tuple[int, str | None]
) -> None:
    given.mock.revocation(ocsp="unknown")
    up = given.under(f'ocsp = "{given.mock.revocation_url}/ocsp/unknown"\nrevocation = "{mode}"\n' + FAST)
    assert outcome(up, workshop.make(tmp_path, "leaf"))[:2] == expected


LISTS = ("lapsed", "not_yet", "bad_signature", "wrong_signer", "delta", "indirect", "some_reasons", "critical",
         "nonsense", "empty", "huge", "error", "redirect", "down")  # fmt: skip


@pytest.mark.parametrize("fault", LISTS)
def test_a_list_that_cannot_be_relied_on(given: Given, workshop: Workshop, tmp_path: Path, fault: str) -> None:
    pair = workshop.make(tmp_path, "leaf")
    status, reason, _ = outcome(given.by_lists(fault), workshop.make(tmp_path, "hard"))
    # Where the source gave something that is no one's CRL, waiting will not cure it.
    told = fault in ("bad_signature", "wrong_signer")
    assert (status, reason) == ((401, "certificate_status_unknown") if told else (503, "identity_unavailable"))
    status, reason, rule = outcome(given.by_lists(fault, "soft"), pair)
    assert (status, reason) == (200, None)
    assert rule is not None
    assert rule.startswith("revocation not checked: ")


def test_a_list_serves_until_it_lapses(given: Given, workshop: Workshop, tmp_path: Path) -> None:
    pair = workshop.make(tmp_path, "leaf")
    up = given.by_lists()
    began = time.time()
    given.mock.revocation(life=2.5)
    wait_for(lambda: len(given.mock.received("revocation", since=began)) >= 4)
    assert ask(up, pair).status == 200
    given.mock.revocation(crl="down")
    assert ask(up, pair).status == 200
    wait_for(lambda: ask(up, pair).status == 503)
    assert "has lapsed" in refusal_of(up, pair, "identity_unavailable")["rule"]
    given.mock.revocation(crl="ok", life=3600.0)
    wait_for(lambda: ask(up, pair).status == 200)


def test_an_older_list_takes_no_newer_ones_place(given: Given, workshop: Workshop, tmp_path: Path) -> None:
    pair = workshop.make(tmp_path, "leaf")
    up = given.by_lists()
    assert ask(up, pair).status == 200
    given.mock.revocation(authority="devices", revoke=[serial(pair)])
    wait_for(lambda: ask(up, pair).status == 401)
    given.mock.revocation(crl="older")
    wait_for(lambda: "is older than the one before" in up.log)
    assert ask(up, pair).status == 401


def test_by_the_certificates_own_address(given: Given, workshop: Workshop, tmp_path: Path) -> None:
    """It may not lead to this machine, unless that is allowed."""
    url = f"{given.mock.revocation_url}/ocsp"
    pair = workshop.make(tmp_path, "leaf", lambda plan: setattr(plan, "responder", url))
    aia = f'ocsp = "aia"\ncrls = ["{given.mock.revocation_url}/crl/root.crl"]\n' + FAST
    status, reason, rule = outcome(given.under(aia), pair)
    assert (status, reason) == (503, "identity_unavailable")
    assert rule is not None
    assert "leads to where a certificate's address may not" in rule
    up = given.under(aia + 'ocsp_allow = ["127.0.0.0/8"]\n')
    wait_for(lambda: ask(up, pair).status == 200)


def test_a_list_on_file(given: Given, workshop: Workshop, tmp_path: Path) -> None:
    """Files are watched: a new one is in force without being told."""
    pair = workshop.make(tmp_path, "leaf")
    files = [tmp_path / "root.crl", tmp_path / "devices.crl"]
    files[0].write_bytes(workshop.root.crl())
    files[1].write_bytes(workshop.devices.crl())
    up = given.under(f'crls = ["{files[0]}", "{files[1]}"]\n')
    with connected(up, pair) as sock:
        assert status_on(sock) == 200
        workshop.devices.revoked.add(int(serial(pair), 16))
        files[1].write_bytes(workshop.devices.crl())
        wait_for(lambda: ask(up, pair).status == 401)
        assert status_on(sock) == 401


# Streams.


def start_stream(up: Gateway, pair: Pair, tokens: int) -> tuple[SSLSocket, bytes]:
    sock = connected(up, pair)
    body = STREAM % tokens
    sock.sendall(
        b"POST /openai/deployments/slow/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    return sock, sock.recv(65536)


@pytest.mark.parametrize("source", ["lists", "responder"])
def test_while_streams_run(given: Given, workshop: Workshop, tmp_path: Path, source: str) -> None:
    """A hundred streams over two workers: the revoked client's next request fails, nobody else is disturbed."""
    up = given.by_lists() if source == "lists" else given.by_responder()
    good = workshop.make(tmp_path, "good")
    finishing = workshop.make(tmp_path, "finishing")
    ended = workshop.make(tmp_path, "ended", lambda plan: setattr(plan, "uris", ("spiffe://contoso/ended",)))
    pairs = [ended] * 10 + [finishing] * 10 + [good] * 80
    with ThreadPoolExecutor(20) as pool, contextlib.ExitStack() as stack:
        started = list(pool.map(lambda pair: start_stream(up, pair, 400 if pair is ended else 40), pairs))
        socks = [stack.enter_context(sock) for sock, _ in started]
        assert all(first.startswith(b"HTTP/1.1 200") for _, first in started)
        given.mock.revocation(authority="devices", revoke=[serial(ended), serial(finishing)])
        wait_for(lambda: ask(up, ended).status == 401)
        learned = time.time()
        wait_for(lambda: ask(up, finishing).status == 401)
        accepted = [
            r for r in up.records() if r["credential"]["fingerprint"] == print_of(finishing) and not r["reason"]
        ]
        assert all(datetime.fromisoformat(r["time"]).timestamp() < learned + 1.0 for r in accepted)
        assert ask(up, good).status == 200
        rest = list(pool.map(quietly, socks))
    for number, received in enumerate(rest):
        assert (b"[DONE]" in received) is (number >= 10), number
    mine = [
        r for r in wait_for(lambda: _streams(up, ended, 10))
        if r["credential"]["fingerprint"] == print_of(ended)
    ]  # fmt: skip
    assert {(r["decision"], r["end"], r["reason"]) for r in mine} == {("allowed", "refused", "certificate_revoked")}


def _streams(up: Gateway, pair: Pair, count: int) -> list[dict[str, Any]] | None:
    found = [r for r in up.records() if r["stream"] and r["credential"]["fingerprint"] == print_of(pair)]
    return found if len(found) == count else None


def test_outcomes_are_told_apart(given: Given, workshop: Workshop, tmp_path: Path) -> None:
    """With revocation off, nothing is asked."""
    given.mock.revocation(ocsp="down", crl="down")
    up = given.under('revocation = "off"\n')
    assert ask(up, workshop.make(tmp_path, "leaf")) == Outcome(200, None)
