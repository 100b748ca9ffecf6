"""What one resource stores: files, batches, vector stores, responses, conversations, fine-tunes, uploads.

In memory, and shared by all who have the resource's credential, as Azure's is: whoever knows an id may read, use and
delete what it names, and listings show everything. What runs in the background (batches, background responses, vector
stores' files, fine-tunes) has finished the second time it is asked for.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from bench.mock import answers

Thing = dict[str, Any]
_PAGE = 100
_THINGS_AT_MOST = 20_000


class Reply(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"application/json"


class Asked(NamedTuple):
    """A request for stored state: the path below the surface, split."""

    method: str
    path: tuple[str, ...]
    query: dict[str, list[str]]
    body: bytes
    content_type: bytes


class NotThere(Exception):
    """There is no such thing."""


class Refused(Exception):
    """A request that is not valid; the message says why."""


def is_stored(path: str) -> bool:
    """Whether an address, below its surface, is of something stored."""
    first, _, rest = path.partition("/")
    return first in ("files", "batches", "vector_stores", "conversations", "fine_tuning") or (
        first == "responses" and bool(rest)
    )


def keeps(body: Thing) -> bool:
    """Whether a request for a response makes or names what is stored. Azure keeps it unless told not to; here it has to
    be asked for, so that load tests leave nothing behind.
    """
    return (
        body.get("store") is True
        or any(body.get(key) for key in ("background", "previous_response_id", "conversation", "tools"))
        or any(item.get("file_id") is not None for item in _objects(body.get("input")))
    )


def asked(method: bytes, path: str, query: str, body: bytes, content_type: bytes) -> Asked:
    return Asked(method.decode(), tuple(path.split("/")), parse_qs(query), body, content_type)


class Stored:
    """The things of one instance. `now` tells Unix time; `name` makes ids that no other instance gives out."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name = re.sub(r"[^A-Za-z0-9]", "", name)
        self._now = now
        self._number = 0
        self._things: dict[str, Thing] = {}
        self._contents: dict[str, bytes] = {}
        self._asked: dict[str, int] = {}

    def response(self, body: Thing, response: Thing) -> Thing:
        """A response as it is stored, and answered. Raises `NotThere` for what it names and is not there."""
        for key, kind in (("previous_response_id", "response"), ("conversation", "conversation")):
            value = body.get(key)
            named = value.get("id") if isinstance(value, dict) else value
            if named is not None:
                self._get(named, kind)
        for item in _objects(body.get("input")):
            if item.get("file_id") is not None:
                self._get(item["file_id"], "file")
        for tool in body.get("tools") or []:
            for one in tool.get("vector_store_ids") or []:
                self._get(one, "vector_store")
        stored = body.get("store") is True
        new = {
            **response,
            "id": self._id("resp_"),
            "created_at": int(self._now()),
            "store": stored,
            "previous_response_id": body.get("previous_response_id"),
            "background": body.get("background") is True,
        }
        if stored:
            kept = {**new, "_input": body.get("input"), "_done": response}
            if body.get("background") is True:
                new = kept = {**kept, "status": "queued", "output": [], "usage": None}
            self._put(kept)
            conversation = body.get("conversation")
            if conversation is not None:
                named = conversation.get("id") if isinstance(conversation, dict) else conversation
                self._get(named, "conversation")["_items"].extend(_items(body.get("input"), self._id))
        return shown(new)

    def answer(self, request: Asked) -> Reply:
        try:
            return self._answer(request)
        except NotThere:
            return Reply(404, answers.error("404", "Resource not found."))
        except Refused as refused:
            return Reply(400, answers.error("BadRequest", str(refused)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Reply(400, answers.error("BadRequest", "The request is not valid."))

    def _answer(self, request: Asked) -> Reply:
        method, path = request.method, request.path
        match method, path:
            case "POST", ("files",):
                return _json(self._upload(request))
            case "POST", ("batches",):
                return _json(self._batch(json.loads(request.body)))
            case "POST", ("vector_stores",):
                return _json(self._vector_store(json.loads(request.body)))
            case "POST", ("conversations",):
                return _json(self._conversation(json.loads(request.body or b"{}")))
            case "POST", ("fine_tuning", "jobs"):
                return _json(self._job(json.loads(request.body)))
            case "GET", ("files" | "batches" | "vector_stores" as kind,):
                return _json(self._listing(_OBJECTS[kind], request.query))
            case "GET", ("fine_tuning", "jobs"):
                return _json(self._listing("fine_tuning.job", request.query))
            case _, ("fine_tuning", "jobs", job, *rest):
                return self._on(request, self._get(job, "fine_tuning.job"), tuple(rest))
            case _, (kind, one, *rest) if kind in _OBJECTS:
                return self._on(request, self._get(one, _OBJECTS[kind]), tuple(rest))
        raise NotThere

    def _on(self, request: Asked, thing: Thing, rest: tuple[str, ...]) -> Reply:
        """One thing, and what is below it."""
        self._age(thing)
        match request.method, thing["object"], rest:
            case "GET", _, ():
                return _json(shown(thing))
            case "DELETE", kind, ():
                del self._things[thing["id"]]
                self._contents.pop(thing["id"], None)
                return _json({"id": thing["id"], "object": f"{kind}.deleted", "deleted": True})
            case "GET", "file", ("content",):
                return Reply(200, self._contents[thing["id"]], b"application/octet-stream")
            case "POST", "batch" | "response" | "fine_tuning.job", ("cancel",):
                thing["status"] = "cancelled"
                return _json(shown(thing))
            case "POST", "fine_tuning.job", ("pause" | "resume",):
                return _json(shown(thing))
            case "GET", "fine_tuning.job", ("events" | "checkpoints",):
                return _json({"object": "list", "data": [], "has_more": False})
            case "GET", "response", ("input_items",):
                return _json(_list(_items(thing["_input"], self._id)))
            case "POST", "conversation" | "vector_store", ():
                thing.update(json.loads(request.body))
                return _json(shown(thing))
            case _, "conversation", ("items", *more):
                return self._items_of(request, thing, tuple(more))
            case _, "vector_store", (below, *more):
                return self._below_vector_store(request, thing, below, tuple(more))
        raise NotThere

    def _items_of(self, request: Asked, conversation: Thing, rest: tuple[str, ...]) -> Reply:
        items = conversation["_items"]
        match request.method, rest:
            case "GET", ():
                return _json(_list(items))
            case "POST", ():
                new = _items(json.loads(request.body)["items"], self._id)
                items.extend(new)
                return _json(_list(new))
            case "GET", (one,):
                return _json(_one([item for item in items if item["id"] == one]))
            case "DELETE", (one,):
                conversation["_items"] = [item for item in items if item["id"] != one]
                return _json(shown(conversation))
        raise NotThere

    def _below_vector_store(self, request: Asked, store: Thing, below: str, rest: tuple[str, ...]) -> Reply:
        held: dict[str, Thing] = store["_files"]
        match request.method, below, rest:
            case "POST", "files", ():
                return _json(self._hold(store, json.loads(request.body)["file_id"]))
            case "GET", "files", ():
                return _json(_list(list(held.values())))
            case "GET", "files", (one, "content"):
                held.get(one) or _raise()
                return _json({"object": "vector_store.file_content.page", "data": [], "has_more": False})
            case "GET" | "POST", "files", (one,):
                return _json(held.get(one) or _raise())
            case "DELETE", "files", (one,):
                held.pop(one, None) or _raise()
                return _json({"id": one, "object": "vector_store.file.deleted", "deleted": True})
            case "POST", "search", ():
                return _json({"object": "vector_store.search_results.page", "data": [], "has_more": False})
            case "POST", "file_batches", ():
                ids = json.loads(request.body)["file_ids"]
                for one in ids:
                    self._hold(store, one)
                batch = {"id": self._id("vsfb_"), "object": "vector_store.files_batch", "status": "completed"}
                self._put({**batch, "vector_store_id": store["id"], "_ids": ids})
                return _json({**batch, "created_at": int(self._now()), "vector_store_id": store["id"]})
            case "GET" | "POST", "file_batches", (one, *more):
                batch = self._get(one, "vector_store.files_batch")
                if batch["vector_store_id"] != store["id"]:
                    raise NotThere
                return _json(
                    _list([held[n] for n in batch["_ids"] if n in held]) if more == ["files"] else shown(batch)
                )
        raise NotThere

    def _hold(self, store: Thing, file_id: str) -> Thing:
        self._get(file_id, "file")
        held = {"id": file_id, "object": "vector_store.file", "vector_store_id": store["id"], "status": "completed"}
        store["_files"][file_id] = held
        return held

    # What is made.

    def _upload(self, request: Asked) -> Thing:
        boundary = re.search(rb'boundary="?([^";]+)', request.content_type)
        if boundary is None:
            raise Refused("no form")
        fields: dict[str, bytes] = {}
        filename = "file"
        for part in request.body.split(b"--" + boundary[1])[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            found = re.search(rb'name="([^"]*)"', head, re.I)
            named = re.search(rb'filename="([^"]*)"', head, re.I)
            if found is None:
                raise Refused("a part without a name")
            fields[re.sub(rb".*[; ]name=\"([^\"]*)\".*", rb"\1", head, flags=re.S | re.I).decode()] = content[:-2]
            filename = named[1].decode() if named else filename
        file: Thing = {
            "id": self._id("file-"),
            "object": "file",
            "bytes": len(fields["file"]),
            "created_at": int(self._now()),
            "filename": filename,
            "purpose": fields["purpose"].decode(),
            "status": "processed",
        }
        seconds = fields.get("expires_after[seconds]")
        if seconds is not None:
            file["expires_at"] = int(self._now()) + int(seconds)
        self._contents[file["id"]] = fields["file"]
        return self._put(file)

    def _batch(self, body: Thing) -> Thing:
        file = self._get(body["input_file_id"], "file")
        if file["purpose"] != "batch":
            raise Refused("the file is not for a batch")
        lines = [json.loads(line) for line in self._contents[file["id"]].splitlines() if line.strip()]
        return self._put(
            {
                "id": self._id("batch_"),
                "object": "batch",
                "endpoint": body["endpoint"],
                "input_file_id": file["id"],
                "completion_window": body["completion_window"],
                "status": "validating",
                "output_file_id": None,
                "error_file_id": None,
                "created_at": int(self._now()),
                "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
                "metadata": body.get("metadata"),
                "_lines": lines,
            }
        )

    def _vector_store(self, body: Thing) -> Thing:
        store: Thing = {
            "id": self._id("vs_"),
            "object": "vector_store",
            "created_at": int(self._now()),
            "name": body.get("name"),
            "status": "completed",
            "metadata": body.get("metadata"),
            "_files": {},
        }
        self._put(store)
        for one in body.get("file_ids") or []:
            self._hold(store, one)
        return shown(store)

    def _conversation(self, body: Thing) -> Thing:
        items = _items(body.get("items"), self._id)
        thing = {"id": self._id("conv_"), "object": "conversation", "created_at": int(self._now())}
        return self._put({**thing, "metadata": body.get("metadata"), "_items": items})

    def _job(self, body: Thing) -> Thing:
        self._get(body["training_file"], "file")
        if body.get("validation_file"):
            self._get(body["validation_file"], "file")
        return self._put(
            {
                "id": self._id("ftjob-"),
                "object": "fine_tuning.job",
                "created_at": int(self._now()),
                "model": body["model"],
                "status": "queued",
                "training_file": body["training_file"],
                "result_files": [],
                "trained_tokens": None,
                "fine_tuned_model": None,
            }
        )

    def _age(self, thing: Thing) -> None:
        """What runs in the background has finished the second time that it is asked for."""
        count = self._asked[thing["id"]] = self._asked.get(thing["id"], 0) + 1
        if count < 2 or thing.get("status") not in ("validating", "queued"):
            return
        match thing["object"]:
            case "batch":
                self._run(thing)
            case "response":
                thing.update({key: thing["_done"][key] for key in ("output", "usage")}, status="completed")
            case "fine_tuning.job":
                result = self._made(b"step,loss\n1,0.1\n", "fine-tune-results")
                thing.update(status="succeeded", trained_tokens=1234, result_files=[result])

    def _run(self, batch: Thing) -> None:
        """A batch's lines, answered."""
        out = []
        prompt = completion = 0
        for line in batch["_lines"]:
            body = line["body"]
            prompt, completion = prompt + answers.prompt_tokens(body), completion + answers.completion_tokens(body)
            response = {"status_code": 200, "body": json.loads(answers.chat_answer(body, body["model"]))}
            out.append(answers.dump({"id": "r", "custom_id": line["custom_id"], "response": response, "error": None}))
        batch["status"] = "completed"
        batch["output_file_id"] = self._made(b"\n".join(out), "batch_output")
        batch["usage"] = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
        batch["request_counts"] = {"total": len(out), "completed": len(out), "failed": 0}

    def _made(self, content: bytes, purpose: str) -> str:
        file = {"id": self._id("file-"), "object": "file", "bytes": len(content), "created_at": int(self._now())}
        self._put({**file, "filename": "output.jsonl", "purpose": purpose, "status": "processed"})
        self._contents[str(file["id"])] = content
        return str(file["id"])

    # The things.

    def _id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._name}{self._number:08x}"

    def _put(self, thing: Thing) -> Thing:
        if len(self._things) >= _THINGS_AT_MOST:
            oldest = next(iter(self._things))
            del self._things[oldest]
            self._contents.pop(oldest, None)
            self._asked.pop(oldest, None)
        self._things[thing["id"]] = thing
        return shown(thing)

    def _get(self, thing_id: Any, kind: str) -> Thing:
        thing = self._things.get(thing_id)
        if thing is None or thing["object"] != kind or self._now() >= (thing.get("expires_at") or float("inf")):
            raise NotThere
        return thing

    def _listing(self, kind: str, query: dict[str, list[str]]) -> Thing:
        """Everybody's things of a kind, the newest first."""
        found = [shown(thing) for thing in reversed(self._things.values()) if thing["object"] == kind]
        limit = min(int(query.get("limit", ["20"])[0]), _PAGE)
        after = query.get("after", [None])[0]
        ids = [thing["id"] for thing in found]
        start = ids.index(after) + 1 if after in ids else 0
        return {"object": "list", "data": found[start : start + limit], "has_more": start + limit < len(found)}


_OBJECTS = {
    "files": "file",
    "batches": "batch",
    "vector_stores": "vector_store",
    "conversations": "conversation",
    "responses": "response",
}


def shown(thing: Thing) -> Thing:
    """Without what only the mock needs."""
    return {key: value for key, value in thing.items() if not key.startswith("_")}


def _items(given: Any, make_id: Callable[[str], str]) -> list[Thing]:
    listed = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    return [{"type": "message", **item, "id": item.get("id") or make_id("msg_")} for item in listed]


def _list(data: list[Thing]) -> Thing:
    ids = [item["id"] for item in data]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": data, "has_more": False, **ends}


def _objects(value: Any) -> list[Thing]:
    if isinstance(value, list):
        return [found for item in value for found in _objects(item)]
    if isinstance(value, dict):
        return [value, *(found for item in value.values() for found in _objects(item))]
    return []


def _json(value: Thing) -> Reply:
    return Reply(200, answers.dump(value))


def _one(found: list[Thing]) -> Thing:
    return found[0] if found else _raise()


def _raise() -> Any:
    raise NotThere
