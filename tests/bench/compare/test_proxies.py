"""The configurations that are compared are valid, and have every stage on."""

from pathlib import Path

import pytest

from bench.compare.proxies import Gateway, gateway_config, nginx_config
from certs.pki import Pki, build
from proxy.config.load import load


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def test_the_gateways_configuration_is_valid(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_BENCH_KEY", "bench")
    path = tmp_path / "penstock.toml"
    upstreams = {"swc": "https://localhost:7001", "frc": "https://localhost:7002"}
    path.write_text(gateway_config(pki, upstreams, Gateway(models=("a", "b")), port=7003, admin=7004, health=7005))
    config = load(path)
    assert config.listen.client_certificates.mode == "required"
    assert config.listen.workers == 1
    limits = config.clients[0].limits
    assert None not in (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests)
    assert [model.name for model in config.models] == ["a", "b"]
    assert [deployment.backend for deployment in config.models[0].deployments] == ["swc", "frc"]


def test_nginx_does_the_same_job(pki: Pki, tmp_path: Path) -> None:
    text = nginx_config(tmp_path, pki, ["127.0.0.1:7001", "127.0.0.1:7002"], 7003)
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
