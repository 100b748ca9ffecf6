"""The configuration file, as types.

One struct a table, one field a key; names are those of the file, and a field's comment is its documentation. Unknown
keys are refused by the types themselves. Durations are held in seconds, sizes in bytes. Nothing here reads a file or
knows another stage; what the types cannot say is said in `validate`.
"""

from typing import Literal

import msgspec


class Seconds(float):
    """A duration: `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"2d"` in the file, seconds in memory."""


class Bytes(int):
    """A size: `"64KiB"`, `"32MiB"`, `"1GiB"` or a plain number of bytes in the file."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every table of the file is: immutable, and without room for a key that nobody reads."""


class SecretRef(Table, frozen=True, kw_only=True):
    """Where a secret is kept. Exactly one of the two."""

    env: str | None = None
    file: str | None = None


class KeyVaultRef(Table, frozen=True, kw_only=True):
    """A certificate with its key in Azure Key Vault: the vault's address, and its name there."""

    key_vault: str
    name: str


class KeyVault(Table, frozen=True, kw_only=True):
    """How the vaults are asked that certificates are in."""

    poll: Seconds = Seconds(300)
    credential: str = "gateway"  # one of `credentials`
    ca: str | None = None


class CertificatePair(Table, frozen=True, kw_only=True):
    certificate: str | KeyVaultRef
    private_key: str | None = None


class Health(Table, frozen=True, kw_only=True):
    address: str = "127.0.0.1:8080"


class Bounds(Table, frozen=True, kw_only=True):
    connections: int = 10_000
    handshakes: int = 256
    requests: int = 5_000
    request_line: Bytes = Bytes(16 << 10)
    headers: int = 100
    header_bytes: Bytes = Bytes(64 << 10)
    json_body: Bytes = Bytes(32 << 20)
    body: Bytes = Bytes(256 << 20)
    buffered_bodies: Bytes = Bytes(512 << 20)
    handshake: Seconds = Seconds(10)
    head: Seconds = Seconds(15)
    body_idle: Seconds = Seconds(30)
    keep_alive: Seconds = Seconds(75)
    connect: Seconds = Seconds(5)
    first_byte: Seconds = Seconds(600)
    stream_idle: Seconds = Seconds(300)
    client_stall: Seconds = Seconds(60)
    request: Seconds = Seconds(3600)
    drain: Seconds = Seconds(60)
    failure_delay: Seconds = Seconds(1)  # the most a 401 waits after repeated failures of one source; "0s": none waits


class ClientCertificates(Table, frozen=True, kw_only=True):
    mode: Literal["off", "optional", "required"] = "off"
    roots: tuple[str, ...] = ()
    intermediates: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()  # files, http(s) URLs
    ocsp: str = "off"  # "off", "aia", or a responder's http(s) URL
    ocsp_allow: tuple[str, ...] = ()  # networks a certificate's own address may lead to, though it is loopback or local
    revocation: Literal["off", "soft", "hard"] | None = None  # absent: "hard" where there are crls or ocsp
    revocation_refresh: Seconds = Seconds(300)  # how often addresses are asked anew, though what they said still holds
    resumption: bool = False

    @property
    def mode_of_revocation(self) -> str:
        """What `revocation` means: off, soft or hard."""
        if self.revocation is not None:
            return self.revocation
        return "hard" if self.mode != "off" and (self.crls or self.ocsp != "off") else "off"


class Listen(Table, frozen=True, kw_only=True):
    address: str | tuple[str, ...] = "0.0.0.0:8443"
    certificate: str | KeyVaultRef
    private_key: str | None = None
    certificates: tuple[CertificatePair, ...] = ()
    minimum_tls: Literal["1.2", "1.3"] = "1.2"
    workers: int = 0
    trusted_proxies: tuple[str, ...] = ()  # networks whose forwarded-certificate headers count, over mTLS only
    forwarded_certificate: Literal["client-cert", "x-arr-clientcert", "x-forwarded-client-cert"] = "client-cert"
    health: Health = Health()
    bounds: Bounds = Bounds()
    client_certificates: ClientCertificates = ClientCertificates()


class Admin(Table, frozen=True, kw_only=True):
    address: str = "127.0.0.1:9443"
    token: SecretRef = SecretRef(file="state/admin.token")
    certificate: str | None = None
    private_key: str | None = None
    roots: tuple[str, ...] = ()


class State(Table, frozen=True, kw_only=True):
    path: str = "state/penstock.db"
    pepper: SecretRef = SecretRef(file="state/pepper")
    redis: str | None = None


class Audit(Table, frozen=True, kw_only=True):
    path: str = "log/audit.jsonl"
    key: SecretRef = SecretRef(file="state/audit.key")  # chains the records; made at first start, kept apart from them
    required: bool = False
    user: Literal["plain", "hash", "none"] = "plain"
    webhook: str | None = None  # events are posted there as JSON
    webhook_token: SecretRef | None = None  # sent along as a bearer token
    otlp: str | None = None  # records go there as OTLP logs; usually ends with /v1/logs
    otlp_token: SecretRef | None = None
    rotate_at: Bytes = Bytes(256 << 20)  # the file is renamed with its time when it would grow past this
    keep: int = 0  # rotated files kept; 0: all


