"""Certificates and roots are replaced while clients stream: nobody is disturbed, and who comes next gets the new."""

import base64
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import NoEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from bench.mock.process import MockProcess
from certs.pki import Pki, build
from tests.e2e.gateway import WITHIN, Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, split
from tests.e2e.test_life import Stream, serving, workers

STREAMS = 50


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """What is rotated to: of authorities of its own, so that nothing old can be mistaken for it."""
    return build(tmp_path_factory.mktemp("later"))


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory, pki: Pki, later: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """A gateway whose files may be replaced, and whose clients trust the roots of before and after."""
    folder = tmp_path_factory.mktemp("rotating")
    own = Pki(folder / "pki", pki.pairs)
    own.directory.mkdir()
    own.server_root.write_bytes(pki.server_root.read_bytes() + later.server_root.read_bytes())
    text = config_text(pki, mock, more="[expiry]\nwarn_days = [1000]")
    for file in (pki.pairs["server"].certificate, pki.pairs["server"].key, pki.client_root):
        shutil.copy(file, own.directory)
        text = text.replace(f'"{file}"', f'"{own.directory / file.name}"')
    with gateway(folder, own, mock, text) as running:
        wait_for(lambda: serving(running, 2))
        yield running


def put(running: Gateway, file: Path) -> None:
    """Replace the gateway's file of this name at once, as those who rotate certificates do."""
    target = running.pki.directory / file.name
    beside = target.with_suffix(".new")
    shutil.copy(file, beside)
    os.replace(beside, target)


def served(running: Gateway) -> bytes:
    """The leaf that a new handshake gets, in DER."""
    with running.connect() as sock:
        found = sock.getpeercert(binary_form=True)
    assert found is not None
    return found


def leaf(pki: Pki) -> bytes:
    pem, end, _ = pki.pairs["server"].certificate.read_text().partition("-----END CERTIFICATE-----\n")
    return ssl.PEM_cert_to_DER_cert(pem + end)


def streams_of(running: Gateway) -> list[Stream]:
    streams = [Stream(running, 60) for _ in range(STREAMS)]
    wait_for(lambda: sum(worker["streams"] for worker in workers(running)) == STREAMS)
    return streams


def all_whole(streams: list[Stream]) -> bool:
    for stream in streams:
        stream.join(20)
    return all(stream.whole for stream in streams)


def version(running: Gateway) -> int:
    found: int = running.api("GET", "/api/status").json()["config"]["version"]
    return found


def in_force(running: Gateway, after: int) -> bool:
    """Every worker serves under a version later than `after`."""
    return all(worker["version"] > after for worker in workers(running))


def refused_reload(running: Gateway, since: float) -> dict[str, Any] | None:
    last: dict[str, Any] | None = running.api("GET", "/api/status").json()["config"]["last_reload"]
    return last if last and last["time"] >= since and not last["ok"] else None


def answered(running: Gateway, pki: Pki) -> bool:
    """A request with a client certificate of this PKI, and no other credential, is answered."""
    pair = pki.pairs["turbine-7"]
    context = running.context()
    context.load_cert_chain(pair.certificate, pair.key)
    with httpx.Client(base_url=running.url, verify=context, timeout=WITHIN) as client:
        try:
            return client.get("/openai/v1/models").status_code == 200
        except httpx.TransportError:
            return False


def test_first_the_certificate_then_its_key(rotating: Gateway, pki: Pki, later: Pki) -> None:
    before, since = version(rotating), time.time()
    streams = streams_of(rotating)
    pair = later.pairs["server"]
    put(rotating, pair.certificate)
    refused = wait_for(lambda: refused_reload(rotating, since))
    assert "is not the key of the first certificate" in refused["error"]
    assert served(rotating) == leaf(pki), "half of a pair is left alone"
    assert version(rotating) == before
    put(rotating, pair.key)
    wait_for(lambda: in_force(rotating, before))
    assert served(rotating) == leaf(later)
    assert split(rotating.raw(ask(1)))[0] == 200
    assert all_whole(streams)


def test_certificate_key_and_roots_at_once(rotating: Gateway, pki: Pki, later: Pki) -> None:
    assert answered(rotating, pki)
    assert not answered(rotating, later)
    streams = streams_of(rotating)
    put(rotating, pki.pairs["server"].certificate)
    put(rotating, pki.pairs["server"].key)
    put(rotating, later.client_root)
    wait_for(lambda: served(rotating) == leaf(pki) and answered(rotating, later))
    wait_for(lambda: in_force(rotating, version(rotating) - 1))
    assert not answered(rotating, pki)
    assert all_whole(streams)


