"""Connections to backends, whole: opened before anybody asks, kept over a reload, and never where a request says."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki
from tests.e2e.gateway import Gateway, azure, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, newest, split
from tests.e2e.test_hostile import request
from tests.forward_proxy import forward_proxy

WARM = 3


@pytest.fixture(scope="module")
def quiet(pki: Pki) -> Iterator[MockProcess]:
    """A mock that no other gateway connects to."""
    with mock_process(azure(pki)) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, quiet: MockProcess) -> Iterator[Gateway]:
    text = config_text(pki, quiet, more=f"[upstream]\nwarm = {WARM}").replace("workers = 2", "workers = 1")
    with gateway(tmp_path_factory.mktemp("connections"), pki, quiet, text) as started:
        wait_for(lambda: quiet.stats()["handshakes"] >= 2 * WARM)
        yield started


@pytest.fixture
def calm(running: Gateway, quiet: MockProcess) -> Iterator[Gateway]:
    quiet.clear()
    quiet.forget()
    yield running
    quiet.clear()


def test_connections_are_open_before_the_first_request_and_kept_over_a_reload(
    calm: Gateway, quiet: MockProcess
) -> None:
    assert quiet.received() == []
    assert quiet.stats()["handshakes"] == 2 * WARM
    text = calm.config.read_text()
    calm.config.write_text(text.replace('tenant = "power"', 'tenant = "steam"'))
    assert calm.api("POST", "/api/reload").json()["ok"] is True
    wait_for(lambda: all(w["version"] > 1 for w in calm.api("GET", "/api/status").json()["workers"]))
    assert split(calm.raw(ask()))[0] == 200
    made_up_for = 1
    assert quiet.stats()["handshakes"] <= 2 * WARM + made_up_for


@pytest.mark.parametrize(
    "data",
    [
        ask().replace(b"Host: ", b"Host: evil.example\r\nX-Was: "),
        ask().replace(b"POST /", b"POST https://evil.example/"),
        ask().replace(b"POST /", b"POST //evil.example/"),
        ask().replace(b"POST /openai", b"POST /@evil.example/openai"),
        ask().replace(b" HTTP/1.1", b"&url=https://evil.example&host=evil.example HTTP/1.1", 1),
        ask().replace(b"\r\n\r\n", b"\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n\r\n", 1),
        ask(model="evil.example/../../x"),
        ask(model="gpt-4o@evil.example"),
        request(b"Connection: close", target=b"/openai/deployments/..%2f..%2fevil.example/chat/completions"),
        request(b"Connection: close", target=b"/openai/deployments/gpt-4o@evil.example/chat/completions"),
    ],
)
def test_nothing_in_a_request_says_where_it_goes(calm: Gateway, quiet: MockProcess, data: bytes) -> None:
    calm.raw(data)
    assert "evil" not in json.dumps([(r["target"], r["headers"]) for r in quiet.received()])
    for received in quiet.received():
        assert dict(received["headers"])["host"] == quiet.urls[received["instance"]].removeprefix("https://")


def test_a_redirect_is_the_clients_to_follow(calm: Gateway, quiet: MockProcess) -> None:
    quiet.fault("error", status=307)
    assert split(calm.raw(ask()))[0] == 307
    assert len(quiet.received()) == 1


def test_a_backend_that_a_reload_takes_away_from_under_a_request(calm: Gateway, quiet: MockProcess) -> None:
    before = calm.config.read_text()
    left, _, right = before.partition('[[backends]]\nname = "frc"')
    text = left + right[right.index("[[models]]") :].replace('{ backend = "frc"', '# { backend = "frc"')
    quiet.fault("reset", instance="swc", delay=3.0)
    with calm.connect() as sock:
        sock.sendall(ask())
        wait_for(quiet.received)
        calm.config.write_text(text.replace('regions = ["francecentral"]', 'regions = ["swedencentral"]'))
        assert calm.api("POST", "/api/reload").json()["ok"] is True
        received = b""
        while part := sock.recv(65536):
            received += part
    calm.config.write_text(before)
    assert calm.api("POST", "/api/reload").json()["ok"] is True
    status, head, _ = split(received)
    assert status in (502, 503)
    assert [attempt["reason"] for attempt in newest(calm, head)["attempts"]] == ["reset_before_head", "connect_failed"]


def test_through_a_forward_proxy(tmp_path: Path, pki: Pki, quiet: MockProcess) -> None:
    quiet.clear()
    quiet.forget()
    (tmp_path / "proxy.secret").write_text("user:hunter2-of-the-proxy\n")
    with forward_proxy() as through:
        more = f'[upstream]\nforward_proxy = "{through.url}"\nforward_proxy_credential = {{ file = "proxy.secret" }}'
        text = config_text(pki, quiet, more=more).replace("workers = 2", "workers = 1")
        own = 'region = "francecentral"\n'
        text = text.replace(own, own + 'forward_proxy = "none"\n')
        with gateway(tmp_path, pki, quiet, text) as running:
            assert split(running.raw(ask()))[0] == 200
            assert split(running.raw(ask(stream=True)))[0] == 200
            assert {received["instance"] for received in quiet.received()} == {"swc"}
            told = running.log + json.dumps(running.records()) + running.api("GET", "/api/status").text
    proof = b64encode(b"user:hunter2-of-the-proxy").decode()
    place = quiet.urls["swc"].removeprefix("https://")
    head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {proof}\r\n\r\n"
    assert set(through.heads) == {head.encode()}
    assert "hunter2" not in told
    assert proof not in told
    assert "proxy-authorization" not in json.dumps(quiet.received()).lower()
