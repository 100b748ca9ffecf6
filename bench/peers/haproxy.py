"""HAProxy: client certificates verified, kept-alive and verified TLS upstream shared by all, an access log.

`http-reuse always` lets any request take any idle connection, as nginx's pool does; `http-no-delay` keeps events from
waiting in the kernel for more to come.
"""

import contextlib
import re
from collections.abc import Iterator

from bench.failure import BenchError
from bench.peers.install import Debian
from bench.peers.peer import NO_GATEWAY, Peer, Place, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process

_HAPROXY = Debian("haproxy", ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"))
_PAIR = "server.pem"


def haproxy_config(place: Place, port: int) -> str:
    """The upstreams share the requests in turn. The server's certificate and key are one file, as HAProxy has it."""
    folder, pki = place.folder, place.pki
    servers = "\n".join(
        f"    server upstream-{number} 127.0.0.1:{upstream} ssl verify required ca-file {pki.server_root} "
        "verifyhost localhost sni str(localhost) alpn http/1.1 pool-max-conn 8192 pool-purge-delay 1h"
        for number, upstream in enumerate(place.ports)
    )
    return f"""
global
    nbthread {place.workers}
    maxconn 8192
    log stdout format raw local0 info
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
    mode http
    log global
    option httplog
    option http-no-delay
    option http-ignore-probes
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout http-request 60s
frontend clients
    bind 127.0.0.1:{port} backlog 4096 ssl crt {folder}/{_PAIR} ca-file {pki.client_root} verify required alpn http/1.1
    http-request set-header api-key bench
    default_backend azure
backend azure
    balance roundrobin
    http-reuse always
{servers}
"""


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    """One process; workers are threads."""
    (port,) = free_ports(1)
    server = place.pki.pairs["server"]
    pair = place.folder / _PAIR
    pair.touch(0o600)
    pair.write_bytes(server.certificate.read_bytes() + server.key.read_bytes())
    config = place.folder / "haproxy.cfg"
    config.write_text(haproxy_config(place, port))
    log = place.folder / "haproxy.log"
    command = [str(_HAPROXY.path()), "-db", "-f", str(config)]
    with process(command, log, cores=place.cores, environment=_HAPROXY.environment) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _version() -> str:
    found = re.search(r"version (\S+)", _HAPROXY.says("-v"))
    if found is None:
        raise BenchError(f"{_HAPROXY.path()} does not say its version")
    return found[1]


HAPROXY = Peer(
    name="haproxy",
    about="a proxy, in C; http-reuse always, http-no-delay",
    lacks=NO_GATEWAY,
    workers=(1, 2),
    version=_version,
    install=_HAPROXY.install,
    start=_start,
)
