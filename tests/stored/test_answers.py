"""What an answer makes, whatever it looks like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stored.answers import decoded, entry_of, files_of, finished, first_data, streamed, used
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


@pytest.mark.parametrize("value", [None, 1, "", "x" * 129, ["a"], "a b", "a/../b", "a\r\nx: y", "é"])
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


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"", None),
        (b'data: {"a": 1}\n', None),
        (b'event: response.created\ndata: {"a": 1}\n\n', b'{"a": 1}'),
        (b': here\r\n\r\nevent: response.created\r\ndata: {"a":\r\ndata: 1}\r\n\r\n', b'{"a":\n1}'),
        (b": here\n\n", None),
    ],
)
def test_what_a_stream_says_first(stream: bytes, data: bytes | None) -> None:
    assert first_data(stream) == data
    assert streamed(stream) == {}
    assert streamed(b'data: {"response": {"id": "r"}}\n\n') == {"id": "r"}


def test_what_a_batch_or_a_job_used() -> None:
    batch = Entry("b", "batch", OWNER, "swc", 0.0, tokens=9)
    job = Entry("j", "fine_tuning_job", OWNER, "swc", 0.0)
    for entry, answer, total in (
        (batch, {"status": "completed"}, 9),
        (batch, {"status": "completed", "usage": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}}, 5),
        (batch, {"status": "failed"}, None),
        (job, {"trained_tokens": 7}, 7),
        (job, {"trained_tokens": True}, None),
    ):
        tokens = used(entry, answer, json.dumps(answer).encode())
        assert (None if tokens is None else tokens.total) == total


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
