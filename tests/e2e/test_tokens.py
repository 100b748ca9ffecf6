"""Tokens through a listener with real TLS, of issuers that are real servers: who is let in, who is not, and why."""

import hashlib
import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from bench.mock.mint import KeyPair, TokenIssuer
from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.config.structs import Client, Issuer
from proxy.identity import base64url
from tests.e2e.gateway import KEY, OTHER_KEY, WITHIN, Gateway, config_text, gateway, wait_for
from tests.identity.attacks import CLIENTS, ISSUERS, World, attacks, honest

MODELS = "/openai/v1/models"
WORLD = World()
INTERVAL = 1.0
FEW = 9
"""Failures of one address that cost it nothing."""
STRANGER = "revoked"  # a good certificate here, where nothing is revoked, and no client's


def issuers_text(mock: MockProcess, pki: Pki, *more: str) -> str:
    """The issuers of the table, whose keys the mock publishes, and one that is discovered."""
    tables = [_issuer(issuer, f"{mock.issuers}/{issuer.name}/keys", pki) for issuer in ISSUERS]
    tables.append(
        f"""[[issuers]]
name = "discovered"
issuer = "{mock.issuers}/discovered"
audiences = ["api://penstock"]
ca = "{pki.server_root}"
refetch_interval = "{INTERVAL}s"
"""
    )
    return "\n".join((*tables, *more))


def _issuer(issuer: Issuer, keys: str, pki: Pki) -> str:
    lines = [f'jwks = "{keys}"', f'ca = "{pki.server_root}"', f'refetch_interval = "{INTERVAL}s"']
    for field in ("name", "issuer", "tenants", "audiences", "algorithms", "types", "require_nbf", "client_claim"):
        value = getattr(issuer, field)
        lines.append(f"{field} = {json.dumps(value)}")
    lines.append(f'user_claim = "{issuer.user_claim}"')
    required = ", ".join(f"{name} = {json.dumps(value)}" for name, value in issuer.required_claims.items())
    lines.append(f"required_claims = {{ {required} }}")
    return "[[issuers]]\n" + "\n".join(lines) + "\n"


def clients_text(*more: str) -> str:
    found = [_client(client) for client in CLIENTS]
    found.append(_client_text("of-discovered", 'token = { issuer = "discovered", client = "app" }'))
    return "\n".join((*found, *more))


def _client(client: Client) -> str:
    assert client.token is not None
    return _client_text(
        client.name, f'token = {{ issuer = "{client.token.issuer}", client = "{client.token.client}" }}'
    )


def _client_text(name: str, *lines: str) -> str:
    rest = "\n".join(lines)
    return f"""[[clients]]
name = "{name}"
{rest}
[[clients.grants]]
models = ["*"]
operations = ["*"]
"""


@pytest.fixture(scope="module")
def discovered(mock: MockProcess) -> TokenIssuer:
    return TokenIssuer(f"{mock.issuers}/discovered", KeyPair("1"))


def publish(mock: MockProcess, discovered: TokenIssuer) -> None:
    for name, document in WORLD.documents().items():
        mock.issuer(name, document)
    mock.issuer("discovered", discovered.jwks)


@pytest.fixture(scope="module")
def text(mock: MockProcess, pki: Pki) -> str:
    combined = (
        'certificate = { san_dns = ["billing.contoso.example"] }',
        'token = { issuer = "contoso", client = "combined" }',
    )
    more = clients_text(_client_text("combined", *combined, 'require = "all"'))
    return config_text(pki, mock, clients=more, more=issuers_text(mock, pki))


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess, discovered: TokenIssuer, text: str
) -> Iterator[Gateway]:
    mock.clear()
    publish(mock, discovered)
    with gateway(tmp_path_factory.mktemp("tokens"), pki, mock, text) as found:
        yield found


@pytest.fixture
def calm(running: Gateway, mock: MockProcess, discovered: TokenIssuer) -> Iterator[Gateway]:
    mock.clear()
    publish(mock, discovered)
    yield running
    mock.clear()


ADDRESSES = itertools.count(2)


