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
    regions: tuple[str, ...] = ()  # empty: any
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    on_revocation: Literal["finish", "end"] = "finish"  # what runs when its certificate is revoked
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
    certificate: str | None = None
    authority: str | None = None
    scope: str = "https://cognitiveservices.azure.com/.default"
    ca: str | None = None


class Backend(Table, frozen=True, kw_only=True):
    name: str
    url: str
    region: str
    tier: Literal["provisioned", "standard"] = "standard"
    credential: str
    ca: str | None = None


class Deployment(Table, frozen=True, kw_only=True):
    backend: str
    deployment: str
    priority: int = 0
    weight: int = 1


class Model(Table, frozen=True, kw_only=True):
    name: str
    tokenizer: str | None = None  # "o200k_base" or "cl100k_base"; absent: o200k_base
    deployments: tuple[Deployment, ...]
    first_byte: Seconds | None = None
    stream_idle: Seconds | None = None


class Breaker(Table, frozen=True, kw_only=True):
    """When a deployment is set aside, and for how long."""

    failures: int = 5  # in a row
    open_for: Seconds = Seconds(5)  # doubled by each failed probe
    open_at_most: Seconds = Seconds(60)
    retry_after_at_most: Seconds = Seconds(60)  # a longer `retry-after` of a 429 is probed after this time
    misconfigured_for: Seconds = Seconds(30)  # after a backend's 401, 403 or DeploymentNotFound


class Routing(Table, frozen=True, kw_only=True):
    attempts: int = 3  # of one request, over all deployments
    retry_first_byte_timeout: bool = False
    breaker: Breaker = Breaker()


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
    forward: Forward = Forward()
    expiry: Expiry = Expiry()
    key_vault: KeyVault = KeyVault()
