"""A gateway's state to show, and the admin and health address of it on real sockets of the loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from proxy.admin.backends import (
    BackendsStatus,
    DeploymentError,
    DeploymentStatus,
    FirstByte,
    SetBreaker,
    SetWeight,
    Which,
)
from proxy.admin.body import Cannot
from proxy.admin.config import Applied, Difference, InForce, Invalid, NamedFile, Problem, Version, Versions
from proxy.admin.explain import Question
from proxy.admin.keys import IssueKey, KeyStatus, NewKey, RotateKey
from proxy.admin.server import serve_admin, serve_health
from proxy.admin.view import (
    CertificateStatus,
    ClientStatus,
    ConfigStatus,
    CredentialStatus,
    IssuerStatus,
    LimitStatus,
    ReloadResult,
    Status,
    WorkerStatus,
)
from proxy.config.difference import Change
from proxy.config.structs import Admin
from proxy.policy.explain import Explanation
from proxy.supervisor.sockets import listen

TOKEN = "a-token-of-the-tests-that-is-long-enough-1234"
NOW = 1_790_000_000.0
BEARER = {"authorization": f"Bearer {TOKEN}"}


def status(**changes: object) -> Status:
    parts: dict[str, object] = {
        "version": "0.1.0",
        "time": NOW,
        "started": NOW - 93_784,
        "config": ConfigStatus(
            file="/etc/penstock/penstock.toml",
            version=4,
            last_reload=ReloadResult(ok=True, time=NOW - 3_700, version=4),
        ),
        "workers": (
            WorkerStatus(
                index=0, pid=4711, state="serving", since=NOW - 93_783, restarts=0, connections=1_204, requests=311,
                streams=288, version=4,
            ),
            WorkerStatus(
                index=1, pid=None, state="backing_off", since=NOW - 2, restarts=3, connections=0, requests=0, streams=0,
                version=3,
            ),
        ),
        "deployments": (
            DeploymentStatus(
                models=("gpt-4o",), backend="swc-ptu", region="swedencentral", tier="provisioned",
                deployment="gpt-4o-ptu", state="open", reason="throttled", until=NOW + 14, in_flight=0,
            ),
            DeploymentStatus(
                models=("gpt-4o", "gpt-4o-2024-11-20"), backend="swc-std", region="swedencentral", tier="standard",
                deployment="gpt-4o", state="closed", in_flight=288, requests_per_second=31.5,
                tokens_per_minute=1_204_000, remaining_tokens=96_000, utilisation=0.93, weight=2.5, weight_set=True,
                weight_goal=5, weights={"gpt-4o": 1}, first_byte=FirstByte(p50=0.21, p90=0.6, p99=1.34),
                error_share=0.002, throttled_share=0.01,
                errors=(DeploymentError(text="connect_failed", count=3, time=NOW - 61),),
            ),
            DeploymentStatus(
                models=("gpt-4o",), backend="fra-std", region="francecentral", tier="standard", deployment="gpt-4o",
                state="half_open", reason="failures", in_flight=1, drained="draining", drained_since=NOW - 75,
            ),
        ),
        "clients": (
            ClientStatus(
                name="turbine-7", tenant="power", credentials=("certificate",),
                grants=("chat.completions, embeddings of gpt-4o, text-embedding-3-*",),
                limits=(
                    LimitStatus(name="requests_per_minute", limit=600, used=312),
                    LimitStatus(name="tokens_per_minute", limit=120_000, used=118_400),
                    LimitStatus(name="concurrent_requests", limit=64),
                ),
            ),
            ClientStatus(name="reporting", tenant=None, credentials=("token", "key"), grants=(), limits=()),
        ),
        "certificates": (
            CertificateStatus(
                name="listen.certificate", subject="CN=gateway.example", not_after=NOW + 86_400 * 61, days_left=61.0
            ),
            CertificateStatus(
                name="listen.certificates[0]", subject="CN=old.example", not_after=NOW + 86_400 * 5, days_left=5.0
            ),
        ),
        "credentials": (
            CredentialStatus(name="gateway", kind="managed_identity", state="valid", expires_in=3_100.0),
            CredentialStatus(name="lab", kind="api_key", state="valid"),
        ),
        "issuers": (
            IssuerStatus(name="contoso", issuer="https://login.example/v2.0", state="valid", keys=3),
            IssuerStatus(
                name="fabrikam", issuer="https://fabrikam.example/", state="failed", keys=1, reason="answered 503"
            ),
        ),
    }  # fmt: skip
    return Status(**{**parts, **changes})  # type: ignore[arg-type]


def key_status(**changes: object) -> KeyStatus:
    parts: dict[str, object] = {
        "id": "key-0011aabbccdd", "client": "turbine-7", "state": "live", "created": NOW - 86_400.0 * 20,
        "expires": NOW + 86_400.0 * 70, "revoked": None, "last_used": NOW - 61, "note": "line 7",
    }  # fmt: skip
    return KeyStatus(**{**parts, **changes})  # type: ignore[arg-type]


class Desk:
    """Keys that are issued to one client, and to no other."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def listing(self) -> tuple[KeyStatus, ...]:
        return (key_status(), key_status(id="key-2", state="revoked", revoked=NOW))

    async def issue(self, wanted: IssueKey) -> NewKey:
        self.asked.append(wanted)
        if wanted.client != "turbine-7":
            raise Cannot(422, "UnknownClient", "no client is named so.")
        return NewKey(key="penstock_shown-once", issued=key_status(id="key-3"), other=key_status())

    async def rotate(self, wanted: RotateKey) -> NewKey:
        return await self.issue(wanted)

    async def revoke(self, key_id: str) -> KeyStatus:
        self.asked.append(key_id)
        if key_id != "key-2":
            raise Cannot(404, "UnknownKey", "no key has this id.")
        return key_status(id=key_id, state="revoked", revoked=NOW)


