"""A snapshot, made ready to decide with: what a worker looks things up in, one view a version.

A request holds on to the view it began with, so a reload changes nothing for what is under way.
"""

import ssl

from proxy.config.structs import Backend, Client, Model
from proxy.heads import Heads
from proxy.identity.authenticate import Directory
from proxy.identity.fronting import Fronting
from proxy.identity.standing import Trust
from proxy.messages import Snapshot, Tls
from proxy.policy.grants import permissions
from proxy.policy.operations import Targets
from proxy.record.users import shown
from proxy.wire.tls import root_thumbprints, server_context

FORWARDED_HEADERS = frozenset(
    (b"accept", b"accept-language", b"content-type", b"openai-beta", b"tracestate", b"user-agent")
    + (b"x-ms-client-request-id",)
)
"""What passes to a backend by default; `traceparent` is continued, everything else stays here."""


def fronting(tls: Tls) -> Fronting:
    return Fronting(tls.trusted_proxies, tls.forwarded_certificate, tls.roots, tls.intermediates)


def resources(backends: tuple[Backend, ...]) -> dict[str, tuple[str, ...]]:
    """The backends that are one resource with each, itself among them: by their address, whatever their tiers."""
    by_url: dict[str, tuple[str, ...]] = {}
    for backend in backends:
        by_url[backend.url.rstrip("/")] = (*by_url.get(backend.url.rstrip("/"), ()), backend.name)
    return {backend.name: by_url[backend.url.rstrip("/")] for backend in backends}


class View:
    """Everything of one snapshot, indexed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.version = snapshot.version
        self.bounds = snapshot.bounds
        self.shown_user = shown(snapshot.audit_user, snapshot.audit_user_key)
        self.audit_required = snapshot.audit_required
        self.routing = snapshot.routing
        self.context: ssl.SSLContext = server_context(snapshot.tls)
        self.targets = Targets(snapshot.forward_query)
        self.directory = Directory(snapshot.clients, snapshot.issuers)
        self.trust = Trust(root_thumbprints(snapshot.tls), snapshot.tls.revocation)
        self.fronting = fronting(snapshot.tls) if snapshot.tls.trusted_proxies else None
        self.clients: dict[str, Client] = {client.name: client for client in snapshot.clients}
        self.permissions = permissions(snapshot.clients, snapshot.models, snapshot.backends)
        self.aliases = {alias: model.name for model in snapshot.models for alias in model.aliases}
        self.closely = any(not d.vision or not d.audio for model in snapshot.models for d in model.deployments)
        """Whether what bodies bring decides who may answer."""
        self.models: dict[str, Model] = {model.name: model for model in snapshot.models}
        self.backends: dict[str, Backend] = {backend.name: backend for backend in snapshot.backends}
        self.resources = resources(snapshot.backends)
        self.heads = Heads(FORWARDED_HEADERS | {name.lower().encode("ascii") for name in snapshot.forward_headers})
