"""Which backend answers: spill-over, canaries, aliases, routes, affinity, and what records and `explain` say of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki
from proxy.routing.canary import place
from tests.e2e.gateway import KEY, OTHER_KEY, WITHIN, Gateway, config_text, gateway, wait_for

CANARIED = next(name for n in range(100) if place(name := f"m-{n}", "first") < 0.5 <= place(name, "second"))
"""A model of whose canary the first client is given half a share, and the second is not."""

MODELS = f"""
[[models]]
name = "busy"
deployments = [
  {{ backend = "swc", deployment = "narrow", spill_at = 0.9 }},
  {{ backend = "frc", deployment = "wide", priority = 1 }},
]
[[models]]
name = "named"
aliases = ["alias"]
deployments = [{{ backend = "swc", deployment = "wide" }}, {{ backend = "frc", deployment = "wide" }}]
[[models]]
name = "{CANARIED}"
deployments = [{{ backend = "swc", deployment = "wide" }}, {{ backend = "frc", deployment = "new", canary = 0.5 }}]
[[models]]
name = "limited"
deployments = [{{ backend = "swc", deployment = "tight" }}, {{ backend = "frc", deployment = "wide", priority = 1 }}]
[[models]]
name = "other"
deployments = [{{ backend = "frc", deployment = "new" }}]
[[models]]
name = "blind"
deployments = [
  {{ backend = "swc", deployment = "wide", vision = false, context = 1000 }},
  {{ backend = "frc", deployment = "wide", priority = 1, operations = ["chat.completions"] }},
]
"""


def azure(pki: Pki) -> MockConfig:
    """Two regions; "narrow" takes one request at a time, and says so."""
    deployments = (
        Deployment(name="narrow", capacity=1),
        Deployment(name="wide"),
        Deployment(name="new"),
        Deployment(name="tight"),
    )
    pair = pki.pairs["mock"]
    return MockConfig(
        certificate=str(pair.certificate),
        private_key=str(pair.key),
        instances=(
            Instance(name="swc", region="Sweden Central", tier="provisioned", deployments=deployments),
            Instance(name="frc", region="France Central", deployments=deployments),
        ),
    )


@pytest.fixture(scope="module")
def azures(pki: Pki) -> Iterator[MockProcess]:
    with mock_process(azure(pki)) as running:
        yield running


@pytest.fixture(scope="module")
def selecting(tmp_path_factory: pytest.TempPathFactory, pki: Pki, azures: MockProcess) -> Iterator[Gateway]:
    text = config_text(pki, azures, more=MODELS).replace("workers = 2", "workers = 1")
    text = text.replace(
        'regions = ["francecentral"]\n[[clients.grants]]\nmodels = ["gpt-4o"]',
        'routes = { named = "other" }\n[[clients.grants]]\nmodels = ["named", "m-*"]',
    )
    with gateway(tmp_path_factory.mktemp("selecting"), pki, azures, text) as running:
        yield running


@pytest.fixture
def chosen(selecting: Gateway, azures: MockProcess) -> Iterator[Gateway]:
    azures.clear()
    azures.forget()
    yield selecting
    azures.clear()


def ask(running: Gateway, model: str, key: str = KEY, **more: Any) -> tuple[str, dict[str, Any]]:
    """Who answered, and the record."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2} | more
    with running.client(key) as client:
        answer = client.post("/openai/v1/chat/completions", json=body, timeout=WITHIN)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-penstock-backend"], running.record_of(answer.headers["x-request-id"])


def considered(record: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(candidate["backend"], candidate["skipped"]) for candidate in record["candidates"]]


def test_provisioned_first_and_the_next_while_it_says_that_it_is_busy(chosen: Gateway) -> None:
    with chosen.client() as client:

        def spilled() -> str | None:
            """The id of a request that went to the next one: one that followed the one before it closely."""
            answer = client.post("/openai/v1/chat/completions", json={"model": "busy", "messages": [], "max_tokens": 2})
            return answer.headers["x-request-id"] if answer.headers["x-penstock-backend"] == "frc" else None

        record = chosen.record_of(wait_for(spilled))
    assert considered(record) == [("swc", "spill_over"), ("frc", None)]
    assert [attempt["backend"] for attempt in record["attempts"]] == ["frc"]
    assert 'penstock_deployments_skipped_total{backend="swc",deployment="narrow",reason="spill_over"}' in wait_for(
        lambda: text if "skipped_total{" in (text := _metrics(chosen)) else None
    )


