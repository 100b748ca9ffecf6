"""`python -m bench load`: figures as JSON, errors as sentences, and an exit code for each."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.mock.process import MockProcess
from certs.pki import Pki


def asked(mock: MockProcess, pki: Pki, *more: str) -> list[str]:
    return ["load", "--url", mock.urls["swc"], "--root", str(pki.server_root), "--seconds", "0.3", "--ramp", "0", *more]


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        (["--mode", "plain", "--connections", "2"], "answers"),
        (["--mode", "plain", "--connections", "2", "--rate", "50"], "answers"),
        (["--mode", "streams", "--model", "paced", "--interval", "5", "--leave-share", "0.5"], "events"),
        (["--mode", "handshakes", "--connections", "1"], "handshakes"),
    ],
)
def test_modes(mock: MockProcess, pki: Pki, capsys: pytest.CaptureFixture[str], more: list[str], counted: str) -> None:
    assert main(asked(mock, pki, "--api-key", "bench", *more)) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures[counted] > 0
    assert figures["errors"] == {}
    assert figures["generator"]["cpu_us_each"] > 0


def test_errors_are_counted_and_fail(mock: MockProcess, pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(mock, pki, "--mode", "plain", "--api-key", "wrong")) == 1
    assert json.loads(capsys.readouterr().out)["errors"]["status 401"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://localhost:1", "--root", "{root}"], "must be https://HOST:PORT"),
        (["--url", "https://localhost:1", "--root", "missing.pem"], "No such file"),
        (["--url", "https://localhost:1", "--root", __file__], "the certificates are of no use"),
        (["--url", "https://localhost:1", "--root", "{root}", "--key", "k"], "both --certificate and --key"),
        (["--url", "https://localhost:no", "--root", "{root}"], "is no URL"),
    ],
)
def test_mistakes_are_explained(pki: Pki, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    given = [argument.format(root=pki.server_root) for argument in arguments]
    assert main(["load", "--mode", "plain", *given]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["load"],
        ["compare", "--with", "apache"],
        ["compare", "--what", "beauty"],
        ["faults", "--what", "meteor"],
        ["load", "--url", "https://h:1", "--root", "r", "--mode", "plain", "--leave-share", "2"],
        ["compare", "--repeat", "0"],
    ],
)
def test_wrong_use_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", ["mock", "load", "compare", "faults", "timelines", "simulate"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"example: python -m bench {command}" in " ".join(capsys.readouterr().out.split())


def test_a_mock_configuration_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mock", "--config", str(tmp_path / "mock.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err