def caller(running: Gateway, certificate: str | None = None) -> httpx.Client:
    """A client at an address of its own: failures of one address are answered later and later."""
    number = next(ADDRESSES)
    transport = httpx.HTTPTransport(
        verify=running.context(certificate), local_address=f"127.0.{number >> 8}.{number & 255}"
    )
    return httpx.Client(base_url=running.url, transport=transport, timeout=WITHIN)


def ask(client: httpx.Client, token: bytes, **headers: str) -> httpx.Response:
    return client.get(MODELS, headers={"authorization": f"Bearer {token.decode()}"} | headers)


def record(running: Gateway, response: httpx.Response) -> dict[str, Any]:
    return running.record_of(response.headers["x-request-id"])


def why(running: Gateway, response: httpx.Response) -> tuple[int, str, str]:
    found = record(running, response)
    return response.status_code, found["reason"], found["rule"]


def test_every_attack_is_refused_and_recorded_for_what_it_is(calm: Gateway) -> None:
    table = attacks(WORLD)
    asked: dict[str, Any] = {}
    for start in range(0, len(table), FEW):
        with caller(calm) as client:
            for attack in table[start : start + FEW]:
                response = ask(client, attack.token)
                assert response.status_code == 401, attack.name
                assert response.headers["www-authenticate"] == 'Bearer realm="penstock", error="invalid_token"'
                assert response.json()["error"]["message"] == "Access denied: the credential is not valid."
                asked[response.headers["x-request-id"]] = attack
            assert ask(client, WORLD.of_contoso()).status_code == 200
    last = response.headers["x-request-id"]
    calm.record_of(last)
    records = {r["request_id"]: r for r in calm.records()}
    for request_id, attack in asked.items():
        found = records[request_id]
        assert found["decision"] == "refused", attack.name
        assert (found["reason"], found["rule"]) == (attack.reason, attack.rule), attack.name
        assert found["credential"]["kind"] == "token"
        assert found["credential"]["fingerprint"].startswith("sha256:")
        assert (found["client"], found["user"]) == (None, None)
    everything = calm.log + (calm.folder / "log" / "audit.jsonl").read_text()
    assert not any(attack.token.decode("latin-1") in everything for attack in table if len(attack.token) > 40)


def test_honest_tokens_of_all_issuers(calm: Gateway, discovered: TokenIssuer) -> None:
    with caller(calm) as client:
        for row in honest(WORLD):
            response = ask(client, row.token)
            assert response.status_code == 200, row.name
            found = record(calm, response)
            assert (found["client"], found["user"], found["decision"]) == (row.client, row.user, "allowed")
            assert found["credential"]["kind"] == "token"
        response = ask(client, discovered.mint(oid="somebody"))
        assert response.status_code == 200
        assert record(calm, response)["client"] == "of-discovered"


