"""From a loaded configuration to the snapshot that workers decide with: every file it names is read here, once."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.config.revocation import is_url
from proxy.config.structs import Backend, Config, KeyVaultRef, Listen
from proxy.messages import ServerCertificate, Snapshot, Tls
from proxy.supervisor.backends.forward_proxies import forward_proxies

Held = Mapping[KeyVaultRef, ServerCertificate]


def build(config: Config, version: int, workers: int, held: Held, users_key: bytes) -> Snapshot:
    """`held` has the certificates that are not in files. Raises `OSError` for a file or secret that cannot be read."""
    listen = config.listen
    trust = {backend.ca for backend in config.backends if backend.ca is not None}
    return Snapshot(
        version=version,
        tls=Tls(
            certificates=tuple(_pair(certificate, key, held) for certificate, key in _pairs(listen)),
            minimum=listen.minimum_tls,
            mode=listen.client_certificates.mode,
            roots=_joined(listen.client_certificates.roots),
            intermediates=_joined(listen.client_certificates.intermediates),
            revocation=listen.client_certificates.mode_of_revocation,
            trusted_proxies=listen.trusted_proxies,
            forwarded_certificate=listen.forwarded_certificate,
        ),
        bounds=listen.bounds,
        clients=config.clients,
        issuers=config.issuers,
        models=config.models,
        backends=config.backends,
        trust={path: Path(path).read_bytes() for path in sorted(trust)},
        shown={backend.name: pair for backend in config.backends if (pair := shown_to(backend)) is not None},
        routing=config.routing,
        forward_headers=config.forward.headers,
        forward_query=config.forward.query,
        audit_user=config.audit.user,
        audit_user_key=users_key if config.audit.user == "hash" else b"",
        audit_required=config.audit.required,
        workers=workers,
        upstream=config.upstream,
        forward_proxies=forward_proxies(config),
    )


def shown_to(backend: Backend) -> ServerCertificate | None:
    """The certificate that a backend gets to see, with its key. Raises `OSError` for a file that cannot be read."""
    if backend.client_certificate is None:
        return None
    return _read_pair(backend.client_certificate, backend.client_key)


def files(config: Config) -> list[Path]:
    """Every file the snapshot is read from, for those who watch for changes."""
    listen = config.listen
    paths: list[str] = []
    paths += [path for path in (listen.certificate, listen.private_key) if isinstance(path, str)]
    for pair in listen.certificates:
        paths += [path for path in (pair.certificate, pair.private_key) if isinstance(path, str)]
    paths += [*listen.client_certificates.roots, *listen.client_certificates.intermediates]
    paths += [source for source in listen.client_certificates.crls if not is_url(source)]
    for backend in config.backends:
        paths += [path for path in (backend.ca, backend.client_certificate, backend.client_key) if path is not None]
    paths += [issuer.ca for issuer in config.issuers if issuer.ca is not None]
    for credential in config.credentials.values():
        refs = (credential.secret, credential.key, credential.certificate_password)
        paths += [ref.file for ref in refs if ref is not None and ref.file is not None]
        paths += [credential.certificate] if credential.certificate is not None else []
    proof = config.upstream.forward_proxy_credential
    paths += [proof.file] if proof is not None and proof.file is not None else []
    return [Path(path) for path in dict.fromkeys(paths)]


def rotated(snapshot: Snapshot, config: Config, held: Held) -> Snapshot:
    """The next version of a snapshot of `config`: the same, with the certificates that are `held` by now."""
    certificates = tuple(
        held[certificate] if isinstance(certificate, KeyVaultRef) else old
        for (certificate, _), old in zip(_pairs(config.listen), snapshot.tls.certificates, strict=True)
    )
    tls = msgspec.structs.replace(snapshot.tls, certificates=certificates)
    return msgspec.structs.replace(snapshot, version=snapshot.version + 1, tls=tls)


def _pairs(listen: Listen) -> list[tuple[str | KeyVaultRef, str | None]]:
    more = [(pair.certificate, pair.private_key) for pair in listen.certificates]
    return [(listen.certificate, listen.private_key), *more]


def _pair(certificate: str | KeyVaultRef, key: str | None, held: Held) -> ServerCertificate:
    if isinstance(certificate, KeyVaultRef):
        return held[certificate]
    return _read_pair(certificate, key)


def _read_pair(certificate: str, key: str | None) -> ServerCertificate:
    chain = Path(certificate).read_bytes()
    return ServerCertificate(chain=chain, key=Path(key).read_bytes() if key is not None else chain)


def _joined(paths: tuple[str, ...]) -> bytes:
    return b"\n".join(Path(path).read_bytes() for path in paths)
