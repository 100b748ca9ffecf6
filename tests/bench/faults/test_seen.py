"""What the fault bench makes of what it sees."""

import os
import socket

import pytest

from bench.faults.backend import Broken, judged
from bench.faults.finding import Finding, nothing_wrong, table
from bench.faults.killed import clients_of

EVENT = b"data: {}\n\n"
ERROR = b'data: {"error":{"code":"BackendFailed","message":"gone"}}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (chunk(EVENT) * 2 + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", Broken(3, None, True)),
        (chunk(EVENT) + chunk(EVENT + ERROR), Broken(2, "BackendFailed", False)),
        (chunk(EVENT) + chunk(ERROR) + b"0\r\n\r\n", Broken(1, "BackendFailed", True)),
        (chunk(EVENT) * 2, Broken(2, None, False)),
        (chunk(EVENT) + chunk(EVENT[:5]), Broken(-1, None, False)),
        (b"", Broken(0, None, False)),
    ],
)
def test_a_broken_stream_is_seen_for_what_it_is(body: bytes, seen: Broken) -> None:
    assert judged(body) == seen


def test_connections_are_found_by_the_process_that_holds_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            assert clients_of(os.getpid(), port) == {client.getsockname()[1]}
            assert clients_of(os.getpid(), client.getsockname()[1]) == {port}
        assert clients_of(os.getpid(), port) == set()


def test_errors_are_named() -> None:
    assert nothing_wrong("x", {}, 5) == Finding("x", "0 of 5", "0", True)
    assert nothing_wrong("x", {"b": 1, "a": 2}, 5) == Finding("x", "3 of 5 (2 a, 1 b)", "0", False)
    assert table([nothing_wrong("x", {}, 5)]).splitlines()[-1] == "| x | 0 of 5 | 0 | holds |"