class Issuer(Table, frozen=True, kw_only=True):
    name: str
    issuer: str  # compared with `iss` exactly; "{tenantid}" in it stands for each of `tenants`
    tenants: tuple[str, ...] = ()
    audiences: tuple[str, ...]
    jwks: str | None = None  # absent: by OIDC discovery
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    types: tuple[str, ...] = ()  # empty: "JWT", "at+jwt" or none
    ca: str | None = None
    leeway: Seconds = Seconds(30)
    require_nbf: bool = True  # false, for issuers whose tokens have none (Okta, Auth0): checked where there is one
    required_claims: dict[str, str | tuple[str, ...]] = {}
    client_claim: str | tuple[str, ...] = "azp"
    user_claim: str | tuple[str, ...] = "oid"
    refresh: Seconds = Seconds(3600)  # keys are fetched again after this time
    refetch_interval: Seconds = Seconds(30)  # and, for a key not seen before, at most this often


class CertificateMatch(Table, frozen=True, kw_only=True):
    """All given fields must match; of a list, any one."""

    issuer: str | None = None  # the leaf's direct issuer, RFC 4514
    subject: str | None = None  # RFC 4514
    san_uri: tuple[str, ...] = ()
    san_dns: tuple[str, ...] = ()
    san_email: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()  # "sha256:" and hex
    serials: tuple[str, ...] = ()  # hex, with colons or without; an issuer's own, so they need one


class TokenMatch(Table, frozen=True, kw_only=True):
    issuer: str
    client: str


class Grant(Table, frozen=True, kw_only=True):
    """What a client may do. All given fields must be met; of a list, any one. The first grant that allows decides."""

    models: tuple[str, ...] = ()  # names, or patterns with * and ?
    operations: tuple[str, ...] = ()  # "*": all stateless ones
    scopes: tuple[str, ...] = ()  # these four only a token can meet; each that is given must be met, by any one of it
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()  # as the issuer's user_claim has them
    features: tuple[Literal["data_sources", "server_tools", "remote_images", "background"], ...] = ()
    max_tokens: int | None = None  # of one completion; a request that names no limit gets this one
    max_choices: int | None = None  # answers to one request: n, best_of, each for every prompt
    streaming: Literal["required", "forbidden"] | None = None
    tools: Literal["allowed", "forbidden"] = "allowed"  # functions as well as the service's own
    images: Literal["allowed", "forbidden"] = "allowed"  # as input, files with their pages among them
    audio: Literal["allowed", "forbidden"] = "allowed"  # as input


