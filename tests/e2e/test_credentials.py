"""A credential that a backend does not take: renewed once for all workers, and tried again at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for

CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
SOON = 20.0
"""Seconds: less than the 30 for which a misconfigured deployment is set aside."""


@pytest.fixture(scope="module")
def azure(pki: Pki) -> Iterator[MockProcess]:
    """A mock of this module's own: the tokens of all who use it are made invalid."""
    pair = pki.pairs["mock"]
    deployments = (Deployment(name="gpt-4o"), Deployment(name="slow"))
    config = MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=tuple(Instance(name=name, deployments=deployments) for name in ("swc", "frc")),
    )
    with mock_process(config) as running:
        yield running


@pytest.fixture
def running(tmp_path: Path, pki: Pki, azure: MockProcess) -> Iterator[Gateway]:
    azure.clear()
    azure.forget()
    with gateway(tmp_path, pki, azure, config_text(pki, azure)) as made:
        wait_for(lambda: ask(made) == 200)
        azure.forget()
        yield made
    azure.clear()


def ask(running: Gateway, model: str = "gpt-4o") -> int:
    with running.client() as http:
        try:
            return http.post(CHAT.format(model), json=BODY).status_code
        except httpx.TransportError:
            return 0


def test_a_token_that_is_taken_back_is_renewed_once_and_served_with_at_once(
    running: Gateway, azure: MockProcess
) -> None:
    azure.tokens(revoke=True)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(running), range(48)))
    assert set(answers) <= {200, 502}  # never 401: a client cannot mend it
    wait_for(lambda: ask(running) == 200, SOON)
    assert len(azure.received("identity")) == 1
    tokens = [dict(e["headers"])["authorization"] for e in azure.received("swc") + azure.received("frc")]
    assert len(set(tokens)) == 2
    attempts = [a for record in running.records() for a in record["attempts"]]
    assert {a["reason"] for a in attempts if a["status"] == 401} == {"credential_rejected"}
    assert "does not take credential 'gateway' (401); it is obtained anew" in running.log
    assert not any(token.removeprefix("Bearer ")[:40] in running.log for token in tokens)


def test_while_the_endpoint_is_out_it_is_waited_for(running: Gateway, azure: MockProcess) -> None:
    azure.fault("throttle", instance="identity")
    azure.tokens(revoke=True)
    assert ask(running) == 502
    azure.await_received(lambda found: len(found) >= 2, SOON, "identity")
    assert ask(running) == 502
    azure.clear()
    wait_for(lambda: ask(running) == 200, SOON)
    assert "credential 'gateway' is obtained again" in running.log


def test_a_request_whose_credential_was_renewed_on_the_way_is_sent_again(running: Gateway, azure: MockProcess) -> None:
    """It is answered, and no deployment is set aside."""
    azure.fault("late", instance="swc", deployment="slow", delay=6.0)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(ask, running, "slow")
        azure.await_received(lambda found: len(found) >= 1, SOON, "swc")
        azure.tokens(revoke=True)
        wait_for(lambda: ask(running) == 200 and azure.received("identity"), SOON)
        assert late.result() == 200
    record = running.record(lambda r: r["model"] == "slow")
    assert [(a["backend"], a["status"]) for a in record["attempts"]] == [("swc", 200)]
