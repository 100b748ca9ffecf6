"""Stored state when something goes wrong half-way: nothing is left without its owner, uncounted, or with another's."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.config.structs import State
from proxy.stored.entry import Entry, Keep, Owner
from proxy.supervisor.store.owned import OwnedStore
from tests.e2e.gateway import Gateway, wait_for
from tests.e2e.stored import Who, stored_gateway


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    with stored_gateway(tmp_path_factory.mktemp("faulty"), pki, mock) as found:
        yield found


@pytest.fixture
def who(running: Gateway) -> Iterator[Callable[[str], Who]]:
    made: dict[str, Who] = {}
    yield lambda name: made.setdefault(name, Who(running, name))
    for one in made.values():
        one.close()


@pytest.fixture
def faulty(mock: MockProcess) -> Iterator[MockProcess]:
    yield mock
    mock.clear()


People = Callable[[str], Who]


def remember(running: Gateway, *entries: Entry) -> None:
    store = OwnedStore(State(path=str(next(running.folder.rglob("penstock.db")))))
    try:
        (told,) = store.answer([Keep(entries)])
        assert told.ok
    finally:
        store.close()


def test_a_404_to_a_version_of_the_api_is_not_the_end_of_a_thing(who: People, faulty: MockProcess) -> None:
    ann = who("ann")
    made = ann.upload()
    file, place = made.json()["id"], made.headers["x-penstock-backend"]
    faulty.fault("error", instance=place, status=404, code="404", times=1)
    assert ann.ask("DELETE", f"/openai/files/{file}?api-version=1999-01-01").status_code == 404
    assert ann.ask("GET", f"files/{file}").status_code == 200, "it is there, and still its owner's"
    faulty.forget()
    assert ann.ask("DELETE", f"files/{file}").status_code == 200
    assert [one["target"] for one in faulty.received()] == [f"/openai/v1/files/{file}"]


def test_a_listing_goes_on_after_a_page_of_what_is_gone(who: People, running: Gateway) -> None:
    fra = who("fra")
    there = fra.upload().json()["id"]
    owner, before = Owner("west", "fra"), time.time() - 7_200
    gone = [Entry(f"file-gone{n}", "file", owner, "frc", time.time() + n, None, "assistants") for n in range(3)]
    old = [Entry(f"file-old{n}", "file", owner, "frc", before - n, None, "assistants") for n in range(3)]
    remember(running, *old, *gone)
    assert [one["id"] for one in fra.ask("GET", "files?limit=2").json()["data"]] == [there]
    oldest_first = fra.ask("GET", "files?limit=1&order=asc")
    assert (oldest_first.status_code, [one["id"] for one in oldest_first.json()["data"]]) == (200, [there])
    for number in range(3):
        assert fra.ask("GET", f"files?after=file-old{number}").status_code == 404, "what was gone is forgotten"
        assert fra.ask("GET", f"files?after=file-gone{number}").status_code == 200, "what is new may not be there yet"


def test_an_id_that_is_anothers_is_not_deleted(who: People, running: Gateway) -> None:
    ann, eve = who("ann"), who("eve")
    made = ann.upload()
    file, place = made.json()["id"], made.headers["x-penstock-backend"]
    following = file[:-8] + f"{int(file[-8:], 16) + 1:08x}"
    remember(running, Entry(following, "file", Owner("south", "eve"), place, time.time(), None, "assistants"))
    answer = ann.upload()
    assert (answer.status_code, following in answer.text) == (500, False)
    assert ann.ask("GET", f"files/{following}").status_code == 404
    assert eve.ask("GET", f"files/{following}").status_code == 200


def test_what_is_made_while_its_client_leaves_is_its_clients(who: People, faulty: MockProcess) -> None:
    eve = who("eve")
    known = {one["id"] for one in eve.ask("GET", "vector_stores").json()["data"]}
    faulty.forget()
    faulty.fault("late", delay=1.0)
    with pytest.raises(httpx.TimeoutException):
        eve.ask("POST", "vector_stores", {"name": "s"}, timeout=httpx.Timeout(30.0, read=0.3))
    faulty.await_received(lambda found: any(one["target"] == "/openai/v1/vector_stores" for one in found))
    faulty.clear()
    new = wait_for(lambda: {one["id"] for one in eve.ask("GET", "vector_stores").json()["data"]} - known)
    assert len(new) == 1


@pytest.mark.parametrize("stays", [True, False])
def test_a_stream_of_what_runs_in_the_background_is_counted_once(who: People, running: Gateway, stays: bool) -> None:
    """Whether its client hears its end or leaves, and asks again later."""
    ann = who("ann")
    body = {"model": "gpt-4o", "input": "a", "store": True, "background": True, "stream": True, "max_output_tokens": 40}
    answers: list[httpx.Response] = []
    with ann.http.stream("POST", "/openai/v1/responses", json=body) as answer:
        events = (json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:"))
        made = next(events)["response"]["id"]
        if stays:
            assert list(events)
        answers.append(answer)
    running.record_of(answer.headers["x-request-id"])
    answers += [ann.ask("GET", f"responses/{made}") for _ in range(4)]
    assert answers[-1].json()["status"] == "completed"
    counted: list[Any] = [running.record_of(one.headers["x-request-id"])["tokens"] for one in answers]
    assert [one["completion"] for one in counted if one] == [40]


def test_a_backends_error_is_no_complete_answer(who: People, faulty: MockProcess, running: Gateway) -> None:
    ann = who("ann")
    file = ann.upload().json()["id"]
    faulty.fault("error", status=500)
    answer = ann.ask("GET", f"files/{file}")
    record = running.record_of(answer.headers["x-request-id"])
    assert (answer.status_code, record["end"], record["reason"]) == (500, "backend_failed", "backend_error")
    faulty.clear()
    faulty.fault("reset")
    answer = ann.ask("GET", f"files/{file}")
    record = running.record_of(answer.headers["x-request-id"])
    assert [one["reason"] for one in record["attempts"]] == ["reset_before_head"]


def test_a_limit_that_is_no_number_of_ours(who: People) -> None:
    assert who("ann").ask("GET", "files?limit=%B2").status_code == 400