def test_a_token_is_never_forwarded(calm: Gateway, mock: MockProcess) -> None:
    token = WORLD.of_contoso().decode()
    mock.forget()
    with caller(calm) as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
        response = client.post("/openai/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 200
    (seen,) = mock.received()
    assert token not in json.dumps(seen)


def test_other_credentials_get_the_plain_challenge(calm: Gateway) -> None:
    with caller(calm) as client:
        for headers in ({}, {"api-key": "wrong"}):
            response = client.get(MODELS, headers=headers)
            assert response.headers["www-authenticate"] == 'Bearer realm="penstock"'


def test_rotation_of_keys(calm: Gateway, mock: MockProcess, discovered: TokenIssuer) -> None:
    """A new key is taken when it is first met; one that is withdrawn is no longer, from the next fetch on."""
    old, new = discovered.keys[0], KeyPair("rotated")
    with caller(calm) as client:
        assert ask(client, discovered.mint()).status_code == 200
        both = TokenIssuer(discovered.iss, old, new)
        mock.issuer("discovered", both.jwks)
        accepted_when_due(client, lambda: both.mint(key=new))
        assert ask(client, both.mint(key=old)).status_code == 200
        alone = TokenIssuer(discovered.iss, KeyPair("third"))
        mock.issuer("discovered", alone.jwks)
        accepted_when_due(client, alone.mint)
        response = ask(client, both.mint(key=old))
        assert why(calm, response) == (401, "invalid_token", "discovered:kid_unknown")
        mock.issuer("discovered", discovered.jwks)
        accepted_when_due(client, discovered.mint)


def accepted_when_due(client: httpx.Client, mint: Callable[[], bytes]) -> None:
    """A token by a new key is let in as soon as its issuer may be asked again."""
    wait_for(lambda: ask(client, mint()).status_code == 200, within=INTERVAL + 5)


def test_a_storm_of_unknown_keys_is_at_most_one_fetch(
    calm: Gateway, mock: MockProcess, discovered: TokenIssuer
) -> None:
    honest_one = discovered.mint()
    mock.forget()
    began = time.monotonic()
    for _ in range(20):
        with caller(calm) as client:
            for number in range(FEW):
                response = ask(client, discovered.mint(header={"kid": f"made up {number}"}))
                assert response.status_code == 401
                assert ask(client, honest_one).status_code == 200
    intervals = (time.monotonic() - began) / INTERVAL
    fetched = sum(entry["target"].endswith("/keys") for entry in mock.received("issuer:discovered"))
    assert fetched <= 2 + intervals, "one may have been on its way"


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "malformed"}, {"kind": "error", "status": 503}])
def test_keys_serve_on_while_their_source_is_out(
    calm: Gateway, mock: MockProcess, discovered: TokenIssuer, fault: dict[str, Any]
) -> None:
    mock.fault(**fault, instance="issuer:discovered")
    stranger = TokenIssuer(discovered.iss, KeyPair("not seen"))
    with caller(calm) as client:

        def out() -> bool:
            response = ask(client, stranger.mint())
            assert response.status_code in (401, 503)
            return response.status_code == 503

        wait_for(out, within=INTERVAL + 5)
        response = ask(client, stranger.mint())
        assert response.headers["retry-after"] == "1"
        assert why(calm, response) == (503, "identity_unavailable", "keys:discovered")
        assert ask(client, discovered.mint(jti="fresh")).status_code == 200
        mock.clear()
        wait_for(lambda: ask(client, stranger.mint()).status_code == 401, within=INTERVAL + 5)
    assert calm.log.count("issuer_keys_unavailable") == calm.log.count("issuer_keys_available: ")


def test_a_source_that_is_slow_holds_up_nobody_else(calm: Gateway, mock: MockProcess, discovered: TokenIssuer) -> None:
    mock.fault("late", instance="issuer:discovered", delay=0.5)
    late = TokenIssuer(discovered.iss, *discovered.keys, KeyPair("late"))
    mock.issuer("discovered", late.jwks)
    with caller(calm) as client:
        accepted_when_due(client, lambda: late.mint(key=late.keys[1]))
        assert ask(client, late.mint()).elapsed.total_seconds() < 0.4


def without_fabrikam(text: str) -> str:
    """The configuration without that issuer and its client."""
    head, *tables = text.replace(_client(CLIENTS[1]), "").split("[[issuers]]\n")
    return "[[issuers]]\n".join((head, *(table for table in tables if "fabrikam" not in table)))


def test_an_issuer_that_is_removed_is_refused_within_a_second(calm: Gateway, text: str) -> None:
    with caller(calm) as client, calm.client(key=KEY) as other:
        token = WORLD.of_fabrikam()
        assert ask(client, token).status_code == 200
        calm.config.write_text(without_fabrikam(text))
        assert calm.api("POST", "/api/reload").status_code == 200
        wait_for(lambda: ask(client, token).status_code == 401, within=1.0)
        assert why(calm, ask(client, token)) == (401, "invalid_token", "iss")
        assert ask(client, WORLD.of_contoso()).status_code == 200
        assert other.get(MODELS).status_code == 200
        calm.config.write_text(text)
        assert calm.api("POST", "/api/reload").status_code == 200
        wait_for(lambda: ask(client, token).status_code == 200)


