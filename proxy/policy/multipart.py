"""The model in a multipart form (RFC 7578): found once, or refused; and replaced for a backend. Pure."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from proxy.refusal import Reason, Refused

_BOUNDARY = re.compile(rb"""multipart/form-data\s*;.*?\bboundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))""", re.I)
_NAME = re.compile(rb"""content-disposition:\s*form-data\s*;\s*name=(?:"([^"\r\n]*)"|([^\s;"]+))""", re.I)
_MODEL_AT_MOST = 256


def boundary(content_type: bytes) -> bytes:
    """The form's boundary. Raises `Refused`: UNSUPPORTED_MEDIA_TYPE."""
    match = _BOUNDARY.match(content_type)
    if match is None or content_type.lower().count(b"boundary=") != 1:
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, "multipart boundary")
    return match[1] or match[2]


class Part(NamedTuple):
    """One part: its name in lower case without blanks around, its head, and where its content is."""

    name: str
    head: bytes
    start: int
    end: int


def parts(body: bytes, content_type: bytes) -> Iterator[Part]:
    """The parts of a whole form. Raises `Refused`: BAD_REQUEST for one that is not well made."""
    delimiter = b"--" + boundary(content_type)
    pos = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if pos < 2 and not body.startswith(delimiter):
        raise Refused(Reason.BAD_REQUEST, "form without its boundary")
    while True:
        start = pos + len(delimiter)
        if body.startswith(b"--", start):
            return
        end = body.find(b"\r\n" + delimiter, start)
        if end < 0 or not body.startswith(b"\r\n", start):
            raise Refused(Reason.BAD_REQUEST, "form not ended")
        yield _part(body, start + 2, end)
        pos = end + 2


def _part(body: bytes, start: int, end: int) -> Part:
    split = body.find(b"\r\n\r\n", start, end)
    if split < 0:
        raise Refused(Reason.BAD_REQUEST, "part without a head")
    head = body[start:split]
    names = [match[1] if match[1] is not None else match[2] for match in _NAME.finditer(head)]
    if len(names) != 1 or head.lower().count(b"content-disposition") != 1 or b"name*" in head.lower():
        raise Refused(Reason.BAD_REQUEST, "part without one name")
    return Part(names[0].strip().lower().decode("latin-1"), head, split + 4, end)


class Form:
    """A whole form, with the place of its one `model` field, if it has one.

    Raises `Refused`: BAD_REQUEST for a form that is not well made or names a model twice.
    """

    def __init__(self, body: bytes, content_type: bytes) -> None:
        self._body = body
        self._at: tuple[int, int] | None = None
        for part in parts(body, content_type):
            if part.name == "model":
                if self._at is not None or part.end - part.start > _MODEL_AT_MOST:
                    raise Refused(Reason.BAD_REQUEST, "model field")
                self._at = part.start, part.end

    @property
    def model(self) -> str | None:
        if self._at is None:
            return None
        return self._body[self._at[0] : self._at[1]].decode("utf-8", "replace").strip()

    def forwarded(self, deployment: str) -> bytes:
        """The form with its model renamed to a backend's deployment."""
        if self._at is None:
            return self._body
        start, end = self._at
        return self._body[:start] + deployment.encode() + self._body[end:]
