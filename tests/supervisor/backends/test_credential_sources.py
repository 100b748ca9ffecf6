"""The real credentials of azure-identity against the mock's endpoints, as the supervisor asks them."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trio

from bench.mock.assertion import AUDIENCE
from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.mint import TokenIssuer
from bench.mock.process import MockProcess, mock_process
from certs.application import application
from certs.pki import Pki, build
from proxy.config.structs import Credential, SecretRef
from proxy.messages import UpstreamCredential
from proxy.supervisor.backends import credential_sources
from proxy.supervisor.backends.credential_sources import CredentialFailed
from proxy.supervisor.backends.credentials import Refresher, in_thread
from proxy.wire.tls import backend_context

CLIENT = "6f1c0000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-00000000000a"
SECRET = "the-secret-of-the-application"
PUBLIC = "https://cognitiveservices.azure.com"


class World:
    """A mock Azure with one application, and what the application proves itself with."""

    def __init__(self, folder: Path, pki: Pki, mock: MockProcess) -> None:
        self.folder = folder
        self.pki = pki
        self.mock = mock
        self.cluster = TokenIssuer(f"{mock.issuers}/cluster", audience=AUDIENCE)
        self.token_file = folder / "federated"
        self.federate()
        (folder / "secret").write_text(SECRET)

    def federate(self, **claims: Any) -> None:
        """Have the cluster give the workload a token."""
        self.token_file.write_bytes(self.cluster.mint(sub="system:serviceaccount:ns:penstock", **claims))

    def credential(self, kind: str, **more: object) -> Credential:
        common: dict[str, object] = {"tenant_id": TENANT, "client_id": CLIENT, "authority": self.mock.entra}
        common["ca"] = str(self.pki.server_root)
        own: dict[str, dict[str, object]] = {
            "managed_identity": {},
            "workload_identity": common | {"token_file": str(self.token_file)},
            "client_secret": common | {"secret": SecretRef(file=str(self.folder / "secret"))},
            "client_certificate": common | {"certificate": str(self.folder / "app.pem")},
        }
        return Credential(kind=kind, **{**own[kind], **more})  # type: ignore[arg-type]

    def obtain(self, kind: str, **more: object) -> UpstreamCredential:
        return credential_sources.build("gateway", self.credential(kind, **more))()

    def fails(self, kind: str, **more: object) -> str:
        """What is said of a source that gives nothing: one line, without a secret."""
        with pytest.raises(CredentialFailed) as failed:
            self.obtain(kind, **more)
        fact = failed.value.fact
        assert fact
        assert "\n" not in fact
        assert SECRET not in fact
        assert self.token_file.read_text()[:60] not in fact
        return fact

    def accepted(self, credential: UpstreamCredential) -> bool:
        """Whether a backend lets it in."""
        url = self.mock.urls["swc"] + "/openai/models?api-version=2024-10-21"
        headers = {credential.header: credential.value}
        context = backend_context(self.pki.server_root.read_bytes())
        return httpx.get(url, headers=headers, verify=context).status_code == 200

    def asked(self, endpoint: str) -> dict[str, str]:
        """The last question to one of the endpoints."""
        entry = self.mock.received(endpoint)[-1]
        form = urlsplit(entry["target"]).query if endpoint == "identity" else entry["body"]
        return {name: values[-1] for name, values in parse_qs(form).items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("identities")
    pki = build(folder / "pki")
    pair = pki.pairs["mock"]
    config = MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        client_ids=(CLIENT,),
        client_secret=SECRET,
        client_certificate=str(application(folder / "app.pem")),
        federated_issuer="cluster",
        instances=(Instance(name="swc", deployments=(Deployment(name="gpt-4o"),)),),
    )
    with mock_process(config) as mock:
        yield World(folder, pki, mock)


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", made.mock.identity)
    made.mock.clear()
    made.mock.forget()
    made.mock.tokens(life=3600.0)
    made.mock.issuer("cluster", made.cluster.jwks)
    made.federate()
    return made


KINDS = ["managed_identity", "workload_identity", "client_secret", "client_certificate"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_accepts_what_each_kind_obtains(world: World, kind: str) -> None:
    got = world.obtain(kind)
    assert got.header == "authorization"
    assert got.expires == pytest.approx(time.time() + 3600, abs=120)
    assert got.value not in repr(got)
    assert world.accepted(got)
    asked = world.asked("identity" if kind == "managed_identity" else "entra")
    assert asked.get("resource", asked.get("scope", "")).removesuffix("/.default") == PUBLIC


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("cloud", "resource"),
    [
        ("us_government", "https://cognitiveservices.azure.us"),
        ("china", "https://cognitiveservices.azure.cn"),
    ],
)
def test_a_sovereign_cloud_has_its_own_resource(world: World, kind: str, cloud: str, resource: str) -> None:
    assert world.accepted(world.obtain(kind, cloud=cloud))
    asked = world.asked("identity" if kind == "managed_identity" else "entra")
    assert asked.get("resource", asked.get("scope", "")).removesuffix("/.default") == resource


@pytest.mark.parametrize("kind", KINDS)
def test_a_scope_of_ones_own_comes_first(world: World, kind: str) -> None:
    assert world.accepted(world.obtain(kind, scope="https://ai.azure.com/.default", cloud="china"))
    asked = world.asked("identity" if kind == "managed_identity" else "entra")
    assert asked.get("resource", asked.get("scope", "")).removesuffix("/.default") == "https://ai.azure.com"


@pytest.mark.parametrize(("cloud", "host"), [("us_government", "AZURE_GOVERNMENT"), ("china", "AZURE_CHINA")])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_sovereign_cloud_has_its_own_authority(world: World, kind: str, cloud: str, host: str) -> None:
    from azure.identity import AzureAuthorityHosts

    secret = SECRET if kind == "client_secret" else None
    made = credential_sources.identity(world.credential(kind, authority=None, cloud=cloud), secret)
    inner = getattr(made, "_client", made)
    assert getattr(AzureAuthorityHosts, host) in repr(vars(made)) + repr(vars(inner))
    made.close()


def test_a_managed_identity_is_the_systems_unless_it_is_named(world: World) -> None:
    assert "client_id" not in (world.obtain("managed_identity"), world.asked("identity"))[1]
    assert world.accepted(world.obtain("managed_identity", client_id=CLIENT))
    assert world.asked("identity")["client_id"] == CLIENT
    assert "Identity not found" in world.fails("managed_identity", client_id="another")


# What goes wrong at the endpoints.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["reset", "close", "error", "throttle", "malformed"])
def test_an_endpoint_that_fails_is_asked_once_and_serves_again(world: World, kind: str, fault: str) -> None:
    endpoint = "identity" if kind == "managed_identity" else "entra"
    world.mock.fault(fault, instance=endpoint, retry_after=30)
    began = time.monotonic()
    world.fails(kind)
    assert time.monotonic() - began < 30.0
    questions = [entry for entry in world.mock.received(endpoint) if entry["target"].find("/token") > 0]
    assert len(questions) <= 1
    world.mock.clear()
    assert world.accepted(world.obtain(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_that_is_slow_is_waited_for_and_one_that_hangs_is_not(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = "identity" if kind == "managed_identity" else "entra"
    world.mock.fault("late", instance=endpoint, delay=0.3)
    assert world.accepted(world.obtain(kind))
    world.mock.clear()
    world.mock.fault("hang", instance=endpoint)
    monkeypatch.setitem(credential_sources.EXCHANGE, "read_timeout", 0.3)
    world.fails(kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_that_has_expired_is_none(world: World, kind: str) -> None:
    world.mock.tokens(life=-60.0)
    refresher = Refresher({"gateway": world.credential(kind)}, lambda _: None, lambda _: None, obtainer=in_thread)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refresher.run)
            await refresher.first.wait()
            nursery.cancel_scope.cancel()
    assert refresher.current == {}
    assert refresher.failing["gateway"]


# What proves an application.


def test_a_secret_that_is_wrong(world: World) -> None:
    wrong = world.folder / "wrong"
    wrong.write_text("not-" + SECRET)
    assert "AADSTS7000215" in world.fails("client_secret", secret=SecretRef(file=str(wrong)))
    assert "cannot be read" in world.fails("client_secret", secret=SecretRef(file=str(world.folder / "absent")))


def test_a_certificate_that_entra_does_not_know(world: World) -> None:
    other = application(world.folder / "other.pem")
    assert "AADSTS700027" in world.fails("client_certificate", certificate=str(other))


def test_a_certificate_whose_key_is_locked(world: World) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    pem = (world.folder / "app.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    locked = world.folder / "locked.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    locked.write_bytes(pem.partition(b"-----BEGIN PRIVATE")[0] + private)
    password = world.folder / "password"
    password.write_text("open sesame\n")
    ref = SecretRef(file=str(password))
    assert world.accepted(world.obtain("client_certificate", certificate=str(locked), certificate_password=ref))
    password.write_text("open barley\n")
    said = world.fails("client_certificate", certificate=str(locked), certificate_password=ref)
    assert "open barley" not in said


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 1_000_000_000}, "AADSTS700024"),
        ({"aud": "api://another"}, "AADSTS700212"),
        ({"iss": "https://elsewhere.example"}, "AADSTS700211"),
    ],
)
def test_a_workloads_token_that_entra_does_not_take(world: World, claims: dict[str, Any], code: str) -> None:
    world.federate(**claims)
    assert code in world.fails("workload_identity")
    world.federate()
    assert world.accepted(world.obtain("workload_identity"))  # the file is read anew


def test_a_workloads_token_that_is_not_there(world: World) -> None:
    assert "No such file" in world.fails("workload_identity", token_file=str(world.folder / "absent"))


def test_a_workload_is_told_by_its_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(world.token_file))
    assert world.accepted(world.obtain("workload_identity", tenant_id=None, client_id=None, token_file=None))


# The Azure CLI.

Az = Callable[[str], Path]


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Az:
    """Puts a script by that name first on the path; the file that its arguments go into."""
    told = tmp_path / "arguments"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def install(script: str) -> Path:
        program = tmp_path / "az"
        program.write_text(f'#!/bin/sh\necho "$@" > {told}\n{script}\n')
        program.chmod(0o755)
        return told

    return install


def command(**more: object) -> UpstreamCredential:
    return credential_sources.build("cli", Credential(kind="azure_cli", **more))()  # type: ignore[arg-type]


def test_the_azure_cli_is_asked_for_a_token(az: Az) -> None:
    answer = {"accessToken": "a-token", "expires_on": 2_000_000_000, "tokenType": "Bearer"}
    told = az(f"echo '{json.dumps(answer)}'")
    assert command() == UpstreamCredential("authorization", "Bearer a-token", 2_000_000_000.0)
    assert f"--resource {PUBLIC}" in told.read_text()
    assert "--tenant" not in told.read_text()
    command(tenant_id="contoso.example", cloud="us_government")
    assert "--resource https://cognitiveservices.azure.us --tenant contoso.example" in told.read_text()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'run az login to set up an account' >&2; exit 1", "Please run 'az login' to set up an account"),
        ("echo nonsense", "Unexpected output from Azure CLI"),
        ('echo \'{"accessToken": "%s"}\'' % ("s3cr3t" * 9), "Unexpected output from Azure CLI"),
        ("exit 127", "Azure CLI not found on path"),
    ],
)
def test_an_azure_cli_that_gives_nothing(az: Az, script: str, says: str) -> None:
    az(script)
    with pytest.raises(CredentialFailed) as failed:
        command()
    assert says in failed.value.fact
    assert "s3cr3t" not in failed.value.fact


def test_an_azure_cli_that_hangs_is_ended(az: Az, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_sources, "_COMMAND_WITHIN", 1)
    az("exec sleep 60")
    began = time.monotonic()
    with pytest.raises(CredentialFailed):
        command()
    assert time.monotonic() - began < 30.0


def test_no_azure_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CredentialFailed, match="Azure CLI not found on path"):
        command()
