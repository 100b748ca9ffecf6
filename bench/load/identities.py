"""Who asks: the headers that each identity sends, and a TLS context for each certificate, of which a bounded number is
kept ready.
"""

import ssl
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from bench.failure import BenchError
from bench.load.job import Identity
from bench.load.workload import lines

_CONTEXTS = 1024
Pair = tuple[str, str]


class Caller(msgspec.Struct, frozen=True, eq=False):
    """An identity as connections need it. `headers`: lines, each ended; `pair`: certificate and key, as paths."""

    client: str
    headers: bytes = b""
    pair: Pair | None = None


def caller_of(identity: Identity) -> Caller:
    """Raises `BenchError`."""
    if (identity.certificate is None) != (identity.private_key is None):
        raise BenchError(
            f"identity '{identity.client}': a certificate needs its private_key, and a key its certificate"
        )
    given = {}
    if identity.api_key is not None:
        given["api-key"] = identity.api_key
    if identity.token is not None:
        given["authorization"] = f"Bearer {identity.token}"
    if any("\r" in value or "\n" in value or not value.isascii() for value in given.values()):
        raise BenchError(f"identity '{identity.client}': api_key and token go into a header: one line of ASCII")
    pair = None
    if identity.certificate is not None and identity.private_key is not None:
        pair = identity.certificate, identity.private_key
    return Caller(identity.client, lines(given), pair)


class Contexts:
    """A client's TLS contexts, by certificate and key. Those used last are kept; connections keep their own."""

    def __init__(self, root: str | None, at_most: int = _CONTEXTS) -> None:
        self._root = root
        self._at_most = at_most
        self._kept: OrderedDict[Pair | None, ssl.SSLContext] = OrderedDict()

    def prepare(self, callers: Sequence[Caller]) -> None:
        """Make the first that are needed, so that making them costs no request's time. Raises `BenchError`."""
        for pair in list(dict.fromkeys(caller.pair for caller in callers))[: self._at_most]:
            self.of(pair)

    def of(self, pair: Pair | None) -> ssl.SSLContext:
        """Raises `BenchError`, which names the file."""
        found = self._kept.get(pair)
        if found is not None:
            self._kept.move_to_end(pair)
            return found
        made = self._kept[pair] = _context(self._root, pair)
        if len(self._kept) > self._at_most:
            self._kept.popitem(last=False)
        return made


def _context(root: str | None, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    of = root
    try:
        if root is not None:
            context.load_verify_locations(root)
        if pair is not None:
            of = f"{pair[0]} with {pair[1]}"
            context.load_cert_chain(*pair)
    except ssl.SSLError as error:
        raise BenchError(f"the certificates are of no use: {of}: {error.reason or error}") from None
    except OSError as error:
        raise BenchError(f"a certificate file: {of}: {error.strerror}; name readable files") from None
    return context
