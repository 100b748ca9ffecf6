"""Whoever is not the owner of a stored thing, over every operation there is: sees, uses, lists and deletes nothing."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.policy.operations import OPERATIONS
from tests.e2e.gateway import Gateway
from tests.e2e.stored import Who, lines, stored_gateway

Ids = dict[str, str]
NOTHING = {"error": {"code": "404", "message": "Resource not found."}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    with stored_gateway(tmp_path_factory.mktemp("attacked"), pki, mock) as found:
        yield found


@pytest.fixture(scope="module")
def people(running: Gateway) -> Iterator[dict[str, Who]]:
    made = {name: Who(running, name) for name in ("ann", "bob", "eve", "sal", "sam", "fra")}
    yield made
    for one in made.values():
        one.close()


def store_all(owner: Who) -> Ids:
    """One of everything, by kind."""

    def made(answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    ids = {"file": made(owner.upload()), "batch_file": made(owner.upload(lines(), "batch"))}
    ids["response"] = made(owner.ask("POST", "responses", {"model": "gpt-4o", "input": "secret", "store": True}))
    ids["conversation"] = made(owner.ask("POST", "conversations", {"items": [{"role": "user", "content": "secret"}]}))
    items = owner.ask("GET", f"conversations/{ids['conversation']}/items").json()["data"]
    ids["item"] = items[0]["id"]
    ids["vector_store"] = made(owner.ask("POST", "vector_stores", {"name": "secret", "file_ids": [ids["file"]]}))
    batch = {"input_file_id": ids["batch_file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    ids["batch"] = made(owner.ask("POST", "batches", batch))
    batches = f"vector_stores/{ids['vector_store']}/file_batches"
    ids["vector_store_file_batch"] = made(owner.ask("POST", batches, {"file_ids": [ids["file"]]}))
    job = {"model": "base-model", "training_file": ids["file"]}
    ids["fine_tuning_job"] = made(owner.ask("POST", "fine_tuning/jobs", job))
    for _ in range(2):
        ids["output"] = owner.ask("GET", f"batches/{ids['batch']}").json()["output_file_id"]
    assert ids["output"]
    return ids


@pytest.fixture(scope="module")
def ids(people: dict[str, Who]) -> Ids:
    return store_all(people["ann"])


def tool(**more: Any) -> list[dict[str, Any]]:
    return [{"type": "file_search", **more}]


def said(ids: Ids) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "input_file", "file_id": ids["file"]}]}]


def ask_model(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "input": "a", **more}


NO_BODY: list[Any] = [None]
STATELESS: list[Any] = []

ATTACKS: dict[str, Any] = {
    "chat.completions": STATELESS,
    "completions": STATELESS,
    "embeddings": STATELESS,
    "images.generations": STATELESS,
    "images.edits": STATELESS,
    "audio.speech": STATELESS,
    "audio.transcriptions": STATELESS,
    "audio.translations": STATELESS,
    "models": STATELESS,
    "responses": lambda ids: [
        ask_model(previous_response_id=ids["response"]),
        ask_model(conversation=ids["conversation"]),
        ask_model(input=said(ids)),
        ask_model(tools=tool(vector_store_ids=[ids["vector_store"]])),
    ],
    "responses.store": lambda ids: [
        ask_model(store=True, previous_response_id=ids["response"]),
        ask_model(store=True, previous_response_id=ids["response"], stream=True),
        ask_model(store=True, background=True, previous_response_id=ids["response"]),
        ask_model(store=True, conversation=ids["conversation"]),
        ask_model(store=True, conversation={"id": ids["conversation"]}),
        ask_model(store=True, input=said(ids)),
        ask_model(store=True, tools=tool(vector_store_ids=[ids["vector_store"]])),
        ask_model(store=True, tools=[{"type": "code_interpreter", "container": {"file_ids": [ids["file"]]}}]),
        ask_model(store=True, tools=[{"type": "image_generation", "input_image_mask": {"file_id": ids["file"]}}]),
    ],
    "responses.get": NO_BODY,
    "responses.delete": NO_BODY,
    "responses.cancel": NO_BODY,
    "responses.input_items": NO_BODY,
    "conversations.create": lambda ids: [{"items": said(ids)}],
    "conversations.get": NO_BODY,
    "conversations.update": [{"metadata": {"a": "b"}}],
    "conversations.delete": NO_BODY,
    "conversations.items.create": [{"items": [{"role": "user", "content": "mine"}]}],
    "conversations.items.list": NO_BODY,
    "conversations.items.get": NO_BODY,
    "conversations.items.delete": NO_BODY,
    "files.create": STATELESS,
    "files.list": NO_BODY,
    "files.get": NO_BODY,
    "files.delete": NO_BODY,
    "files.content": NO_BODY,
    "batches.create": lambda ids: [
        {"input_file_id": ids["batch_file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    ],
    "batches.list": NO_BODY,
    "batches.get": NO_BODY,
    "batches.cancel": NO_BODY,
    "vector_stores.create": lambda ids: [{"file_ids": [ids["file"]]}],
    "vector_stores.list": NO_BODY,
    "vector_stores.get": NO_BODY,
    "vector_stores.update": [{"name": "mine"}],
    "vector_stores.delete": NO_BODY,
    "vector_stores.search": [{"query": "secret"}],
    "vector_stores.files.create": lambda ids: [{"file_id": ids["file"]}],
    "vector_stores.files.list": NO_BODY,
    "vector_stores.files.get": NO_BODY,
    "vector_stores.files.update": [{"attributes": {"a": "b"}}],
    "vector_stores.files.delete": NO_BODY,
    "vector_stores.files.content": NO_BODY,
    "vector_stores.file_batches.create": lambda ids: [{"file_ids": [ids["file"]]}],
    "vector_stores.file_batches.get": NO_BODY,
    "vector_stores.file_batches.cancel": NO_BODY,
    "vector_stores.file_batches.list_files": NO_BODY,
    "fine_tuning.jobs.create": lambda ids: [
        {"model": "base-model", "training_file": ids["file"]},
    ],
    "fine_tuning.jobs.list": NO_BODY,
    "fine_tuning.jobs.get": NO_BODY,
    "fine_tuning.jobs.cancel": NO_BODY,
    "fine_tuning.jobs.pause": NO_BODY,
    "fine_tuning.jobs.resume": NO_BODY,
    "fine_tuning.jobs.events": NO_BODY,
    "fine_tuning.jobs.checkpoints": NO_BODY,
}
"""The bodies with which another's things are attacked, by operation; the path brings the rest."""