class Ward:
    """One backend, of which anything may be asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, object]] = []

    def listing(self) -> BackendsStatus:
        return BackendsStatus(time=NOW, deployments=status().deployments)

    def drain(self, backend: str, wanted: Which) -> BackendsStatus:
        return self._asked("drain", backend, wanted)

    def undrain(self, backend: str, wanted: Which) -> BackendsStatus:
        return self._asked("undrain", backend, wanted)

    def set_breaker(self, backend: str, wanted: SetBreaker) -> BackendsStatus:
        return self._asked("breaker", backend, wanted)

    def set_weight(self, backend: str, wanted: SetWeight) -> BackendsStatus:
        return self._asked("weight", backend, wanted)

    def _asked(self, what: str, backend: str, wanted: object) -> BackendsStatus:
        self.asked.append((what, backend, wanted))
        if backend != "swc-std":
            raise Cannot(404, "UnknownBackend", "no backend is named so.")
        return BackendsStatus(time=NOW, deployments=status().deployments[1:2])


class Shelf:
    """A configuration, version 7, that takes a text of `valid` words and no other."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.may_go_on = trio.Event()
        self.may_go_on.set()

    def in_force(self) -> InForce:
        return InForce(
            version=7, digest="sha256:00", since=NOW, source="file", file="/etc/penstock/penstock.toml",
            config={"listen": {"workers": 0}}, files=(NamedFile(path="/etc/server.pem", holds=("sha256:12…",)),),
        )  # fmt: skip

    def text(self, version: int | None) -> bytes:
        if version not in (None, 6):
            raise Cannot(404, "UnknownVersion", "There is no such version.")
        return b"# in force\n" if version is None else b"# before\n"

    def versions(self) -> Versions:
        before = Version(version=6, time=NOW - 60, source="start", digest="sha256:01", summary="at the start")
        return Versions(version=7, versions=(before,))

    async def check(self, text: bytes) -> Difference:
        self._judge("check", text)
        return Difference(version=7, restart=False, summary=CHANGE.key, changes=(CHANGE,))

    async def apply(self, text: bytes, instead_of: int) -> Applied:
        self._judge("apply", text, instead_of)
        await self.may_go_on.wait()
        if instead_of != 7:
            raise Cannot(412, "OtherVersion", "Version 7 is in force.")
        return APPLIED

    async def roll_back(self, to: int | None, instead_of: int | None) -> Applied:
        self.asked.append(("roll_back", to, instead_of))
        return APPLIED

    def _judge(self, *asked: object) -> None:
        self.asked.append(asked)
        if b"valid" not in asked[1]:  # type: ignore[operator]
            problem = Problem(file="penstock.toml", key="listen.wrkers", found="unknown key", remedy="leave it out")
            raise Invalid("Refused: listen.wrkers.", (problem,))


CHANGE = Change(key="listen.bounds.head", kind="changed", old='"15s"', new='"20s"')
APPLIED = Applied(version=8, file="penstock.toml", previous="penstock.toml.previous", summary="…", changes=(CHANGE,))


class Gateway:
    """A view whose answers a test sets."""

    def __init__(self) -> None:
        self.keys = Desk()
        self.configuration = Shelf()
        self.backends = Ward()
        self.shown = status()
        self.missing: list[str] = []
        self.reloads = 0
        self.asked: list[Question] = []
        self.result = ReloadResult(ok=True, time=NOW, version=5)
        self.may_reload = trio.Event()
        self.may_reload.set()

    def status(self) -> Status:
        return self.shown

    def ready(self) -> tuple[bool, list[str]]:
        return not self.missing, self.missing

    def explain(self, question: Question) -> Explanation | None:
        self.asked.append(question)
        return Explanation(rule="grants[0]") if question.client == "turbine-7" else None

    def metrics(self) -> bytes:
        return b"# TYPE penstock_workers gauge\npenstock_workers 2\n"

    async def reload(self) -> ReloadResult:
        self.reloads += 1
        await self.may_reload.wait()
        return self.result


@asynccontextmanager
async def admin_of(gateway: Gateway, admin: Admin | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """The admin address of `gateway`; the client has no token, and its base is the address."""
    admin = admin or Admin(address="127.0.0.1:0")
    sock = listen("127.0.0.1:0")
    port = sock.getsockname()[1]
    scheme = "https" if admin.certificate else "http"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_admin, sock, admin, TOKEN, gateway)
        async with httpx.AsyncClient(base_url=f"{scheme}://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def health_of(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """The health address of `gateway`."""
    sock = listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_health, sock, gateway)
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, timeout=10, trust_env=False) as client:
            yield client
        nursery.cancel_scope.cancel()