def _metrics(running: Gateway) -> str:
    return running.api("GET", "/metrics").text


def test_provisioned_first_and_the_next_while_it_throttles(chosen: Gateway, azures: MockProcess) -> None:
    azures.fault("throttle", instance="swc", deployment="tight", times=1, retry_after_ms=30_000)
    got = [ask(chosen, "limited") for _ in range(2)]
    assert [backend for backend, _ in got] == ["frc", "frc"]
    assert considered(got[0][1]) == [("swc", None), ("frc", None)]
    assert [attempt["reason"] for attempt in got[0][1]["attempts"]] == ["throttled", "ok"]
    assert considered(got[1][1]) == [("swc", "throttled"), ("frc", None)]
    assert len(azures.received("swc")) == 1


def test_a_canary_is_asked_by_its_share_and_by_nobody_else(chosen: Gateway, azures: MockProcess) -> None:
    assert considered(ask(chosen, CANARIED)[1]) == [("frc", None), ("swc", None)]
    assert [ask(chosen, CANARIED)[0] for _ in range(3)] == ["frc"] * 3
    assert [ask(chosen, CANARIED, OTHER_KEY)[0] for _ in range(3)] == ["swc"] * 3
    assert considered(ask(chosen, CANARIED, OTHER_KEY)[1]) == [("swc", None), ("frc", "canary")]
    azures.fault("error", instance="frc", status=500)
    assert ask(chosen, CANARIED)[0] == "swc"


def test_an_alias_is_the_model_by_another_name(chosen: Gateway) -> None:
    assert ask(chosen, "alias")[1]["model"] == "named"
    with chosen.client() as client:
        listed = {model["id"] for model in client.get("/openai/v1/models").json()["data"]}
        assert {"alias", "named"} <= listed
        path = client.post(
            "/openai/deployments/alias/chat/completions?api-version=2024-10-21", json={"messages": [], "max_tokens": 1}
        )
    assert path.status_code == 200
    with chosen.client(OTHER_KEY) as client:
        assert {model["id"] for model in client.get("/openai/v1/models").json()["data"]} == {
            "alias", "named", CANARIED,
        }  # fmt: skip


def test_a_route_is_one_clients_own(chosen: Gateway) -> None:
    backend, record = ask(chosen, "alias", OTHER_KEY)
    assert (backend, record["model"], record["deployment"]) == ("frc", "named", "new")
    assert ask(chosen, "named")[1]["deployment"] == "wide"


def test_a_prompts_cache_key_keeps_it_with_one_deployment(chosen: Gateway) -> None:
    homes = {key: {ask(chosen, "named", prompt_cache_key=key)[0] for _ in range(3)} for key in "abcdefgh"}
    assert all(len(backends) == 1 for backends in homes.values())
    assert set().union(*homes.values()) == {"swc", "frc"}


def test_what_a_deployment_cannot_do_is_asked_of_another(chosen: Gateway) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1hZ2U="}}]
    backend, record = ask(chosen, "blind", messages=[{"role": "user", "content": image}])
    assert backend == "frc"
    assert considered(record) == [("frc", None), ("swc", "vision")]
    assert considered(ask(chosen, "blind", max_tokens=5_000)[1]) == [("frc", None), ("swc", "context")]
    body = {"model": "blind", "input": "what", "max_output_tokens": 5_000}
    with chosen.client() as client:
        assert client.post("/openai/v1/responses", json=body).headers["x-penstock-backend"] == "swc"


def test_explain_says_the_same_in_words(chosen: Gateway) -> None:
    question = {"client": "second", "target": "/openai/v1/chat/completions", "body": {"model": CANARIED}}
    told = chosen.api("POST", "/api/explain", question).json()["backends"]
    assert [(one["backend"], one["turn"]) for one in told] == [("swc", 1), ("frc", None)]
    assert told[1]["why"] == "never: a canary for 50 % of requesters, not for this one"
    told = chosen.api("POST", "/api/explain", question | {"client": "first"}).json()["backends"]
    assert told[0]["why"].startswith("canary, asked first: this requester is among its 50 %")
    told = chosen.api("POST", "/api/explain", question | {"body": {"model": "alias"}}).json()
    assert told["notes"] == [
        "alias is another name of named",
        "this client's named is answered by other, by its routes",
    ]
    assert [one["deployment"] for one in told["backends"]] == ["new"]