def bodies(name: str, ids: Ids) -> list[Any]:
    row = ATTACKS[name]
    return list(row(ids) if callable(row) else row)


def path_of(name: str, ids: Ids) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], OPERATIONS[name].path)


def names_something(name: str) -> bool:
    return "{" in OPERATIONS[name].path or callable(ATTACKS[name])


def test_every_operation_has_a_row() -> None:
    assert ATTACKS.keys() == OPERATIONS.keys()
    unnamed = [
        name for name, operation in OPERATIONS.items() if operation.state and not names_something(name)
        and operation.state.act != "list" and name != "files.create"
    ]  # fmt: skip
    assert unnamed == []


ATTACKED = sorted(name for name in ATTACKS if names_something(name))


@pytest.mark.parametrize("name", ATTACKED)
def test_another_sees_uses_and_deletes_nothing(
    running: Gateway, mock: MockProcess, people: dict[str, Who], ids: Ids, name: str
) -> None:
    nobodys = {kind: re.sub(r"[0-9a-f]{4}$", "fe0f", one) for kind, one in ids.items()}
    for attacker in ("eve", "bob", "sal"):
        who = people[attacker]
        for body, unknown in zip(bodies(name, ids), bodies(name, nobodys), strict=True):
            mock.forget()
            method = OPERATIONS[name].method
            for surface in OPERATIONS[name].surfaces if attacker == "eve" else ("v1",):
                begin, end = ("/openai/v1/", "") if surface == "v1" else ("/openai/", "?api-version=2025-04-01-preview")
                answer = who.ask(method, begin + path_of(name, ids) + end, body)
                never = who.ask(method, begin + path_of(name, nobodys) + end, unknown)
                assert (answer.status_code, answer.json()) == (404, NOTHING), (attacker, answer.text)
                assert (never.status_code, never.json()) == (404, NOTHING)
                assert answer.headers.keys() == never.headers.keys()
            assert mock.received() == []
        record = running.record_of(answer.headers["x-request-id"])
        assert (record["client"], record["decision"]) == (attacker, "refused")
        assert (record["reason"], record["rule"], record["status"]) == ("not_found", "owner", 404)
        assert record["operation"] == ("responses.store" if name == "responses" else name)
        assert record["end"] == "refused"


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.state and one.state.act == "list"])
def test_another_lists_nothing(people: dict[str, Who], ids: Ids, name: str) -> None:
    for attacker in ("eve", "bob", "sal"):
        for query in ("", "?limit=1", "?order=asc", "?limit=100&order=desc"):
            listed = people[attacker].ask("GET", OPERATIONS[name].path + query).json()
            assert listed == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        for mark in ("after", "before"):
            kind = OPERATIONS[name].state.kind  # type: ignore[union-attr]
            answer = people[attacker].ask("GET", f"{OPERATIONS[name].path}?{mark}={ids[kind]}")
            assert (answer.status_code, answer.json()) == (404, NOTHING)


