"""What an answer makes, whatever it looks like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stored.answers import decoded, entry_of, files_of, finished
from proxy.stored.entry import Entry, Owner

OWNER = Owner("t", "c")


def of(kind: str, **answer: Any) -> Entry | None:
    return entry_of(kind, answer, OWNER, "swc", 1000.0)


def test_what_is_remembered_of_a_thing() -> None:
    file = of("file", id="file-1", created_at=5, expires_at=9, purpose="batch")
    assert file == Entry("file-1", "file", OWNER, "swc", 5.0, 9.0, "batch")
    assert of("response", id="r", created_at=5) == Entry("r", "response", OWNER, "swc", 5.0, 1000.0 + 30 * 86_400)
    batch = of("batch", id="b", expires_at=9)
    assert batch == Entry("b", "batch", OWNER, "swc", 1000.0, None), "a batch's is the time by which it must have run"


@pytest.mark.parametrize("value", [None, 1, "", "x" * 129, ["a"]])
def test_an_answer_without_an_id_is_nothing(value: Any) -> None:
    assert of("file", id=value) is None


def test_files_that_a_batch_has_made_are_its_owners() -> None:
    batch = Entry("b", "batch", OWNER, "swc", 0.0)
    files = files_of(batch, {"output_file_id": "o", "error_file_id": None}, 7.0)
    assert files == [Entry("o", "file", OWNER, "swc", 7.0, label="batch_output")]
    job = Entry("j", "fine_tuning_job", OWNER, "swc", 0.0)
    assert [one.id for one in files_of(job, {"result_files": ["r", 1, "s"]}, 7.0)] == ["r", "s"]
    assert files_of(Entry("f", "file", OWNER, "swc", 0.0), {"output_file_id": "o"}, 7.0) == []


def test_when_something_has_ended() -> None:
    assert [finished({"status": status}) for status in ("completed", "failed", "queued", "in_progress", None)] == [
        True, True, False, False, False,
    ]  # fmt: skip


@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["id", "status", "output_file_id", "result_files"]),
        st.none() | st.integers() | st.text(max_size=4) | st.lists(st.integers()),
    ).map(lambda d: json.dumps(d).encode())
)
def test_nothing_that_a_backend_sends_raises(body: bytes) -> None:
    answer = decoded(body)
    finished(answer)
    for kind in ("file", "batch", "response", "fine_tuning_job"):
        entry = entry_of(kind, answer, OWNER, "swc", 1.0)
        files_of(entry or Entry("x", kind, OWNER, "swc", 0.0), answer, 1.0)