def test_what_runs_out_is_listed_measured_and_announced(rotating: Gateway, pki: Pki) -> None:
    put(rotating, pki.client_root)
    wait_for(lambda: answered(rotating, pki))
    listed = wait_for(lambda: [c for c in rotating.api("GET", "/api/certificates").json() if c["client"] == "first"])
    assert (listed[0]["name"], listed[0]["use"]) == ("client first", "client")
    assert listed[0]["subject"] == "CN=turbine-7,O=Contoso"
    ends = [c["not_after"] for c in rotating.api("GET", "/api/certificates").json()]
    assert ends == sorted(ends)
    metrics = rotating.api("GET", "/metrics").text
    for name in ("listen.certificate", "listen.client_certificates.roots[0]", "backends.swc.ca", "client first"):
        assert f'penstock_certificate_expiry_seconds{{certificate="{name}"}} ' in metrics
    assert "client first" in rotating.api("GET", "/").text
    assert "certificate_expiring: the certificate of client first (CN=turbine-7,O=Contoso) expires in" in rotating.log
    assert rotating.log.count("certificate_expiring: backends.swc.ca (") == 1, "said once, however often it is reloaded"


@pytest.fixture(scope="module")
def vaulted(tmp_path_factory: pytest.TempPathFactory, pki: Pki, later: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """A gateway whose certificate is in a vault, which fails the first time it is asked."""
    folder = tmp_path_factory.mktemp("vaulted")
    own = Pki(folder / "pki", pki.pairs)
    own.directory.mkdir()
    own.server_root.write_bytes(pki.server_root.read_bytes() + later.server_root.read_bytes())
    server = pki.pairs["server"]
    text = config_text(pki, mock, more=f'[key_vault]\npoll = "1s"\nca = "{pki.server_root}"').replace(
        f'certificate = "{server.certificate}"\nprivate_key = "{server.key}"',
        f'certificate = {{ key_vault = "{mock.vault}", name = "gateway" }}',
    )
    mock.secret("gateway", in_pem(pki))
    mock.fault("error", instance="vault", times=1)
    with gateway(folder, own, mock, text) as running:
        wait_for(lambda: serving(running, 2))
        yield running
    mock.clear()


def in_pem(pki: Pki) -> str:
    pair = pki.pairs["server"]
    return pair.key.read_text() + pair.certificate.read_text()


def in_pkcs12(pki: Pki) -> str:
    pair = pki.pairs["server"]
    first, *more = x509.load_pem_x509_certificates(pair.certificate.read_bytes())
    key = load_pem_private_key(pair.key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return base64.b64encode(serialize_key_and_certificates(None, key, first, more, NoEncryption())).decode()


def test_a_new_version_in_the_vault_while_clients_stream(
    vaulted: Gateway, pki: Pki, later: Pki, mock: MockProcess
) -> None:
    assert served(vaulted) == leaf(pki)
    before = version(vaulted)
    streams = streams_of(vaulted)
    mock.secret("gateway", in_pkcs12(later), "application/x-pkcs12")
    wait_for(lambda: in_force(vaulted, before))
    assert {served(vaulted) for _ in range(8)} == {leaf(later)}
    assert split(vaulted.raw(ask(1)))[0] == 200
    assert all_whole(streams)
    names = [c["name"] for c in vaulted.api("GET", "/api/certificates").json()]
    assert "listen.certificate" in names
    made = [path for path in vaulted.folder.rglob("*") if path.is_file()]
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in made), "the key stays in memory"


def test_a_vault_that_is_out_or_gives_nonsense(vaulted: Gateway, pki: Pki, mock: MockProcess) -> None:
    now, said = served(vaulted), vaulted.log.count("; the old one serves on")
    mock.secret("gateway", in_pem(pki).replace("PRIVATE", "PUBLIC"))
    wait_for(lambda: vaulted.log.count("; the old one serves on") > said)
    assert "certificate 'gateway' of " in vaulted.log
    mock.fault("reset", instance="vault")
    assert vaulted.api("POST", "/api/reload").json()["ok"] is True, "a reload does not hang on a vault"
    assert served(vaulted) == now
    mock.clear()
    mock.secret("gateway", in_pem(pki))
    wait_for(lambda: "certificate 'gateway' of " in vaulted.log and "is read again" in vaulted.log)
    wait_for(lambda: served(vaulted) == leaf(pki))
    assert split(vaulted.raw(ask(1)))[0] == 200