DISGUISES: tuple[Callable[[str], str], ...] = (
    lambda one: one.upper(),
    lambda one: one.swapcase(),
    lambda one: "".join(f"%{ord(char):02x}" for char in one),
    lambda one: one.replace(one[-1], f"%{ord(one[-1]):02X}"),
    lambda one: one + "/",
    lambda one: one + "%2f",
    lambda one: one + "//",
    lambda one: one + "%00",
    lambda one: one + "%20",
    lambda one: one + ".",
    lambda one: f"./{one}",
    lambda one: f"x/../{one}",
    lambda one: f"..%2f{one}",
    lambda one: f"%2e%2e/{one}",
    lambda one: f"{one};x=1",
    lambda one: f"{one}?id={one}",
    lambda one: f"{one}%3Fx",
    lambda one: one[:-1] + "*",
    lambda one: one[:-1],
    lambda one: "a" * 200,
    lambda one: f"{one},{one}",
)


@pytest.mark.parametrize("kind", ["file", "response", "conversation", "batch", "vector_store", "fine_tuning_job"])
def test_ids_in_disguise(mock: MockProcess, people: dict[str, Who], ids: Ids, kind: str) -> None:
    base = {
        "file": "files", "response": "responses", "conversation": "conversations", "batch": "batches",
        "vector_store": "vector_stores", "fine_tuning_job": "fine_tuning/jobs",
    }[kind]  # fmt: skip
    mock.forget()
    for number, disguise in enumerate(DISGUISES):
        for method in ("GET", "DELETE"):
            answer = people["eve"].http.build_request(method, "/x")
            raw = f"/openai/v1/{base}/{disguise(ids[kind])}".encode("ascii")
            answer.url = answer.url.copy_with(raw_path=raw)
            found = people["eve"].http.send(answer)
            assert found.status_code in (400, 404, 405), (number, found.text)
            assert ids[kind] not in found.text
    for other, one in ids.items():
        if other != kind and not (kind == "file" and other in ("batch_file", "output")):
            assert people["ann"].ask("GET", f"{base}/{one}").json() == NOTHING, other
    assert mock.received() == []


NOT_NAMED = [
    ask_model(store=True, input=[{"type": "item_reference", "id": "msg_1"}]),
    ask_model(store=True, input=[{"type": "reasoning", "id": "rs_1", "summary": []}]),
    ask_model(store=True, input=[{"type": "image_generation_call", "id": "ig_1"}]),
    ask_model(store=True, input=[{"type": "code_interpreter_call", "container_id": "cntr_1"}]),
    ask_model(store=True, tools=[{"type": "code_interpreter", "container": "cntr_1"}]),
    ask_model(store=True, prompt={"id": "pmpt_1"}),
    ask_model(input=[{"type": "reasoning", "id": "rs_1", "summary": []}], reasoning={"effort": "low"}),
]


@pytest.mark.parametrize("body", NOT_NAMED)
def test_what_nobody_can_judge_is_refused(mock: MockProcess, people: dict[str, Who], body: dict[str, Any]) -> None:
    mock.forget()
    answer = people["ann"].ask("POST", "responses", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "OperationNotAllowed")
    assert mock.received() == []


def test_the_owners_own_is_as_it_was(people: dict[str, Who], ids: Ids) -> None:
    """After all of the above."""
    ann = people["ann"]
    for path in (
        f"files/{ids['file']}", f"files/{ids['batch_file']}", f"files/{ids['output']}", f"batches/{ids['batch']}",
        f"responses/{ids['response']}", f"conversations/{ids['conversation']}", f"vector_stores/{ids['vector_store']}",
        f"fine_tuning/jobs/{ids['fine_tuning_job']}",
    ):  # fmt: skip
        assert ann.ask("GET", path).status_code == 200, path
    held = ann.ask("GET", f"vector_stores/{ids['vector_store']}/files").json()["data"]
    assert [one["id"] for one in held] == [ids["file"]]
    assert len(ann.ask("GET", f"conversations/{ids['conversation']}/items").json()["data"]) == 1
    assert ann.ask("GET", f"files/{ids['file']}/content").content == b"text"


def test_clients_that_share_share(people: dict[str, Who]) -> None:
    file = people["sal"].upload().json()["id"]
    assert people["sam"].ask("GET", f"files/{file}").status_code == 200
    assert [one["id"] for one in people["sam"].ask("GET", "files").json()["data"]] == [file]
    assert people["ann"].ask("GET", f"files/{file}").status_code == 404
    assert people["sam"].ask("DELETE", f"files/{file}").status_code == 200
    for name in ("sal", "sam"):
        assert people[name].ask("GET", f"files/{file}").status_code == 404


def test_what_is_deleted_is_gone_at_every_worker(running: Gateway, people: dict[str, Who]) -> None:
    file = people["ann"].upload().json()["id"]
    for wanted in (200, 404):
        for _ in range(8):
            fresh = Who(running, "ann")
            assert fresh.ask("GET", f"files/{file}").status_code == wanted
            fresh.close()
        assert people["ann"].ask("DELETE", f"files/{file}").status_code == wanted
