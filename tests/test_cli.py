"""The command as people meet it: exit codes, one clear sentence, no traceback, and no secret on the command line."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from certs.pki import Pki, build
from proxy import __version__, cli

COMMANDS: tuple[list[str], ...] = (
    [],
    ["serve"],
    ["check"],
    ["keys"],
    ["keys", "hash"],
    ["keys", "issue"],
    ["keys", "rotate"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["backends"],
    ["backends", "drain"],
    ["backends", "undrain"],
    ["backends", "open"],
    ["backends", "close"],
    ["backends", "weight"],
    ["audit"],
    ["audit", "verify"],
    ["explain"],
    ["mock"],
)
WRONG_USE: tuple[list[str], ...] = (
    [],
    ["nonsense"],
    ["serve"],
    ["check"],
    ["check", "--config"],
    ["explain", "--config", "penstock.toml"],
    ["explain", "/openai/v1/models"],
    ["keys"],
    ["keys", "hash", "key"],
    ["audit"],
    ["audit", "verify"],
    ["audit", "verify", "--log", "audit.jsonl", "--key", "audit.key"],
    ["keys", "issue", "--config", "c.toml"],
    ["keys", "issue", "--client", "a"],
    ["keys", "issue", "--config", "c.toml", "--client", "a", "--expires", "soon"],
    ["keys", "issue", "--config", "c.toml", "--client", "a", "--expires", "0d"],
    ["keys", "issue", "--config", "c.toml", "--client", "a", "--note", "two\nlines"],
    ["keys", "rotate", "--config", "c.toml", "--client", "a", "--old-expires", "1"],
    ["keys", "list"],
    ["keys", "revoke", "--config", "c.toml"],
    ["backends"],
    ["backends", "stop"],
    ["backends", "drain", "swc"],
    ["backends", "drain", "--config", "c.toml"],
    ["backends", "open", "--config", "c.toml", "swc", "--for", "soon"],
    ["backends", "weight", "--config", "c.toml", "swc", "gpt-4o"],
    ["backends", "weight", "--config", "c.toml", "swc", "gpt-4o", "-1"],
    ["backends", "weight", "--config", "c.toml", "swc", "gpt-4o", "nan"],
    ["mock"],
)
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def config(pki: Pki) -> Path:
    path = pki.directory / "penstock.toml"
    path.write_text('[listen]\ncertificate = "server.pem"\nprivate_key = "server.key"\n')
    return path


@pytest.fixture
def penstock(tmp_path: Path) -> Run:
    def run(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "proxy", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=30, cwd=tmp_path, check=False)

    return run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help that is not folded."""
    monkeypatch.setenv("COLUMNS", "200")


def exit_code(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([*command, "--help"]) == 0
    assert "example: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", WRONG_USE, ids=" ".join)
def test_wrong_use_exits_2_and_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: penstock")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["keys", "hash", "hunter2"], "penstock: error: one argument too many\n"),
        (["keys", "hash", "--key=hunter2"], "penstock: error: unknown option --key\n"),
        (["explain", "--config", "c", "/openai/v1/models", "hunter2"], "penstock: error: one argument too many\n"),
    ],
)
def test_a_key_on_the_command_line_is_not_repeated(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(arguments) == 2
    err = capsys.readouterr().err
    assert err.endswith(says)
    assert "hunter2" not in err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"penstock {__version__}\n"


def test_check_of_a_valid_file_says_what_it_is(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", str(config)]) == 0
    assert capsys.readouterr() == (
        f"{config}: valid\n"
        "  listens on 0.0.0.0:8443; client certificates: off\n"
        "  0 clients, 0 models\n"
        "  0 backends in 0 regions, 0 credentials\n",
        "",
    )


def test_check_of_an_invalid_file_says_all_that_is_wrong(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    path = pki.directory / "invalid.toml"
    path.write_text('[listen]\ncertificate = "server.pem"\nprivate_key = "mock.key"\nworkers = -1\n')
    assert cli.main(["check", "--config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        [str(path), "listen.workers"],
        [str(path), "listen.private_key"],
    ]


@pytest.mark.parametrize("command", ["serve", "check", "mock"])
@pytest.mark.parametrize("name", ["absent.toml", ".", "a\nb"])
def test_a_file_that_cannot_be_read(penstock: Run, command: str, name: str) -> None:
    ended = penstock(command, "--config", name)
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert b"Traceback" not in ended.stderr
    assert b"cannot be read" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "check", "mock"])
def test_a_file_that_is_no_configuration(penstock: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.toml").write_text("[listen\n")
    ended = penstock(command, "--config", "bad.toml")
    assert ended.returncode == 1
    assert b"line 1" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("key", [b"a-key", b"a-key\n", b"a-key\r\n"])
def test_the_hash_of_a_key_from_standard_input(penstock: Run, key: bytes) -> None:
    ended = penstock("keys", "hash", stdin=key)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode() == f"sha256:{hashlib.sha256(b'a-key').hexdigest()}\n"


def test_the_hash_of_a_key_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_bytes(b"a-key\n")
    assert cli.main(["keys", "hash", "--file", str(tmp_path / "key")]) == 0
    assert capsys.readouterr().out == f"sha256:{hashlib.sha256(b'a-key').hexdigest()}\n"


@pytest.mark.parametrize("key", [b"", b"\n", b"two words", b"two\nlines", b"a\n\n", "schlüssel".encode(), b"x" * 5000])
def test_what_is_no_key(penstock: Run, key: bytes) -> None:
    ended = penstock("keys", "hash", stdin=key)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr == b"a key is one line of at most 4096 visible ASCII characters, without spaces\n"


def test_a_key_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "hash", "--file", str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/absent: No such file or directory\n"


def test_a_reader_who_leaves_and_streams_that_are_closed(config: Path) -> None:
    for script in (
        "{} --version | true",
        "{} check --config {} >&- 2>&-",
        "{} keys hash <&-",
        "{} keys hash >&- </dev/null",
    ):
        command = script.format(f"{sys.executable} -m proxy", config)
        ended = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
        assert b"Traceback" not in ended.stderr
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "proxy", "check", "--config", str(config)],
            stdout=gone, stderr=subprocess.PIPE, timeout=30, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_hash", interrupted)
    assert cli.main(["keys", "hash"]) == 130


def test_starting_imports_nothing_that_it_does_not_use() -> None:
    script = "import sys, proxy.cli; print([m for m in ('trio', 'msgspec', 'ssl', 'cryptography') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=True)
    assert ended.stdout == b"[]\n"
