"""The peers that there are, by name."""

from bench.peers.nginx import NGINX
from bench.peers.penstock import PENSTOCK

PEERS = {peer.name: peer for peer in (PENSTOCK, NGINX)}
