"""Fetching keys from a real server: by discovery or at a fixed address, and what is refused on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.mint import KeyPair, TokenIssuer
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.commands import online
from proxy.config.structs import Config, Issuer, Listen
from proxy.supervisor.identity import discovery
from proxy.supervisor.identity.discovery import KeysUnavailable, fetch_keys

JWKS = TokenIssuer("", KeyPair("1")).jwks


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def running(pki: Pki) -> Iterator[MockProcess]:
    pair = pki.pairs["mock"]
    instance = Instance(name="swc", deployments=(Deployment(name="gpt-4o"),))
    config = MockConfig(certificate=str(pair.certificate), private_key=str(pair.key), instances=(instance,))
    with mock_process(config) as process:
        yield process


@pytest.fixture
def mock(running: MockProcess) -> MockProcess:
    running.clear()
    running.forget()
    running.issuer("contoso", JWKS)
    return running


@pytest.fixture
def issuer(mock: MockProcess, pki: Pki) -> Issuer:
    return Issuer(name="contoso", issuer=f"{mock.issuers}/contoso", audiences=("a",), ca=str(pki.server_root))


def changed(one: Issuer, /, **fields: Any) -> Issuer:
    return msgspec.structs.replace(one, **fields)


async def fails(issuer: Issuer) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        await fetch_keys(issuer)
    assert caught.value.fact.isprintable()
    return caught.value.fact


async def test_by_discovery_and_at_a_fixed_address(mock: MockProcess, issuer: Issuer) -> None:
    assert [key.kid for key in (await fetch_keys(issuer)).keys] == ["1"]
    assert len(mock.received("issuer:contoso")) == 2
    fixed = changed(issuer, jwks=f"{mock.issuers}/contoso/keys", issuer="https://elsewhere.example")
    assert [key.kid for key in (await fetch_keys(fixed)).keys] == ["1"]
    assert len(mock.received("issuer:contoso")) == 3


async def test_a_trailing_slash(mock: MockProcess, issuer: Issuer) -> None:
    mock.issuer("contoso", JWKS, {"issuer": issuer.issuer + "/"})
    assert (await fetch_keys(changed(issuer, issuer=issuer.issuer + "/"))).keys


async def test_a_template_is_discovered_where_all_tenants_are(mock: MockProcess, issuer: Issuer) -> None:
    template = f"{mock.issuers}/{{tenantid}}/v2.0"
    mock.issuer("common", JWKS)
    assert "404" in await fails(changed(issuer, issuer=template, tenants=("a",)))
    (asked,) = mock.received("issuer:common")
    assert asked["target"] == "/common/v2.0/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("configuration", "fact"),
    [
        ({"issuer": "https://elsewhere.example"}, "that of another issuer"),
        ({"issuer": None}, "that of another issuer"),
        ({"jwks_uri": "http://127.0.0.1:1/keys"}, "not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "not https"),
        ({"jwks_uri": "https:///keys"}, "not https"),
        ({"jwks_uri": "https://user:password@localhost/keys"}, "no address"),
        ({"jwks_uri": 1}, "no address"),
        ({"jwks_uri": "https://localhost:1/keys"}, "cannot be reached"),
        ({"jwks_uri": "https://[::1/keys"}, "cannot be reached"),
        ({"padding": "x" * 300_000}, "more than"),
    ],
)
async def test_what_an_issuer_says_of_itself(
    mock: MockProcess, issuer: Issuer, configuration: dict[str, Any], fact: str
) -> None:
    mock.issuer("contoso", JWKS, configuration)
    assert fact in await fails(issuer)


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ({"kind": "error", "status": 500}, "answered 500"),
        ({"kind": "error", "status": 302}, "answered 302"),
        ({"kind": "error", "status": 204}, "answered 204"),
        ({"kind": "throttle"}, "answered 429"),
        ({"kind": "reset"}, "cannot be reached"),
        ({"kind": "close"}, "cannot be reached"),
        ({"kind": "malformed"}, "not a JSON object"),
    ],
)
async def test_an_endpoint_that_fails(mock: MockProcess, issuer: Issuer, fault: dict[str, Any], fact: str) -> None:
    mock.fault(**fault, instance="issuer:contoso")
    assert fact in await fails(issuer)


async def test_an_endpoint_that_hangs(mock: MockProcess, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_WITHIN", 0.3)
    mock.fault("hang", instance="issuer:contoso")
    with trio.fail_after(3):
        assert "no answer" in await fails(issuer)


async def test_documents_that_hold_no_keys(mock: MockProcess, issuer: Issuer) -> None:
    mock.issuer("contoso", {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})
    assert "no public signing key" in await fails(issuer)
    mock.issuer("contoso", {"keys": [JWKS["keys"][0] | {"padding": "x" * 300_000}]})
    assert "more than" in await fails(issuer)


async def test_only_trusted_servers(mock: MockProcess, pki: Pki, issuer: Issuer, tmp_path: Path) -> None:
    assert "not trusted" in await fails(changed(issuer, ca=str(pki.client_root)))
    assert "not trusted" in await fails(changed(issuer, ca=None))
    assert "cannot be reached" in await fails(changed(issuer, ca=str(tmp_path / "none.pem")))
    assert mock.received("issuer:contoso") == []


async def test_check_online_tries_issuers(
    mock: MockProcess, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(issuer, name="fabrikam", issuer=f"{mock.issuers}/fabrikam")
    config = Config(listen=Listen(certificate="unused"), issuers=(issuer, other))
    assert await trio.to_thread.run_sync(online.check, config) == 1
    assert capsys.readouterr() == ("issuer contoso: ok\n", "issuer fabrikam: failed: answered 404\n")
