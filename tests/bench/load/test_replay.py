"""Logs are read as they are written; what is no log is said by line."""

from pathlib import Path

import pytest

from bench.failure import BenchError
from bench.load.replay import Recorded, recorded

AUDIT = (
    '{{"seq":1,"time":"2026-11-25T21:50:{second}Z","client":"{client}","source":"127.0.0.1","operation":"{operation}",'
    '"model":"gpt-4o","stream":{stream},"tokens":{tokens},"prev":"0"}}\n'
)
TOKENS = '{"prompt":120,"completion":40,"total":160,"cached":0,"reasoning":0,"estimated":false}'
COMBINED = (
    '192.0.2.{host} - {user} [25/Nov/2026:21:50:{second} +0100] "{method} {path} HTTP/1.1" 200 512 "-" "curl/8.5"\n'
)


def audit(second: str, client: str = "turbine", operation: str = "chat.completions", stream: str = "true") -> str:
    return AUDIT.format(second=second, client=client, operation=operation, stream=stream, tokens=TOKENS)


def access(second: str, user: str = "-", method: str = "POST", path: str = "/openai/v1/chat/completions") -> str:
    return COMBINED.format(host=7, user=user, second=second, method=method, path=path)


def read(tmp_path: Path, text: str) -> list[Recorded]:
    path = tmp_path / "log"
    path.write_text(text)
    return recorded(path)


def test_the_audit_log_gives_times_clients_and_sizes_in_the_order_of_times(tmp_path: Path) -> None:
    lines = [
        audit("20.500", stream="false"),
        audit("19.250"),
        audit("22.000", operation="embeddings", client="pump"),
        audit("23.000", operation="models"),
    ]
    assert read(tmp_path, "".join(lines)) == [
        Recorded(0.0, "turbine", "stream", "gpt-4o", 120, 40),
        Recorded(1.25, "turbine", "plain", "gpt-4o", 120, 40),
        Recorded(2.75, "pump", "embeddings", "gpt-4o", 120, 40),
    ]


def test_an_access_log_gives_times_spread_over_their_seconds_and_clients(tmp_path: Path) -> None:
    lines = [
        access("10"),
        access("10", user="ann"),
        access("12", path="/openai/v1/embeddings"),
        access("11", method="GET"),
    ]
    assert read(tmp_path, "".join(lines)) == [
        Recorded(0.0, "192.0.2.7"),
        Recorded(0.5, "ann"),
        Recorded(2.25, "192.0.2.7", "embeddings"),
    ]


@pytest.mark.parametrize("line", [audit("21.000"), access("21")])
def test_a_last_line_that_is_half_written_is_left_out(tmp_path: Path, line: str) -> None:
    whole = line.replace("21", "20")
    for end in range(1, len(line) - 20):
        assert len(read(tmp_path, whole + line[:end])) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no request in it"),
        ("\n\n", "no request in it"),
        (audit("20.000", operation="models"), "no request in it"),
        ("hello\n" + access("10"), "line 1 is no record of an access log"),
        (access("10") + "hello\n", "line 2 is no record of an access log"),
        (access("10").replace("Nov", "Nvo"), "'Nvo' is no month"),
        (access("10").replace("25/Nov", "99/Nov"), "line 1"),
        (audit("20.000") + '{"time": 5}\n', "line 2 is no record of the audit log"),
        (audit("20.000").replace("2026-", "26-"), "line 1"),
        ("\x00\xff" * 2000 + "\n", "line 1"),
        ("\x00" * (1 << 21), "no request in it"),
    ],
)
def test_what_is_no_log_is_said_by_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        read(tmp_path, text)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        recorded(tmp_path / "none")
