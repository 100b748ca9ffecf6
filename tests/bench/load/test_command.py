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
        (["--url", "ftp://localhost:1", "--root", "{root}"], "must be https://HOST:PORT"),
        (["--url", "https://localhost:1", "--root", "missing.pem"], "No such file"),
        (["--url", "https://localhost:1", "--root", __file__], "the certificates are of no use"),
        (["--url", "https://localhost:1", "--root", "{root}", "--key", "k"], "both --certificate and --key"),
        (["--url", "https://localhost:no", "--root", "{root}"], "is no URL"),
        (["--url", "https://localhost:1"], "name the root"),
        (
            ["--url", "https://localhost:1", "--root", "{root}", "--identities", "none.toml"],
            "none.toml: cannot be read",
        ),
        (["--url", "https://localhost:1", "--root", "{root}", "--replay", "none.log"], "none.log: cannot be read"),
        (["--url", "https://localhost:1", "--root", "{root}", "--replay", __file__], "line 1 is no record"),
        (["--url", "https://localhost:1", "--root", "{root}", "--arrivals", "poisson"], "need a rate above 0"),
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
        ["load", "--url", "https://h:1", "--mode", "poetry"],
        ["load", "--url", "https://h:1", "--mix", "plain=1,poetry=1"],
        ["load", "--url", "https://h:1", "--mode", "plain", "--tokens", "9-3"],
        ["compare", "--repeat", "0"],
        ["compare", "--seconds", "0"],
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


def test_a_mix_of_many_who_ask_by_a_replayed_log(
    mock: MockProcess, pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who, log = tmp_path / "who.toml", tmp_path / "access.log"
    who.write_text(
        '[[identities]]\nclient = "ann"\napi_key = "bench"\n[[identities]]\nclient = "joe"\napi_key = "bench"\n'
    )
    line = '192.0.2.1 - ann [25/Nov/2026:21:50:10 +0000] "POST /openai/v1/chat/completions HTTP/1.1" 200 1\n'
    log.write_text(line * 20)
    more = ["--mix", "streams=2,plain=1,embeddings=1", "--tokens", "1-20", "--prompt", "10-2000"]
    more += ["--identities", str(who), "--replay", str(log), "--speed", "4", "--processes", "2", "--never-read", "1"]
    assert main(asked(mock, pki, *more)) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert printed["answers"] == printed["asked"] == 20
    assert printed["unfinished"] == 0
    assert printed["generator"]["processes"] == 2
    assert printed["ttft"]["count"] > 0
    assert "1 s: asked 20, answered" in captured.err


@pytest.mark.parametrize("pattern", ["poisson", "ramp", "step"])
def test_schedules(mock: MockProcess, pki: Pki, capsys: pytest.CaptureFixture[str], pattern: str) -> None:
    more = ["--mode", "embeddings", "--api-key", "bench", "--arrivals", pattern, "--rate", "100", "--to", "200"]
    assert main(asked(mock, pki, *more)) == 0
    assert json.loads(capsys.readouterr().out)["answers"] > 0
