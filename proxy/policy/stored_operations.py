"""The operations on stored state: each by its path, whose placeholders are named after what they are ids of.

`responses.store` and `chat.completions.store` have the path of a stateless operation: a body that makes or names stored
state makes them of it. What is not here is refused. Plain data.
"""

from typing import Literal

from proxy.policy.operation import Operation, State

_PAGE = frozenset(("after", "before", "limit", "order"))
_BOTH = ("v1", "dated")


def _json(name: str, path: str, *members: str, kind: str = "", **ids: str) -> Operation:
    """A POST with a JSON body: creates a thing of a `kind`, else changes what the path names."""
    state = State(
        "create" if kind else "change", kind, frozenset((*members, *ids)), ids=tuple(ids.items()), query=_query(name)
    )
    return Operation(name, path, "json", inference=False, surfaces=_BOTH, state=state)


def _bare(
    name: str, path: str, act: Literal["list", "get", "delete", "change", "content"], kind: str = ""
) -> Operation:
    """Without a body. A deletion of a `kind` ends what the path names last."""
    method = {"delete": "DELETE", "change": "POST"}.get(act, "GET")
    state = State(act, kind, query=_query(name))
    return Operation(name, path, "none", method, inference=False, surfaces=_BOTH, state=state)


def _query(name: str) -> frozenset[str]:
    last = name.rpartition(".")[2]
    found = _PAGE if last in ("list", "input_items", "events", "checkpoints", "messages", "list_files") else frozenset()
    if name.startswith(("responses.", "conversations.items.")):
        found |= {"include", "include[]"}
    if name == "responses.get":
        found |= {"stream"}
    if name == "files.list":
        found |= {"purpose"}
    return found | {"filter"} if name.startswith("vector_stores.") else found


_ITEMS = "conversations/{conversation}/items"
_STORE = "vector_stores/{vector_store}"
_JOB = "fine_tuning/jobs/{fine_tuning_job}"

STORED_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "responses.store", "responses", "json", inference=False, surfaces=_BOTH, limits=("max_output_tokens",),
        streams=True, state=State("create", "response"),
    ),
    _bare("responses.get", "responses/{response}", "get"),
    _bare("responses.delete", "responses/{response}", "delete", "response"),
    _bare("responses.cancel", "responses/{response}/cancel", "change"),
    _bare("responses.input_items", "responses/{response}/input_items", "get"),
    _json("conversations.create", "conversations", "items", "metadata", kind="conversation"),
    _bare("conversations.get", "conversations/{conversation}", "get"),
    _json("conversations.update", "conversations/{conversation}", "metadata"),
    _bare("conversations.delete", "conversations/{conversation}", "delete", "conversation"),
    _json("conversations.items.create", _ITEMS, "items"),
    _bare("conversations.items.list", _ITEMS, "get"),
    _bare("conversations.items.get", _ITEMS + "/{item}", "get"),
    _bare("conversations.items.delete", _ITEMS + "/{item}", "delete"),
    Operation(
        "files.create", "files", "multipart", inference=False, surfaces=_BOTH, state=State("create", "file"),
    ),
    _bare("files.list", "files", "list", "file"),
    _bare("files.get", "files/{file}", "get"),
    _bare("files.delete", "files/{file}", "delete", "file"),
    _bare("files.content", "files/{file}/content", "content"),
    _json(
        "batches.create", "batches", "endpoint", "completion_window", "metadata", "output_expires_after", kind="batch",
        input_file_id="file",
    ),
    _bare("batches.list", "batches", "list", "batch"),
    _bare("batches.get", "batches/{batch}", "get"),
    _bare("batches.cancel", "batches/{batch}/cancel", "change"),
    _json(
        "vector_stores.create", "vector_stores", "name", "description", "expires_after", "chunking_strategy",
        "metadata", kind="vector_store", file_ids="file",
    ),
    _bare("vector_stores.list", "vector_stores", "list", "vector_store"),
    _bare("vector_stores.get", _STORE, "get"),
    _json("vector_stores.update", _STORE, "name", "expires_after", "metadata"),
    _bare("vector_stores.delete", _STORE, "delete", "vector_store"),
    _json(
        "vector_stores.search", _STORE + "/search", "query", "filters", "max_num_results", "ranking_options",
        "rewrite_query",
    ),
    _json("vector_stores.files.create", _STORE + "/files", "attributes", "chunking_strategy", file_id="file"),
    _bare("vector_stores.files.list", _STORE + "/files", "get"),
    _bare("vector_stores.files.get", _STORE + "/files/{file}", "get"),
    _json("vector_stores.files.update", _STORE + "/files/{file}", "attributes"),
    _bare("vector_stores.files.delete", _STORE + "/files/{file}", "delete"),
    _bare("vector_stores.files.content", _STORE + "/files/{file}/content", "content"),
    _json(
        "vector_stores.file_batches.create", _STORE + "/file_batches", "attributes", "chunking_strategy",
        kind="vector_store_file_batch", file_ids="file",
    ),
    _bare("vector_stores.file_batches.get", _STORE + "/file_batches/{vector_store_file_batch}", "get"),
    _bare("vector_stores.file_batches.cancel", _STORE + "/file_batches/{vector_store_file_batch}/cancel", "change"),
    _bare("vector_stores.file_batches.list_files", _STORE + "/file_batches/{vector_store_file_batch}/files", "get"),
    _json(
        "fine_tuning.jobs.create", "fine_tuning/jobs", "model", "hyperparameters", "suffix", "seed", "metadata",
        "trainingType", kind="fine_tuning_job", training_file="file", validation_file="file",
    ),
    _bare("fine_tuning.jobs.list", "fine_tuning/jobs", "list", "fine_tuning_job"),
    _bare("fine_tuning.jobs.get", _JOB, "get"),
    _bare("fine_tuning.jobs.cancel", _JOB + "/cancel", "change"),
    _bare("fine_tuning.jobs.pause", _JOB + "/pause", "change"),
    _bare("fine_tuning.jobs.resume", _JOB + "/resume", "change"),
    _bare("fine_tuning.jobs.events", _JOB + "/events", "get"),
    _bare("fine_tuning.jobs.checkpoints", _JOB + "/checkpoints", "get"),
)  # fmt: skip
"""Every operation on stored state that there is."""

UNNAMED = frozenset({"item"})
"""Kinds that are remembered by what they lie in: an item is its conversation's."""
