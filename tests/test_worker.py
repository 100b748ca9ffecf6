"""A worker reads a head by the view of the moment in which it is complete."""

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config.structs import Bounds
from proxy.heads import Heads
from proxy.refusal import Reason, Refused
from proxy.view import FORWARDED_HEADERS
from proxy.worker import Worker

HEAD = (
    b"\r\n".join([b"POST /openai/v1/chat/completions HTTP/1.1", b"Host: a", b"x: y", b"content-length: 1"])
    + b"\r\n\r\n"
)


def test_what_the_bounds_of_before_allowed_is_not_remembered_under_those_of_now() -> None:
    before, now = Bounds(), Bounds(headers=2)
    worker: Any = SimpleNamespace(view=SimpleNamespace(bounds=now, heads=Heads(FORWARDED_HEADERS)))
    for bounds in (before, now):  # the first has waited for its head since before the change
        with pytest.raises(Refused) as refused:
            Worker._read_head(worker, HEAD, bounds)
        assert refused.value.reason is Reason.HEADERS_TOO_LARGE