async def test_a_removed_issuer_disturbs_no_stream(calm: Gateway, mock: MockProcess, text: str) -> None:
    """A hundred clients of two issuers stream over two workers while one issuer goes."""
    body = {"model": "slow", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 80, "stream": True}
    under_way, finished = 0, 0
    all_stream, refused = trio.Event(), trio.Event()
    mock.forget()

    async def stream(client: httpx.AsyncClient, token: bytes) -> None:
        nonlocal under_way, finished
        headers = {"authorization": f"Bearer {token.decode()}"}
        async with client.stream("POST", "/openai/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            await anext(lines)
            under_way += 1
            if under_way == 100:
                all_stream.set()
            await refused.wait()
            rest = [line async for line in lines if line]
            finished += rest[-1] == "data: [DONE]"

    def remove() -> None:
        with caller(calm) as client:
            token = WORLD.of_fabrikam()
            assert ask(client, token).status_code == 200
            calm.config.write_text(without_fabrikam(text))
            assert calm.api("POST", "/api/reload").status_code == 200
            wait_for(lambda: ask(client, token).status_code == 401, within=1.0)
            assert ask(client, WORLD.of_contoso()).status_code == 200

    try:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=calm.url, verify=calm.context(), timeout=30, limits=limits) as client,
            trio.open_nursery() as nursery,
        ):
            for mint in (WORLD.of_contoso, WORLD.of_fabrikam) * 50:
                nursery.start_soon(stream, client, mint())
            with trio.fail_after(20):
                await all_stream.wait()
            await trio.to_thread.run_sync(remove)
            assert sum(entry["ended"] is None for entry in mock.received()) > 50, "streams were under way"
            refused.set()
        assert finished == 100
    finally:
        calm.config.write_text(text)
        await trio.to_thread.run_sync(calm.api, "POST", "/api/reload")


def test_one_identity_over_the_wire(calm: Gateway) -> None:
    """The whole table is in tests/identity; here, that a certificate, a token and a key meet at all."""
    mine, combined = WORLD.of_contoso(), WORLD.of_contoso(azp="combined")
    with caller(calm, certificate="turbine-7") as client:
        assert why(calm, ask(client, mine)) == (
            401, "credentials_disagree", "token and certificate of different clients",
        )  # fmt: skip
        assert client.get(MODELS).status_code == 200
    with caller(calm, certificate="billing") as client:
        response = ask(client, combined)
        assert response.status_code == 200
        assert record(calm, response)["client"] == "combined"
        assert why(calm, client.get(MODELS)) == (401, "credential_missing", "token")
    with caller(calm, certificate=STRANGER) as client:
        assert ask(client, mine).status_code == 200
        assert why(calm, ask(client, combined))[1] == "unknown_certificate"
    with caller(calm) as client:
        assert why(calm, ask(client, combined)) == (401, "credential_missing", "certificate")
        assert why(calm, ask(client, mine, **{"api-key": KEY}))[1] == "credentials_disagree"
        assert why(calm, ask(client, mine, **{"api-key": OTHER_KEY + "x"}))[1] == "unknown_key"


def test_tokens_bound_to_a_certificate(calm: Gateway, pki: Pki) -> None:
    der = ssl.PEM_cert_to_DER_cert(_leaf(pki.pairs[STRANGER].certificate))
    token = WORLD.of_contoso(cnf={"x5t#S256": thumbprint(der)})
    with caller(calm, certificate=STRANGER) as client:
        response = ask(client, token)
        assert response.status_code == 200
        assert record(calm, response)["client"] == "of-contoso"
    with caller(calm) as client:
        assert why(calm, ask(client, token)) == (401, "invalid_token", "contoso:certificate_binding")
    with caller(calm, certificate="turbine-7") as client:
        assert why(calm, ask(client, token)) == (401, "invalid_token", "contoso:certificate_binding")


def _leaf(path: Path) -> str:
    return path.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"


def thumbprint(der: bytes) -> str:
    return base64url.encode(hashlib.sha256(der).digest()).decode()
