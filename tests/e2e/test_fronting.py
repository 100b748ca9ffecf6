"""A proxy in front that hands client certificates on: from whom that counts, and what it cannot do."""

import base64
from collections.abc import Iterator

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import KEY, Gateway, config_text, gateway

MODELS = "/openai/v1/models"
PROXY = """
[[clients]]
name = "front"
certificate = { issuer = "CN=Devices CA,O=Contoso", san_dns = ["billing.contoso.example"] }
[[clients.grants]]
models = ["gpt-4o"]
operations = ["models"]
"""


def listening(pki: Pki, mock: MockProcess, networks: str) -> str:
    extra = f"trusted_proxies = [{networks}]"
    return config_text(pki, mock, clients=PROXY, listen=extra).replace("workers = 2", "workers = 1")


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("fronted"), pki, mock, listening(pki, mock, '"127.0.0.0/8"')) as running:
        yield running


def handed_on(pki: Pki, name: str) -> dict[str, str]:
    leaf, *rest = x509.load_pem_x509_certificates(pki.pairs[name].certificate.read_bytes())
    sequences = [f":{base64.b64encode(c.public_bytes(Encoding.DER)).decode()}:" for c in (leaf, *rest)]
    return {"client-cert": sequences[0]} | ({"client-cert-chain": ", ".join(sequences[1:])} if rest else {})


def ask(running: Gateway, through: str | None, headers: dict[str, str], key: str | None = None) -> httpx.Response:
    with running.client(key=key, certificate=through) as client:
        return client.get(MODELS, headers=headers)


def test_the_client_is_the_one_whose_certificate_it_is(fronted: Gateway, pki: Pki) -> None:
    response = ask(fronted, "billing", handed_on(pki, "turbine-7"))
    assert response.status_code == 200
    record = fronted.record_of(response.headers["x-request-id"])
    assert (record["client"], record["credential"]["kind"]) == ("first", "certificate")


def test_without_a_header_it_is_itself(fronted: Gateway) -> None:
    response = ask(fronted, "billing", {})
    assert response.status_code == 200
    assert fronted.record_of(response.headers["x-request-id"])["client"] == "front"


def test_many_clients_share_its_connection(fronted: Gateway, pki: Pki) -> None:
    with fronted.client(key=None, certificate="billing") as client:
        seen = [client.get(MODELS, headers=headers) for headers in (handed_on(pki, "turbine-7"), {})]
    assert [fronted.record_of(r.headers["x-request-id"])["client"] for r in seen] == ["first", "front"]


@pytest.mark.parametrize("name", ["untrusted", "self-signed", "expired", "wrong-eku"])
def test_its_word_is_not_taken_for_the_path(fronted: Gateway, pki: Pki, name: str) -> None:
    response = ask(fronted, "billing", handed_on(pki, name))
    assert response.status_code == 401
    record = fronted.record_of(response.headers["x-request-id"])
    assert record["reason"] == "certificate_untrusted"
    assert record["client"] is None


def test_garbage_is_refused(fronted: Gateway) -> None:
    response = ask(fronted, "billing", {"client-cert": "turbine-7"})
    assert response.status_code == 401
    assert fronted.record_of(response.headers["x-request-id"])["reason"] == "certificate_malformed"


def test_without_mutual_tls_the_header_is_not_there(fronted: Gateway, pki: Pki) -> None:
    assert ask(fronted, None, handed_on(pki, "turbine-7")).status_code == 401
    response = ask(fronted, None, handed_on(pki, "billing"), KEY)
    assert fronted.record_of(response.headers["x-request-id"])["credential"]["kind"] == "key"


def test_it_must_agree_with_what_else_is_presented(fronted: Gateway, pki: Pki) -> None:
    assert ask(fronted, "billing", handed_on(pki, "turbine-7"), KEY).status_code == 200
    assert ask(fronted, "billing", {}, KEY).status_code == 401, "the proxy's own names another client than the key"


def test_from_elsewhere_the_header_is_not_there(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess
) -> None:
    text = listening(pki, mock, '"192.0.2.0/24"')
    with gateway(tmp_path_factory.mktemp("elsewhere"), pki, mock, text) as running:
        response = ask(running, "billing", handed_on(pki, "turbine-7"))
        assert running.record_of(response.headers["x-request-id"])["client"] == "front"


def test_it_is_never_sent_on(fronted: Gateway, pki: Pki, mock: MockProcess) -> None:
    mock.forget()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    with fronted.client(key=None, certificate="billing") as client:
        headers = handed_on(pki, "turbine-7") | {"x-forwarded-client-cert": "Hash=00"}
        assert client.post("/openai/v1/chat/completions", json=body, headers=headers).status_code == 200
    (sent,) = mock.received()
    assert not {name for name, _ in sent["headers"] if "cert" in name.lower()}
