"""The configurations that are compared are valid, and have every stage on."""

from pathlib import Path

import pytest

from bench.peers.nginx import nginx_config
from bench.peers.peer import Place
from bench.peers.penstock import Gateway, Ports, gateway_config
from certs.pki import Pki, build
from proxy.config.load import load


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def test_the_gateways_configuration_is_valid(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_BENCH_KEY", "bench")
    path = tmp_path / "penstock.toml"
    upstreams = {"swc": "https://localhost:7001", "frc": "https://localhost:7002"}
    path.write_text(gateway_config(pki, upstreams, Gateway(models=("a", "b")), Ports(7003, 7004, 7005)))
    config = load(path)
    assert config.listen.client_certificates.mode == "required"
    assert config.listen.workers == 1
    limits = config.clients[0].limits
    assert None not in (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests)
    assert [model.name for model in config.models] == ["a", "b"]
    assert [deployment.backend for deployment in config.models[0].deployments] == ["swc", "frc"]


def test_nginx_does_the_same_job(pki: Pki, tmp_path: Path) -> None:
    upstreams = {"swc": "https://localhost:7001", "frc": "https://localhost:7002"}
    text = nginx_config(Place(folder=tmp_path, pki=pki, upstreams=upstreams), 7003)
    for line in (
        "worker_processes 1;",
        "ssl_verify_client on;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "proxy_ssl_verify on;",
        "proxy_buffering off;",
        "server 127.0.0.1:7002;",
    ):
        assert line in text
    assert text.count("{") == text.count("}")
