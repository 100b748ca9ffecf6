"""What the supervisor and its workers say to each other, over one Unix socket a worker, as MessagePack frames.

Everything a worker decides with arrives here as an immutable, versioned snapshot; everything it has to tell goes back
as an event. Only plain data: no file is opened and nothing is decided in this module.
"""

import hashlib

import msgspec

from proxy.config.structs import Backend, Bounds, Bytes, Client, Issuer, Model, Routing, Seconds, Upstream
from proxy.identity.known import AskCertificate, AskKeys, CertificateVerdict, ClientKey, IssuerKeys, Settled
from proxy.policy.budget import Ask, Granted, Recall, Return
from proxy.routing.shared import DeploymentSeen, DeploymentTold
from proxy.stored import entry as stored


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A frame's content; the tag is the class's name."""


class ServerCertificate(msgspec.Struct, frozen=True):
    """One certificate to serve or to show, as PEM: leaf and intermediates, and its key. Never printed."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ServerCertificate(…)"


class ForwardProxy(msgspec.Struct, frozen=True):
    """What backends are reached through. `authorization` is what it is shown, a header's value. Never printed."""

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"ForwardProxy({self.host}:{self.port})"


class Tls(msgspec.Struct, frozen=True):
    """What a worker builds its server context from."""

    certificates: tuple[ServerCertificate, ...]
    minimum: str
    mode: str  # off, optional, required
    roots: bytes
    intermediates: bytes
    revocation: str = "off"  # off, soft, hard
    trusted_proxies: tuple[str, ...] = ()  # networks
    forwarded_certificate: str = "client-cert"  # the header they use


class Snapshot(Message, frozen=True):
    """One version of all that requests are decided with."""

    version: int
    tls: Tls
    bounds: Bounds
    clients: tuple[Client, ...]
    issuers: tuple[Issuer, ...]
    models: tuple[Model, ...]
    backends: tuple[Backend, ...]
    trust: dict[str, bytes]  # a backend's `ca` → PEM
    shown: dict[str, ServerCertificate]  # a backend's name → what it is shown
    routing: Routing
    forward_headers: tuple[str, ...]
    forward_query: tuple[str, ...]
    audit_user: str  # plain, hash, none
    audit_user_key: bytes  # of the hash; empty where there is none
    audit_required: bool
    workers: int
    upstream: Upstream = Upstream()
    forward_proxies: dict[str, ForwardProxy] = {}  # a backend's name → what it is reached through


class UpstreamCredential(msgspec.Struct, frozen=True):
    """The header that proves the gateway to a backend, and until when (Unix time). Never printed."""

    header: str
    value: str
    expires: float

    def __repr__(self) -> str:
        return f"UpstreamCredential({self.header}, expires={self.expires})"

    @property
    def fingerprint(self) -> bytes:
        """Tells this value from others, without showing it."""
        return hashlib.sha256(self.value.encode()).digest()


class UpstreamCredentials(Message, frozen=True):
    by_name: dict[str, UpstreamCredential]


class SigningKeys(Message, frozen=True):
    """The keys of all issuers, by the issuer's name in the configuration."""

    by_issuer: dict[str, IssuerKeys]


class ClientKeys(Message, frozen=True):
    """All keys that were issued, by keyed digest, and the pepper that the digests are keyed with. Never printed."""

    pepper: bytes
    by_digest: dict[bytes, ClientKey]

    def __repr__(self) -> str:
        return f"ClientKeys({len(self.by_digest)})"


class ClientKeysChanged(Message, frozen=True):
    """Keys that are new, or that something has become of, by keyed digest."""

    by_digest: dict[bytes, ClientKey]

    def __repr__(self) -> str:
        return f"ClientKeysChanged({len(self.by_digest)})"


class Verdicts(Message, frozen=True):
    """What is known of certificates by now, where it is new or has changed."""

    certificates: tuple[CertificateVerdict, ...]


class Drain(Message, frozen=True):
    """Accept no more, finish within `seconds`, leave."""

    seconds: float


class Written(Message, frozen=True):
    """The records of these journal slots are on file; the slots are free again."""

    slots: list[int]


class MayRecord(Message, frozen=True):
    """The records this worker may bring about in all, since it started: so many have room on disk."""

    records: int