class Limits(Table, frozen=True, kw_only=True):
    """None: unlimited."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent_requests: int | None = None
    priority: Literal["interactive", "batch"] = "interactive"


class Client(Table, frozen=True, kw_only=True):
    name: str
    tenant: str | None = None
    certificate: CertificateMatch | None = None
    token: TokenMatch | None = None
    keys: bool = False
    key_hashes: tuple[str, ...] = ()
    require: Literal["any", "all"] = "any"
    regions: tuple[str, ...] = ()  # residency: never sent elsewhere; empty: any
    backends: tuple[str, ...] = ()  # pinned: sent to these alone; empty: any
    tiers: tuple[Literal["provisioned", "standard"], ...] = ()  # empty: any
    routes: dict[str, str] = {}  # what this client's requests for a model are answered by: another of `models`
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    on_revocation: Literal["finish", "end"] = "finish"  # what runs when its certificate is revoked
    share_state: Literal["client", "tenant"] = "client"  # with whom what it stores is shared: clients that say so too
    grants: tuple[Grant, ...] = ()
    limits: Limits = Limits()


class Credential(Table, frozen=True, kw_only=True):
    """How the gateway proves itself to a backend."""

    kind: Literal[
        "managed_identity", "workload_identity", "client_secret", "client_certificate", "azure_cli", "api_key"
    ]
    client_id: str | None = None
    tenant_id: str | None = None
    secret: SecretRef | None = None
    key: SecretRef | None = None
    certificate: str | None = None  # PEM, with its key: RSA
    certificate_password: SecretRef | None = None
    token_file: str | None = None  # of a workload's identity; absent: AZURE_FEDERATED_TOKEN_FILE names it
    authority: str | None = None
    cloud: Literal["public", "us_government", "china"] = "public"  # whose authority and scope are the defaults
    scope: str | None = None  # absent: the cloud's own for Azure OpenAI
    ca: str | None = None


class Backend(Table, frozen=True, kw_only=True):
    name: str
    url: str
    region: str
    tier: Literal["provisioned", "standard"] = "standard"
    credential: str
    ca: str | None = None
    connect_to: str | None = None  # host and port of a private endpoint; what is asked for and verified stays `url`'s
    client_certificate: str | None = None  # shown to the backend
    client_key: str | None = None  # absent: in the file of the certificate
    forward_proxy: str | None = None  # http://host:port; absent: `upstream.forward_proxy`; "none": none


class Deployment(Table, frozen=True, kw_only=True):
    backend: str
    deployment: str
    priority: int = 0
    weight: int = 1
    operations: tuple[str, ...] = ()  # it serves; empty: all
    api_versions: tuple[str, str] | None = None  # the first and the last of dated versions it serves; absent: any
    vision: bool = True  # takes images as input
    audio: bool = True  # takes audio as input
    context: int | None = None  # tokens of prompt and completion together; absent: any
    tokens_per_minute: int | None = None  # of the deployment, as bought: it is preferred while there is room
    spill_at: float | None = None  # utilisation (0 to 1) from which those of the next priority are preferred
    canary: float | None = None  # the share of clients or users (0 to 1) that ask this one first; all others never do


class Model(Table, frozen=True, kw_only=True):
    name: str
    aliases: tuple[str, ...] = ()  # other names that clients may use for it
    tokenizer: str | None = None  # "o200k_base" or "cl100k_base"; absent: o200k_base
    affinity: Literal["off", "cache_key", "prompt"] = "cache_key"  # what keeps a prompt's cache with one deployment
    sticky: Literal["client", "user"] = "client"  # whose share a canary gets
    deployments: tuple[Deployment, ...]
    first_byte: Seconds | None = None
    stream_idle: Seconds | None = None


class Breaker(Table, frozen=True, kw_only=True):
    """When a deployment is set aside, and for how long."""

    failures: int = 5  # in a row
    ratio: float = 0.5  # or this share of the answers within `window`, once there were `volume`
    window: Seconds = Seconds(10)
    volume: int = 20
    open_for: Seconds = Seconds(5)  # doubled by each failed probe
    open_at_most: Seconds = Seconds(60)
    retry_after_at_most: Seconds = Seconds(60)  # a longer `retry-after` of a 429 is probed after this time
    misconfigured_for: Seconds = Seconds(30)  # after a backend's 401, 403 or DeploymentNotFound


class RetryBudget(Table, frozen=True, kw_only=True):
    """How many attempts beyond the first all requests of a worker may make together, within ten seconds."""

    ratio: float = 0.2  # of its requests
    at_least: int = 100  # though there were few


class Hedging(Table, frozen=True, kw_only=True):
    """A second deployment is asked when the first byte of a stream does not come; of interactive clients alone."""

    after: Seconds
    ratio: float = 0.05  # of requests that may be hedged


class Queueing(Table, frozen=True, kw_only=True):
    """Requests wait while every deployment they may go to is unavailable; interactive ones first, fair by client."""

    wait: Seconds = Seconds(2)  # "0s": none waits
    size: int = 1_000  # a worker's


class HealthProbes(Table, frozen=True, kw_only=True):
    """A backend without traffic is asked for its models, which costs no token."""

    every: Seconds = Seconds(30)  # a backend, at most; "0s": never
    within: Seconds = Seconds(5)


class Routing(Table, frozen=True, kw_only=True):
    attempts: int = 3  # of one request, over all deployments
    retry_first_byte_timeout: bool = False
    slow_start: Seconds = Seconds(10)  # a deployment that comes back gets its share over this time; "0s": at once
    breaker: Breaker = Breaker()
    retries: RetryBudget = RetryBudget()
    hedging: Hedging | None = None
    queue: Queueing = Queueing()
    probes: HealthProbes = HealthProbes()


class Upstream(Table, frozen=True, kw_only=True):
    """The connections to all backends."""

    warm: int = 2  # kept open to each backend, a worker; 0: none are opened ahead
    forward_proxy: str | None = None  # http://host:port that backends are reached through, by CONNECT
    forward_proxy_credential: SecretRef | None = None  # "user:password" for it


class Forward(Table, frozen=True, kw_only=True):
    """What passes to a backend beside what always does."""

    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


class Expiry(Table, frozen=True, kw_only=True):
    """When it is announced that a certificate runs out, in days before its end."""

    warn_days: tuple[int, ...] = (30, 14, 7, 1)


class Config(Table, frozen=True, kw_only=True):
    listen: Listen
    admin: Admin = Admin()
    state: State = State()
    audit: Audit = Audit()
    issuers: tuple[Issuer, ...] = ()
    clients: tuple[Client, ...] = ()
    credentials: dict[str, Credential] = {}
    backends: tuple[Backend, ...] = ()
    models: tuple[Model, ...] = ()
    routing: Routing = Routing()
    upstream: Upstream = Upstream()
    forward: Forward = Forward()
    expiry: Expiry = Expiry()
    key_vault: KeyVault = KeyVault()
