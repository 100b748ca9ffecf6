"""The peers that there are, by name."""

from bench.peers.caddy import CADDY
from bench.peers.envoy import ENVOY
from bench.peers.haproxy import HAPROXY
from bench.peers.litellm import LITELLM
from bench.peers.nginx import NGINX
from bench.peers.passthrough import PASSTHROUGH
from bench.peers.penstock import PENSTOCK, PENSTOCK_COMPILED
from bench.peers.portkey import PORTKEY

PEERS = {
    peer.name: peer
    for peer in (PENSTOCK, PENSTOCK_COMPILED, NGINX, HAPROXY, ENVOY, CADDY, PASSTHROUGH, LITELLM, PORTKEY)
}
