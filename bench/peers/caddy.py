"""Caddy: client certificates verified, kept-alive and verified TLS upstream, flushed at once, an access log."""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from bench.peers.install import Debian
from bench.peers.peer import NO_GATEWAY, Peer, Place, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process

_CADDY = Debian("caddy", ("caddy",))
_MANY = 8192


def caddy_config(place: Place, port: int) -> str:
    """The upstreams share the requests in turn; no TLS session is resumed by clients. JSON."""
    server = place.pki.pairs["server"]
    one = {
        "listen": [f"127.0.0.1:{port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "logs": {},
        "tls_connection_policies": [
            {
                "alpn": ["http/1.1"],
                "protocol_min": "tls1.2",
                "client_authentication": {
                    "mode": "require_and_verify",
                    "trusted_ca_certs_pem_files": [str(place.pki.client_root)],
                },
            }
        ],
        "routes": [{"handle": [_reverse_proxy(place)]}],
    }
    to_file = {"output": "file", "filename": str(place.folder / "caddy-access.log"), "roll": False}
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "admin": {"disabled": True, "config": {"persist": False}},
                "logging": {"logs": {"default": {"level": "INFO", "writer": to_file}}},
                "apps": {
                    "tls": {
                        "certificates": {
                            "load_files": [{"certificate": str(server.certificate), "key": str(server.key)}]
                        },
                        "session_tickets": {"disabled": True},
                    },
                    "http": {"servers": {"clients": one}},
                },
            }
        ).decode()
    )


def _reverse_proxy(place: Place) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "flush_interval": -1,
        "upstreams": [{"dial": f"127.0.0.1:{port}"} for port in place.ports],
        "load_balancing": {"selection_policy": {"policy": "round_robin"}},
        "headers": {"request": {"set": {"Api-Key": ["bench"], "Host": ["{http.request.host}"]}}},
        "transport": {
            "protocol": "http",
            "versions": ["1.1"],
            "compression": False,
            "tls": {"root_ca_pem_files": [str(place.pki.server_root)], "server_name": "localhost"},
            "keep_alive": {"max_idle_conns": _MANY, "max_idle_conns_per_host": _MANY, "idle_timeout": "1h"},
        },
    }


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    """One process; workers are the processors that Go uses."""
    (port,) = free_ports(1)
    config = place.folder / "caddy.json"
    config.write_text(caddy_config(place, port))
    log = place.folder / "caddy.log"
    own = {"GOMAXPROCS": str(place.workers), "XDG_DATA_HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder)}
    with process([str(_CADDY.path()), "run", "--config", str(config)], log, cores=place.cores, environment=own) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _version() -> str:
    return _CADDY.says("version").split()[0].removeprefix("v")


CADDY = Peer(
    name="caddy",
    about="a web server's proxy, in Go; flush_interval -1",
    lacks=NO_GATEWAY,
    workers=(1, 2),
    version=_version,
    install=_CADDY.install,
    start=_start,
)
