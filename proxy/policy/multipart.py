"""The model in a multipart form (RFC 7578): found once, or refused; and replaced for a backend. Pure."""

import re

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


class Form:
    """A whole form, with the place of its one `model` field, if it has one.

    Raises `Refused`: BAD_REQUEST for a form that is not well made or names a model twice.
    """

    def __init__(self, body: bytes, content_type: bytes) -> None:
        self._body = body
        self._at: tuple[int, int] | None = None
        delimiter = b"--" + boundary(content_type)
        pos = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
        if pos < 2 and not body.startswith(delimiter):
            raise Refused(Reason.BAD_REQUEST, "form without its boundary")
        while True:
            start = pos + len(delimiter)
            if body.startswith(b"--", start):
                break
            end = body.find(b"\r\n" + delimiter, start)
            if end < 0 or not body.startswith(b"\r\n", start):
                raise Refused(Reason.BAD_REQUEST, "form not ended")
            self._part(start + 2, end)
            pos = end + 2

    def _part(self, start: int, end: int) -> None:
        split = self._body.find(b"\r\n\r\n", start, end)
        if split < 0:
            raise Refused(Reason.BAD_REQUEST, "part without a head")
        head = self._body[start:split]
        names = [match[1] if match[1] is not None else match[2] for match in _NAME.finditer(head)]
        if len(names) != 1 or head.lower().count(b"content-disposition") != 1 or b"name*" in head.lower():
            raise Refused(Reason.BAD_REQUEST, "part without one name")
        if names[0].strip().lower() != b"model":
            return
        if self._at is not None or end - split - 4 > _MODEL_AT_MOST:
            raise Refused(Reason.BAD_REQUEST, "model field")
        self._at = (split + 4, end)

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
