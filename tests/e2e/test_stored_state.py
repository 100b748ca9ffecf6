"""Stored state through the real listener: one's own works with the official client, and nothing of another's does."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway
from tests.e2e.stored import Who, line, lines, stored_gateway, stored_text


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    with stored_gateway(tmp_path_factory.mktemp("stored"), pki, mock) as found:
        yield found


@pytest.fixture
def who(running: Gateway) -> Iterator[Callable[[str], Who]]:
    made: dict[str, Who] = {}
    yield lambda name: made.setdefault(name, Who(running, name))
    for one in made.values():
        one.close()


People = Callable[[str], Who]


def test_responses_with_the_official_client(who: People, running: Gateway) -> None:
    with who("ann").sdk() as sdk:
        first = sdk.responses.create(model="gpt-4o", input="a", store=True, max_output_tokens=3)
        second = sdk.responses.create(model="gpt-4o", input="b", store=True, previous_response_id=first.id)
        assert second.previous_response_id == first.id
        assert sdk.responses.retrieve(first.id).output_text == first.output_text
        assert [item.type for item in sdk.responses.input_items.list(second.id).data] == ["message"]
        sdk.responses.delete(first.id)
        with pytest.raises(Exception, match="404"):
            sdk.responses.retrieve(first.id)
    record = running.record(lambda r: r["operation"] == "responses.store" and r["client"] == "ann")
    assert record["tokens"]["estimated"] is False


def test_files_and_batches_with_the_official_client(who: People, running: Gateway) -> None:
    with who("ann").sdk() as sdk:
        file = sdk.files.create(file=("b.jsonl", lines()), purpose="batch")
        batch = sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
        )
        while sdk.batches.retrieve(batch.id).status != "completed":
            pass
        done = sdk.batches.retrieve(batch.id)
        assert done.output_file_id is not None
        assert b'"custom_id":"c1"' in sdk.files.content(done.output_file_id).content
        assert {one.id for one in sdk.files.list()} >= {file.id, done.output_file_id}
        assert batch.id in {one.id for one in sdk.batches.list()}
    counted = [r for r in running.records() if r["operation"] == "batches.get" and r["tokens"]]
    assert [(r["model"], r["tokens"]["completion"]) for r in counted] == [("gpt-4o", 10)]


def test_the_rest_with_the_official_client(who: People) -> None:
    with who("ann").sdk() as sdk:
        file = sdk.files.create(file=("b.txt", b"words"), purpose="assistants")
        store = sdk.vector_stores.create(name="s", file_ids=[file.id])
        assert [one.id for one in sdk.vector_stores.files.list(store.id)] == [file.id]
        conversation = sdk.conversations.create(items=[{"type": "message", "role": "user", "content": "hi"}])
        answer = sdk.responses.create(model="gpt-4o", input="a", store=True, conversation=conversation.id)
        assert answer.id
        assert len(sdk.conversations.items.list(conversation.id).data) == 2
        job = sdk.fine_tuning.jobs.create(model="base-model", training_file=file.id)
        assert [one.id for one in sdk.fine_tuning.jobs.list()] == [job.id]


def test_a_stream_is_remembered_from_its_head(who: People) -> None:
    with who("ann").sdk() as sdk:
        stream = sdk.responses.create(model="gpt-4o", input="a", store=True, stream=True, max_output_tokens=4)
        events = list(stream)
        assert events[0].type == "response.created"
        assert sdk.responses.retrieve(events[0].response.id).status == "completed"


def test_a_background_response_is_counted_once_when_it_is_done(who: People, running: Gateway) -> None:
    ann = who("ann")
    body = {"model": "gpt-4o", "input": "a", "background": True, "max_output_tokens": 7}
    made = ann.ask("POST", "responses", body).json()
    assert made["status"] == "queued"
    answers = [ann.ask("GET", f"responses/{made['id']}") for _ in range(4)]
    assert answers[-1].json()["status"] == "completed"
    counted = [running.record_of(one.headers["x-request-id"])["tokens"] for one in answers]
    assert [one["completion"] for one in counted if one] == [7]
    assert running.record(lambda r: r["operation"] == "responses.store" and r["client"] == "ann")["tokens"] is None


def test_a_batch_is_held_to_what_its_client_may_ask_for(who: People, mock: MockProcess) -> None:
    ann = who("ann")
    mock.forget()
    for content in (
        lines(line(model="slow")),
        lines(line(), line(2, model="other")),
        lines(line(tools=[{"type": "mcp"}], store=True)),
        b"no line",
    ):
        answer = ann.upload(content, "batch")
        assert answer.status_code in (400, 403, 404), answer.text
    assert mock.received() == []
    file = ann.upload(lines(line(model="base-model")), "batch").json()["id"]
    assert b'"model":"gpt-4o"' in ann.ask("GET", f"files/{file}/content").content, "as its deployment is called"
    mock.forget()
    other = ann.upload().json()["id"]
    for body in (
        {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h"},
        {"input_file_id": other, "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        {"input_file_id": file, "endpoint": "/v1/chat/completions", "input_blob": "https://elsewhere/"},
    ):
        assert ann.ask("POST", "batches", body).status_code == 400
    assert [one["target"] for one in mock.received() if "batches" in one["target"]] == []


def test_a_batch_counts_against_the_limit_when_it_is_made(who: People, running: Gateway) -> None:
    few = who("few")

    def batch(*content: dict[str, object]) -> int:
        file = few.upload(lines(*content), "batch").json()["id"]
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return few.ask("POST", "batches", body).status_code

    many = [line(n, max_completion_tokens=100) for n in range(30)]
    assert batch(*many) == 429
    record = running.record(lambda r: r["client"] == "few" and r["operation"] == "batches.create")
    assert record["reason"] == "request_larger_than_limit"
    assert [batch(*many[:12]), batch(*many[:12])] == [200, 429]


def test_what_lies_at_two_resources_is_not_used_together(who: People, running: Gateway) -> None:
    ann = who("ann")
    files = [ann.upload(headers={"x-penstock-backend": place}).json()["id"] for place in ("swc", "frc")]
    answer = ann.ask("POST", "vector_stores", {"file_ids": files})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
    assert running.record_of(answer.headers["x-request-id"])["reason"] == "two_resources"
    for file, place in zip(files, ("swc", "frc"), strict=True):
        answer = ann.ask("POST", "vector_stores", {"file_ids": [file]})
        assert (answer.status_code, answer.headers["x-penstock-backend"]) == (200, place)
        body = {"model": "gpt-4o", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": file}]}]}
        for _ in range(3):
            assert ann.ask("POST", "responses", body).headers["x-penstock-backend"] == place
    assert ann.upload(headers={"x-penstock-backend": "elsewhere"}).status_code == 400


def test_new_things_lie_together_and_within_the_clients_regions(who: People) -> None:
    for name in ("fra", "ann"):
        places = {who(name).upload().headers["x-penstock-backend"] for _ in range(5)}
        assert len(places) == 1
        assert name == "ann" or places == {"frc"}
    assert who("fra").upload(headers={"x-penstock-backend": "swc"}).status_code == 400


def test_pages_are_ones_own_and_add_up(who: People) -> None:
    sal, eve = who("sal"), who("eve")
    own = []
    for _ in range(5):
        own.append(sal.upload().json()["id"])
        eve.upload()
    batch = sal.upload(lines(), "batch").json()["id"]
    assert [one["id"] for one in sal.ask("GET", "files?purpose=batch").json()["data"]] == [batch]
    seen: list[str] = []
    page = sal.ask("GET", "files?limit=2&purpose=assistants").json()
    while True:
        seen += [one["id"] for one in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        page = sal.ask("GET", f"files?limit=2&purpose=assistants&after={page['last_id']}").json()
    assert sorted(seen) == sorted(own)
    assert sal.ask("GET", "files?limit=x").status_code == 400


def test_a_star_grants_nothing_of_stored_state(who: People, mock: MockProcess) -> None:
    plain = who("plain")
    mock.forget()
    for method, path in (("GET", "files"), ("GET", "files/f"), ("DELETE", "responses/r"), ("POST", "conversations")):
        answer = plain.ask(method, path, {} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "OperationNotAllowed")
    for body in ({"store": True}, {"background": True}, {"previous_response_id": "r"}):
        assert plain.ask("POST", "responses", {"model": "gpt-4o", "input": "a", **body}).status_code == 403
    assert plain.ask("POST", "/openai/v1/threads", {}).json()["error"]["message"].startswith("Assistants and threads")
    assert mock.received() == []
    assert plain.ask("POST", "responses", {"model": "gpt-4o", "input": "a"}).status_code == 200


def test_both_surfaces(who: People, mock: MockProcess) -> None:
    with who("ann").azure() as sdk:
        file = sdk.files.create(file=("b.txt", b"words"), purpose="assistants")
        assert sdk.files.retrieve(file.id).id == file.id
        assert mock.received()[-1]["target"] == f"/openai/files/{file.id}?api-version=2025-04-01-preview"
        answer = sdk.responses.create(model="gpt-4o", input="a", store=True)
        assert sdk.responses.retrieve(answer.id).id == answer.id
        assert sdk.files.delete(file.id).deleted


def test_what_a_backend_does_wrong(who: People, mock: MockProcess, running: Gateway) -> None:
    ann = who("ann")
    file = ann.upload().json()["id"]
    place = ann.ask("GET", f"files/{file}").headers["x-penstock-backend"]
    try:
        mock.fault("throttle", instance=place, retry_after=7)
        answer = ann.ask("GET", f"files/{file}")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert ann.upload().headers["x-penstock-backend"] != place, "nothing was made, so it may be made elsewhere"
        mock.clear()
        mock.fault("error", instance=place, status=401)
        assert ann.ask("GET", f"files/{file}").status_code == 502, "what is ours to mend is not the client's to see"
        mock.clear()
        mock.fault("reset", instance=place)
        assert ann.ask("GET", f"files/{file}").status_code == 502
        assert ann.ask("GET", "files").status_code == 502, "a listing is whole, or it is none"
        mock.clear()
        mock.fault("error", instance=place, status=401)
        for target in (f"files/{file}", f"files/{file}/content"):
            assert ann.ask("GET", target).status_code == 502, "it is not the client who has to prove itself there"
    finally:
        mock.clear()
    assert ann.ask("GET", f"files/{file}").status_code == 200


def test_ownership_outlives_the_gateway(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = stored_text(pki, mock)
    with stored_gateway(tmp_path, pki, mock, text) as first:
        ann = Who(first, "ann")
        file = ann.upload().json()["id"]
        ann.close()
    with stored_gateway(tmp_path, pki, mock, text) as second:
        for name, status in (("ann", 200), ("bob", 404), ("eve", 404)):
            for _ in range(3):  # whichever worker that is
                someone = Who(second, name)
                assert someone.ask("GET", f"files/{file}").status_code == status
                someone.close()


def test_what_was_made_as_the_supervisor_died_is_nobodys(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = stored_text(pki, mock)
    with stored_gateway(tmp_path, pki, mock, text) as first:
        ann = Who(first, "ann")
        ann.ask("GET", "files")
        mock.forget()
        mock.fault("late", instance="swc", delay=0.7)
        mock.fault("late", instance="frc", delay=0.7)
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(ann.upload()))
        thread.start()
        mock.await_received(lambda found: any("files" in one["target"] for one in found))
        first.process.kill()
        thread.join(30)
        mock.clear()
        assert answers == [] or answers[0].status_code == 503
        assert not answers or "file-" not in answers[0].text
        made = [one for one in mock.received() if one["target"] == "/openai/v1/files"]
        assert made
        ann.close()
    with stored_gateway(tmp_path, pki, mock, stored_text(pki, mock)) as second:
        for name in ("ann", "eve"):
            someone = Who(second, name)
            assert someone.ask("GET", "files").json()["data"] == []
            someone.close()
