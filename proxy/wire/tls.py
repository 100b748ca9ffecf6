"""TLS contexts, built explicitly: nothing rests on a default that another Python might change.

Only `roots` end a client's path: partial chains are not accepted (`VERIFY_X509_PARTIAL_CHAIN` stays off), so an
intermediate helps to build a path and is never an anchor. Session tickets are off: a resumed session has a leaf but no
chain. TLS 1.2 may still resume by session identifier within one worker, from the very session that was verified.
"""

import os
import ssl
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.identity.certificate import thumbprint
from proxy.messages import ServerCertificate, Snapshot, Tls

_MODES = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(settings: Tls) -> ssl.SSLContext:
    """The context of a listener; further certificates are picked by SNI (RFC 6066 section 3).

    Raises `ssl.SSLError` or `ValueError` for material that is of no use.
    """
    contexts = [_server_context(settings, certificate) for certificate in settings.certificates]
    first = contexts[0]
    if len(contexts) > 1:
        by_name: dict[str, ssl.SSLContext] = {}
        for context, certificate in zip(contexts, settings.certificates, strict=True):
            for name in certificate_names(certificate.chain):
                by_name.setdefault(name, context)

        def choose(socket: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            chosen = pick(by_name, name)
            if chosen is not None:
                socket.context = chosen

        first.sni_callback = choose
    return first


def pick(by_name: Mapping[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    """The context for a server name: the exact name, else the wildcard that covers it (RFC 9525 section 6.3)."""
    if not name:
        return None
    name = name.lower()
    return by_name.get(name) or by_name.get("*." + name.partition(".")[2])


def certificate_names(chain: bytes) -> list[str]:
    """The DNS names a PEM chain's leaf is for."""
    leaf = x509.load_pem_x509_certificates(chain)[0]
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in san.get_values_for_type(x509.DNSName)]


def root_thumbprints(settings: Tls) -> frozenset[str]:
    """The anchors, as a verified path's end is compared with them. Raises `ValueError`."""
    if settings.mode == "off":
        return frozenset()
    roots = x509.load_pem_x509_certificates(settings.roots)
    return frozenset(thumbprint(root.public_bytes(Encoding.DER)) for root in roots)


_DER = 2  # _ssl.ENCODING_DER


def verified_chain(sock: ssl.SSLSocket) -> tuple[bytes, ...]:
    """The path OpenSSL built to the peer's certificate, leaf first, in DER; as far as it came, if it was refused.

    Empty without a certificate, and for a resumed session, which has a leaf but no chain. Public from Python 3.13 on,
    on the inner object before.
    """
    public = getattr(sock, "get_verified_chain", None)
    if public is not None:
        return tuple(public() or ())
    inner = getattr(getattr(sock, "_sslobj", None), "get_verified_chain", None)
    return tuple(certificate.public_bytes(_DER) for certificate in (inner() if inner is not None else None) or ())


def _server_context(settings: Tls, certificate: ServerCertificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM[settings.minimum]
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, certificate)
    context.verify_mode = _MODES[settings.mode]
    if settings.mode != "off":
        context.load_verify_locations(cadata=settings.roots.decode("ascii"))
        if settings.intermediates:
            context.load_verify_locations(cadata=settings.intermediates.decode("ascii"))
    return context


def _load_pair(context: ssl.SSLContext, certificate: ServerCertificate) -> None:
    """`ssl` reads key pairs from files only; this one is in memory, and leaves no name behind."""
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate.key + b"\n" + certificate.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def backend_contexts(snapshot: Snapshot) -> dict[str, ssl.SSLContext]:
    """The context for each backend, by name; those that trust and show the same share one.

    Raises `ssl.SSLError` for material that is of no use.
    """
    made: dict[tuple[str | None, ServerCertificate | None], ssl.SSLContext] = {}
    contexts = {}
    for backend in snapshot.backends:
        shown = snapshot.shown.get(backend.name)
        key = backend.ca, shown
        if key not in made:
            made[key] = backend_context(snapshot.trust[backend.ca] if backend.ca else None, shown)
        contexts[backend.name] = made[key]
    return contexts


def backend_context(trust: bytes | None, shown: ServerCertificate | None = None) -> ssl.SSLContext:
    """The context for connections to backends; `trust` is PEM, None means the system's roots.

    `shown`: what a backend gets that asks for a certificate. Raises `ssl.SSLError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # some Pythons set it: a body that was cut off would seem whole
    context.set_alpn_protocols(["http/1.1"])
    if trust is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=trust.decode("ascii"))
    if shown is not None:
        _load_pair(context, shown)
    return context
