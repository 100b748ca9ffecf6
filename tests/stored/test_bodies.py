"""JSON bodies of operations on stored state."""

import json
from typing import Any

import pytest

from proxy.policy.operations import OPERATIONS
from proxy.refusal import Reason, Refused
from proxy.stored.bodies import read


def said(name: str, body: Any) -> Any:
    return read(OPERATIONS[name], body if isinstance(body, bytes) else json.dumps(body).encode())


def test_ids_are_found_and_duplicates_are_gone() -> None:
    found = said("vector_stores.create", {"file_ids": ["f", "g", "f"], "name": "n"})
    assert found.names == (("file", "f"), ("file", "g"))
    found = said("batches.create", b'{"input_file_id":"a","input_file_id":"b"}')
    assert (found.names, found.sent) == ((("file", "b"),), b'{"input_file_id":"b"}')
    found = said("fine_tuning.jobs.create", {"model": "m", "training_file": "a", "validation_file": "b"})
    assert found.names == (("file", "a"), ("file", "b"))


def test_items_are_looked_through() -> None:
    items = [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}, {"image_url": "https://x/"}]}]
    found = said("conversations.create", {"items": items})
    assert found.names == (("file", "f"),)
    assert found.request.features == {"remote_images"}
    assert "images" in found.request.uses


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("batches.create", {"input_file_id": "f", "input_blob": "https://x"}, Reason.UNJUDGED),
        ("fine_tuning.jobs.create", {"training_file": "f", "integrations": []}, Reason.UNJUDGED),
        ("vector_stores.create", {"file_ids": [1]}, Reason.NOT_FOUND),
        ("vector_stores.create", {"file_ids": "../x"}, Reason.NOT_FOUND),
        ("vector_stores.create", {"file_ids": [f"f{n}" for n in range(501)]}, Reason.UNJUDGED),
        ("conversations.create", {"items": [{"type": "item_reference", "id": "i"}]}, Reason.STORED_STATE),
        ("conversations.create", b"[]", Reason.BAD_JSON),
        ("conversations.create", b"{", Reason.BAD_JSON),
    ],
)
def test_bodies_that_are_refused(name: str, body: Any, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        said(name, body)
    assert caught.value.reason is reason
