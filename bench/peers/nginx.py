"""nginx: client certificates verified, no buffering, kept-alive and verified TLS upstream, an access log."""

import contextlib
from collections.abc import Iterator

from bench.peers.install import Debian
from bench.peers.peer import NO_GATEWAY, Peer, Place, Running, mutual_tls
from bench.peers.process import await_ready, free_ports, listening, process

_NGINX = Debian("nginx", ("nginx",))


def nginx_config(place: Place, port: int) -> str:
    """The upstreams share the requests in turn; no TLS session is resumed by clients. The log is written in blocks, as
    Envoy's and the gateway's own records are: with a system call a request it would cost what nobody has to pay.
    """
    servers = "\n".join(f"        server 127.0.0.1:{each};" for each in place.ports)
    folder, pki = place.folder, place.pki
    server = pki.pairs["server"]
    return f"""
worker_processes {place.workers};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 16384; }}
http {{
    access_log {folder}/nginx-access.log combined buffer=64k flush=1s;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream azure {{
{servers}
        keepalive 4096;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        ssl_client_certificate {pki.client_root};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_verify_client on;
        ssl_verify_depth 3;
        ssl_session_tickets off;
        ssl_session_cache off;
        location / {{
            proxy_pass https://azure;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header api-key bench;
            proxy_buffering off;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {pki.server_root};
            proxy_ssl_verify_depth 3;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
        }}
    }}
}}
"""


@contextlib.contextmanager
def _start(place: Place) -> Iterator[Running]:
    """Its master and its workers."""
    (port,) = free_ports(1)
    config = place.folder / "nginx.conf"
    config.write_text(nginx_config(place, port))
    log = place.folder / "nginx.log"
    errors = place.folder / "nginx-error.log"
    command = [str(_NGINX.path()), "-p", str(place.folder), "-c", str(config), "-e", str(errors)]
    with process(command, log, cores=place.cores, environment=_NGINX.environment) as pid:
        await_ready(listening(port), pid, log)
        yield Running(pid=pid, access=mutual_tls(place.pki, port), folder=place.folder)


def _version() -> str:
    return _NGINX.says("-v").rpartition("/")[2]


NGINX = Peer(
    name="nginx",
    about="a web server's proxy, in C; proxy_buffering off",
    lacks=NO_GATEWAY,
    workers=(1, 2),
    version=_version,
    install=_NGINX.install,
    start=_start,
)
