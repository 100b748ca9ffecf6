"""A worker's pools, one a backend, over the versions of its configuration.

A pool whose connections rest on the same as before is kept, with all that is warm in it; so a reload that changes
something else costs no handshake.
"""

import ssl
from collections.abc import Mapping
from typing import NamedTuple

from proxy.config.structs import Backend
from proxy.messages import ForwardProxy, ServerCertificate, Snapshot
from proxy.wire.pool import Pool
from proxy.wire.pump import Pump
from proxy.wire.tls import backend_contexts


class Basis(NamedTuple):
    """All that a connection to a backend rests on. `trust` is PEM; None: the system's roots."""

    url: str
    connect_to: str | None
    trust: bytes | None
    shown: ServerCertificate | None
    proxy: ForwardProxy | None


class Pools:
    """`by_name` has the pool of each backend."""

    def __init__(self, pump: Pump) -> None:
        self.by_name: dict[str, Pool] = {}
        self._pump = pump
        self._bases: Mapping[str, Basis] = {}

    def reconfigure(self, snapshot: Snapshot) -> None:
        """A new configuration: pools that are not kept are closed; what is in use of them goes on."""
        before, bases = self.by_name, {backend.name: _basis(backend, snapshot) for backend in snapshot.backends}
        contexts: dict[str, ssl.SSLContext] | None = None
        self.by_name = {}
        for backend in snapshot.backends:
            same = self._bases.get(backend.name) == bases[backend.name]
            pool = before.pop(backend.name, None) if same else None
            if pool is None:
                contexts = contexts or backend_contexts(snapshot)
                pool = Pool(self._pump, backend, contexts[backend.name], proxy=bases[backend.name].proxy)
            pool.warmth.target = snapshot.upstream.warm
            self.by_name[backend.name] = pool
        for pool in before.values():
            pool.close()
        self._bases = bases

    def prune(self) -> None:
        """Close what has been idle or open for too long; to be called every `pool.PRUNE_EVERY` seconds."""
        for pool in self.by_name.values():
            pool.prune()

    def cool_down(self) -> None:
        """Open no more connections ahead of need: the worker leaves."""
        for pool in self.by_name.values():
            pool.warmth.target = 0


def _basis(backend: Backend, snapshot: Snapshot) -> Basis:
    trust = snapshot.trust[backend.ca] if backend.ca is not None else None
    name = backend.name
    return Basis(backend.url, backend.connect_to, trust, snapshot.shown.get(name), snapshot.forward_proxies.get(name))
