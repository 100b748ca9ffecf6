"""Answers that a proxy writes anew: what they say is compared, not their bytes.

Gateways that read every answer and write it in their own words change its keys, its numbers and how many events it
comes in. What must come through is the text: all of it, in order, and for a stream its end. An event of the backend's
counts as come when its text has. Bytes in, progress out; no I/O.
"""

import json
from bisect import bisect_right
from typing import Any

import msgspec

from bench.load.answer import Answer, Wrong
from bench.load.job import Check
from bench.load.workload import Workload

_EVENT_AT_MOST = 4 << 20
_DONE = "[DONE]"


def fitted(workload: Workload, path: str | None, check: Check) -> Workload:
    """The same at another path, or with answers that are compared by what they say."""
    if path is not None:
        workload = workload.at(path)
    return workload if check == "bytes" else retold(workload)


def retold(workload: Workload) -> Workload:
    """The same, with answers that are compared by what they say; its `ends` are those of each event's text."""
    if not workload.ends:
        return msgspec.structs.replace(workload, said=_said(json.loads(workload.payload)))
    parts: list[str] = []
    ends: list[int] = []
    begin = length = 0
    for end in workload.ends:
        part = _told(workload.payload[begin:end]) or ""
        parts.append(part)
        length += len(part)
        ends.append(length)
        begin = end
    return msgspec.structs.replace(workload, said="".join(parts), ends=tuple(ends), frames=())


def answer_to(workload: Workload) -> Answer:
    """What takes its answer."""
    return Answer(workload) if workload.said is None else Retold(workload)


class Retold(Answer):
    """Of the answer, what it says is compared as it comes."""

    __slots__ = ("_begun", "_done", "_partial", "_said")

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        assert workload.said is not None
        self._said = workload.said
        self._partial = b""  # an event, or a whole answer, that has not come whole
        self._begun = False
        self._done = False

    def _expects(self, length: int) -> bool:
        return length <= _EVENT_AT_MOST

    def _compare(self, part: bytes) -> None:
        self._partial += part
        if len(self._partial) > _EVENT_AT_MOST:
            raise Wrong("event too long")
        if not self._workload.ends:
            return
        *events, self._partial = self._partial.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            self._take(_told(event))

    def _take(self, told: str | None) -> None:
        self._begun = True
        if told is None:
            self._done = True
        elif not self._said.startswith(told, self._offset):
            raise Wrong("wrong text")
        else:
            self._offset += len(told)

    def _come(self) -> int:
        return bisect_right(self._workload.ends, self._offset) if self._begun else 0

    def _complete(self) -> bool:
        if self._workload.ends:
            return self._done and self._offset == len(self._said)
        try:
            return _said(json.loads(self._partial)) == self._said
        except (ValueError, LookupError, TypeError):
            raise Wrong("bad JSON") from None


def _told(event: bytes) -> str | None:
    """What an event adds to the text; None: it is the last, which only says so. Raises `Wrong`."""
    data = "".join(line[5:].strip() for line in event.decode(errors="replace").split("\n") if line.startswith("data:"))
    if data == _DONE:
        return None
    if data.startswith('{"error"'):
        raise Wrong("error event")
    try:
        choices = json.loads(data)["choices"] if data else ()
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Wrong("bad event") from None


def _said(answer: dict[str, Any]) -> str:
    """What a whole answer says: the text, or the numbers of an embedding."""
    if "data" in answer:
        return json.dumps([row["embedding"] for row in answer["data"]])
    return "".join(choice["message"]["content"] for choice in answer["choices"])