class Ready(Message, frozen=True):
    """The worker serves under snapshot `version`."""

    pid: int
    version: int


class Records(Message, frozen=True):
    """Finished records, each with its journal slot (-1: none) and as one line of JSON without line end."""

    slots: list[int]
    lines: list[bytes]


class Uncounted(Message, frozen=True):
    """A record whose usage must be counted by tokenizer: its stream was cut short, or its backend reported none.

    `prompt` is the request's JSON body (empty: the record's own estimate stands), `completion` the text relayed, of
    which `kept` of `seen` bytes are here.
    """

    slot: int
    line: bytes
    operation: str
    tokenizer: str
    prompt: bytes
    completion: bytes
    kept: int
    seen: int


class BreakerChanged(Message, frozen=True):
    """A deployment's breaker at this worker; `seconds` until it is tried again.

    `state`: closed, open, half_open (`seconds`: how long others wait for the probe that is under way), throttled,
    misconfigured. `asked`: the wait a backend asked for, in seconds, where that was too long to be believed.
    """

    backend: str
    deployment: str
    state: str
    reason: str
    seconds: float
    asked: float = 0.0


class CredentialRejected(Message, frozen=True):
    """A backend's 401: it does not take this value of a credential, which is in force as far as the worker knows."""

    name: str
    fingerprint: bytes
    backend: str


class BreakerTold(Message, frozen=True):
    """What another worker, a health probe or a person found of a deployment, in the words of `BreakerChanged`."""

    backend: str
    deployment: str
    state: str
    reason: str
    seconds: float


class DeploymentsSeen(Message, frozen=True):
    """Those of which there is something new, once a second at most."""

    deployments: tuple[DeploymentSeen, ...]


class DeploymentsTold(Message, frozen=True):
    """Those of which there is something new; of the others, what was told before stands."""

    deployments: tuple[DeploymentTold, ...]


class AskStored(Message, frozen=True):
    """A question about stored state. `serial` is the worker's own."""

    serial: int
    question: stored.Question


class StoredTold(Message, frozen=True):
    """Its answer."""

    serial: int
    told: stored.Told


class StoredDropped(Message, frozen=True):
    """These things are deleted; no worker may think that it knows them."""

    ids: tuple[str, ...]


class CertificateSeen(Message, frozen=True):
    """A client has shown this certificate, in DER, in a handshake that succeeded."""

    client: str
    der: bytes


class Tallies(Message, frozen=True):
    """What was counted since the last of these; see `proxy.record.tally`."""

    counters: dict[str, list[tuple[tuple[str, ...], float]]]
    histograms: dict[str, list[tuple[tuple[str, ...], list[int], float]]]
    gauges: dict[str, list[tuple[tuple[str, ...], float]]]


class KeysUsed(Message, frozen=True):
    """When issued keys were last accepted (Unix time by id), as far as it has not been told."""

    times: dict[str, float]


Downward = (
    Snapshot
    | UpstreamCredentials
    | SigningKeys
    | ClientKeys
    | ClientKeysChanged
    | Verdicts
    | Settled
    | Drain
    | Written
    | MayRecord
    | Granted
    | Recall
    | BreakerTold
    | DeploymentsTold
    | StoredTold
    | StoredDropped
)
Upward = (
    Ready
    | Records
    | Uncounted
    | BreakerChanged
    | CredentialRejected
    | DeploymentsSeen
    | Tallies
    | Ask
    | Return
    | AskKeys
    | AskCertificate
    | CertificateSeen
    | KeysUsed
    | AskStored
)


def _decode_hook(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, int | float):
        return Seconds(value)
    if kind is Bytes and isinstance(value, int):
        return Bytes(value)
    raise NotImplementedError(kind)


def _encode_hook(value: object) -> object:
    if isinstance(value, Bytes):
        return int(value)
    if isinstance(value, Seconds):
        return float(value)
    raise NotImplementedError(type(value))


encode = msgspec.msgpack.Encoder(enc_hook=_encode_hook).encode
decode_downward = msgspec.msgpack.Decoder(Downward, dec_hook=_decode_hook).decode
decode_upward = msgspec.msgpack.Decoder(Upward, dec_hook=_decode_hook).decode
