"""The configurations that are compared are valid, have every stage on, and do the same job."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.peers.caddy import caddy_config
from bench.peers.envoy import envoy_config
from bench.peers.haproxy import haproxy_config
from bench.peers.litellm import litellm_config, litellm_environment
from bench.peers.nginx import nginx_config
from bench.peers.passthrough import passthrough_command
from bench.peers.peer import Place
from bench.peers.penstock import Gateway, Ports, gateway_config
from bench.peers.portkey import portkey_headers
from certs.pki import Pki
from proxy.config.load import load

PORT = 7003


def test_the_gateways_configuration_is_valid(pki: Pki, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_BENCH_KEY", "bench")
    path = place.folder / "penstock.toml"
    path.write_text(gateway_config(pki, place.upstreams, Gateway(models=("a", "b")), Ports(7003, 7004, 7005)))
    config = load(path)
    assert config.listen.client_certificates.mode == "required"
    assert config.listen.workers == 1
    limits = config.clients[0].limits
    assert None not in (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests)
    assert [model.name for model in config.models] == ["a", "b"]
    assert [deployment.backend for deployment in config.models[0].deployments] == ["swc", "frc"]


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        (
            nginx_config,
            (
                *("worker_processes 2;", "ssl_verify_client on;", "ssl_session_tickets off;", "ssl_session_cache off;"),
                *("proxy_ssl_verify on;", "proxy_buffering off;", "proxy_http_version 1.1;", "server 127.0.0.1:7002;"),
                *(
                    "access_log {folder}/nginx-access.log combined buffer=64k flush=1s;",
                    "ssl_client_certificate {pki.client_root};",
                ),
                *("proxy_ssl_trusted_certificate {pki.server_root};", "keepalive 4096;"),
            ),
        ),
        (
            haproxy_config,
            (
                *("nbthread 2", "no-tls-tickets", "tune.ssl.cachesize 0", "http-reuse always", "option http-no-delay"),
                *("option httplog", "ca-file {pki.client_root} verify required", "127.0.0.1:7002 ssl verify required"),
                *("ca-file {pki.server_root} verifyhost localhost", "http-request set-header api-key bench"),
                *("timeout server 1h",),
            ),
        ),
    ],
)
def test_configurations_in_words_of_their_own(
    place: Place, config: Callable[[Place, int], str], lines: tuple[str, ...]
) -> None:
    place = msgspec.structs.replace(place, workers=2)
    text = config(place, PORT)
    for line in lines:
        assert line.format(folder=place.folder, pki=place.pki) in text
    assert f"127.0.0.1:{PORT}" in text
    assert text.count("{") == text.count("}")


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[int(key) if key.isdigit() else key]
    return value


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("listeners.0.address.socket_address.port_value", PORT),
        ("listeners.0.filter_chains.0.transport_socket.typed_config.require_client_certificate", True),
        ("listeners.0.filter_chains.0.transport_socket.typed_config.disable_stateless_session_resumption", True),
        ("listeners.0.filter_chains.0.filters.0.typed_config.stream_idle_timeout", "0s"),
        ("listeners.0.filter_chains.0.filters.0.typed_config.access_log.0.name", "file"),
        (
            "listeners.0.filter_chains.0.filters.0.typed_config.route_config.virtual_hosts.0.routes.0.route.timeout",
            "0s",
        ),
        ("clusters.0.transport_socket.typed_config.sni", "localhost"),
        ("clusters.0.circuit_breakers.thresholds.0.max_connections", 20_000),
        ("clusters.0.load_assignment.endpoints.0.lb_endpoints.1.endpoint.address.socket_address.port_value", 7002),
    ],
)
def test_envoy(place: Place, path: str, found: object) -> None:
    assert at(json.loads(envoy_config(place, PORT))["static_resources"], path) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("listen.0", f"127.0.0.1:{PORT}"),
        ("tls_connection_policies.0.client_authentication.mode", "require_and_verify"),
        ("routes.0.handle.0.flush_interval", -1),
        ("routes.0.handle.0.upstreams.1.dial", "127.0.0.1:7002"),
        ("routes.0.handle.0.transport.tls.server_name", "localhost"),
        ("logs", {}),
    ],
)
def test_caddy(place: Place, path: str, found: object) -> None:
    config = json.loads(caddy_config(place, PORT))
    assert at(config, f"apps.http.servers.clients.{path}") == found
    assert config["apps"]["tls"]["session_tickets"] == {"disabled": True}


def test_files_that_trust_rests_on(place: Place) -> None:
    for config in (envoy_config(place, PORT), caddy_config(place, PORT)):
        for path in (place.pki.client_root, place.pki.server_root, place.pki.pairs["server"].key):
            assert str(path) in config


def test_litellm(place: Place) -> None:
    config = json.loads(litellm_config(place))
    assert [one["litellm_params"]["api_base"] for one in config["model_list"]] == list(place.upstreams.values())
    assert {one["model_name"] for one in config["model_list"]} == {"gpt-4o"}
    assert config["litellm_settings"]["num_retries"] == 0
    environment = litellm_environment(place, "sk-1")
    assert environment["SSL_CERT_FILE"] == str(place.pki.server_root)
    assert environment["LITELLM_MASTER_KEY"] == "sk-1"


def test_portkey_is_told_by_headers(place: Place) -> None:
    config = json.loads(portkey_headers(place)["x-portkey-config"])
    assert [target["custom_host"] for target in config["targets"]] == [
        f"{url}/openai" for url in place.upstreams.values()
    ]


def test_the_pass_through_verifies_its_clients(place: Place) -> None:
    command = passthrough_command(place, PORT)
    assert command[command.index("--verify-mode") + 1] == "CERT_REQUIRED"
    assert Path(command[command.index("--ca-certs") + 1]) == place.pki.client_root
