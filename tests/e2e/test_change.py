"""Another configuration while the gateway serves: over the admin address, back again, and after a restart."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.cli import main
from tests.e2e.gateway import KEY, OTHER_KEY, WITHIN, Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, split
from tests.e2e.test_life import Stream, serving, workers

MEBIBYTE = 1 << 20
HOSTILE = {
    "invalid UTF-8": (b"\xff" * MEBIBYTE, 422, "is not UTF-8"),
    "arrays in arrays": (b"a = " + b"[" * (MEBIBYTE - 4), 422, "nested too deeply"),
    "tables in tables": (b"a = " + b"{a=" * (MEBIBYTE // 3 - 2), 422, "nested too deeply"),
    "a key of very many parts": (b".".join([b"a"] * (MEBIBYTE // 2 - 2)) + b"=1", 422, "nested too deeply"),
    "a number of very many digits": (b"a = " + b"9" * (MEBIBYTE - 4), 422, "out of range"),
    "no TOML": (b"\x00" * 100, 422, "is not valid TOML"),
    "nothing": (b"", 422, "missing"),
    "very many clients": (b"[[clients]]\n" * 40_000, 422, "missing"),
}


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """A gateway with a configuration of its own to change; each test begins by what is in force then."""
    folder = tmp_path_factory.mktemp("changing")
    shutil.copy(pki.client_root, folder / "roots.pem")
    text = config_text(pki, mock).replace(f'"{pki.client_root}"', '"roots.pem"')
    with gateway(folder, pki, mock, text) as running:
        wait_for(lambda: serving(running, 2))
        yield running


def text_of(running: Gateway) -> str:
    return send(running, "GET", "/api/config", headers={"accept": "application/toml"}).text


def version_of(running: Gateway) -> int:
    found: int = running.api("GET", "/api/config").json()["version"]
    return found


def send(
    running: Gateway, method: str, path: str, content: bytes | str | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    token = (running.folder / "state" / "admin.token").read_text().strip()
    sent = {"authorization": f"Bearer {token}", "content-type": "application/toml"} | (headers or {})
    return httpx.request(method, running.admin + path, headers=sent, content=content, timeout=4 * WITHIN)


def put(running: Gateway, text: bytes | str, version: int) -> httpx.Response:
    return send(running, "PUT", "/api/config", text, {"if-match": f'"{version}"'})


def in_force(running: Gateway, version: int) -> bool:
    return all(worker["version"] >= version for worker in workers(running))


def status_with(running: Gateway, key: str) -> int:
    with running.client(key) as client:
        return client.get("/openai/v1/models").status_code


def act(running: Gateway, operation: str) -> dict[str, Any]:
    return running.record(lambda record: record["operation"] == operation and record["decision"] == "allowed")


def without_second(text: str) -> str:
    start = text.index('[[clients]]\nname = "second"')
    return text[:start] + text[text.index("[credentials.gateway]") :]


def test_what_would_change_is_told_and_nothing_else_happens(changing: Gateway) -> None:
    text, version = text_of(changing), version_of(changing)
    candidate = (
        without_second(text).replace('models = ["*"]', 'models = ["gpt-4o"]').replace("workers = 2", "workers = 1")
    )
    told = send(changing, "POST", "/api/config/check", candidate).json()
    assert (told["version"], told["restart"]) == (version, True)
    assert {change["key"]: (change["kind"], change["effect"]) for change in told["changes"]} == {
        "listen.workers": ("changed", "restart"),
        "clients.first.grants[0].models": ("changed", "ends"),
        "clients.second": ("removed", "ends"),
    }
    assert send(changing, "POST", "/api/config/check", text).json()["changes"] == []
    assert version_of(changing) == version
    assert changing.config.read_text() == text
    assert act(changing, "admin.config.check")["source"] == "admin"


def test_another_content_of_the_same_file_is_told(changing: Gateway, pki: Pki) -> None:
    roots = changing.folder / "roots.pem"
    kept = roots.read_bytes()
    version = version_of(changing)
    roots.write_bytes(pki.server_root.read_bytes())
    wait_for(lambda: version_of(changing) > version or None)
    roots.write_bytes(kept)
    newest = wait_for(lambda: version_of(changing) > version + 1 and changing.api("GET", "/api/config/history").json())
    assert "listen.client_certificates.roots: another content: sha256:" in changing.log
    assert newest["versions"][0]["version"] == newest["version"]


def test_applied_under_load_without_an_error(changing: Gateway) -> None:
    """And a client that is no longer there is refused from its next request on, on a connection that is open."""
    text, version = text_of(changing), version_of(changing)
    assert status_with(changing, OTHER_KEY) == 200
    streams = [Stream(changing, 80) for _ in range(16)]
    wait_for(lambda: sum(worker["streams"] for worker in workers(changing)) > len(streams) // 2)
    applied = put(changing, without_second(text), version)
    assert (applied.status_code, applied.json()["version"]) == (200, version + 1)
    assert [(change["key"], change["effect"]) for change in applied.json()["changes"]] == [("clients.second", "ends")]
    assert put(changing, text, version).status_code == 412
    wait_for(lambda: in_force(changing, version + 1))
    assert status_with(changing, OTHER_KEY) == 401
    assert status_with(changing, KEY) == 200
    assert changing.config.read_text() == without_second(text)
    assert Path(applied.json()["previous"]).read_text() == text
    again = changing.api("POST", "/api/config/rollback")
    assert again.json()["version"] == version + 2
    wait_for(lambda: in_force(changing, version + 2))
    assert status_with(changing, OTHER_KEY) == 200
    assert changing.config.read_text() == text
    for stream in streams:
        stream.join(20)
    assert all(stream.whole for stream in streams)
    assert version_of(changing) == version + 2, "what was written was not loaded once more"
    assert "clients.second removed" in act(changing, "admin.config.apply")["rule"]
    assert "clients.second added" in act(changing, "admin.config.rollback")["rule"]
    assert changing.record(lambda r: r["reason"] == "other_version")["decision"] == "refused"
    sources = [entry["source"] for entry in changing.api("GET", "/api/config/history").json()["versions"]]
    assert sources[:2] == ["rollback", "api"]


def test_what_is_wrong_is_told_and_changes_nothing(changing: Gateway) -> None:
    text, version = text_of(changing), version_of(changing)
    bad = text.replace('credential = "gateway"', 'credential = "none"').replace("workers = 2", "workers = 1")
    answer = put(changing, bad, version)
    assert answer.status_code == 422
    assert [problem["key"] for problem in answer.json()["problems"]] == [
        "backends[0].credential",
        "backends[1].credential",
    ]
    assert all(problem["file"] == str(changing.config) and problem["remedy"] for problem in answer.json()["problems"])
    fixed = put(changing, text.replace("workers = 2", "workers = 1"), version)
    assert [problem["key"] for problem in fixed.json()["problems"]] == ["listen.workers"]
    assert (version_of(changing), changing.config.read_text()) == (version, text)
    assert split(changing.raw(ask(1)))[0] == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(changing: Gateway, name: str) -> None:
    content, status, found = HOSTILE[name]
    answer = send(changing, "POST", "/api/config/check", content)
    assert answer.status_code == status
    problems: list[dict[str, Any]] = answer.json()["problems"]
    assert any(found in problem["found"] for problem in problems)
    assert len(problems) <= 101
    assert "Traceback" not in changing.log


def test_commands(changing: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A candidate beside the file, as people have it: reviewed, applied, and taken back."""
    text, version = text_of(changing), version_of(changing)
    config, candidate = changing.config, changing.folder / "candidate.toml"

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = run("check", "--config", config, "--against-running")
    assert (code, out.splitlines()[-1]) == (0, f"no difference from version {version}, which is in force")
    candidate.write_text(without_second(text))
    code, out, _ = run("check", "--config", candidate, "--against-running")
    assert code == 0
    assert "  clients.second removed: { name = " in out
    assert "\n    ends: whatever it asks is refused from the next request on" in out
    candidate.write_text(text.replace("workers = 2", "workers = 1"))
    code, out, _ = run("check", "--config", candidate, "--against-running")
    assert code == 1
    assert "  listen.workers: 2 → 1\n    restart: " in out
    code, out, _ = run("check", "--config", candidate, "--against-running", "--json")
    assert (code, json.loads(out)["restart"]) == (1, True)
    code, _, err = run("config", "apply", candidate, "--config", config)
    assert code == 1
    assert "listen.workers: changed; restart the gateway" in err
    assert "the gateway refuses this; nothing has changed" in err
    candidate.write_text(without_second(text))
    code, out, _ = run("config", "apply", candidate, "--config", config)
    assert (code, out.splitlines()[0].startswith(f"version {version + 1} is in force")) == (0, True)
    assert config.read_text() == without_second(text)
    code, out, _ = run("config", "rollback", "--config", config, "--json")
    assert json.loads(out)["version"] == version + 2
    assert config.read_text() == text
    code, out, _ = run("config", "history", "--config", config)
    assert out.splitlines()[1].startswith(f"{version + 2}* ")
    assert " rollback " in out.splitlines()[1]
    assert "Traceback" not in changing.log


def test_commands_without_a_gateway(
    tmp_path: Path, pki: Pki, mock: MockProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "penstock.toml"
    config.write_text(config_text(pki, mock))
    assert main(["check", "--config", str(config), "--against-running"]) == 1
    assert "admin.token" in capsys.readouterr().err
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").write_text("t" * 40)
    (tmp_path / "state" / "admin.token").chmod(0o600)
    assert main(["config", "history", "--config", str(config)]) == 1
    assert "is it running?" in capsys.readouterr().err


def test_a_restart_serves_what_was_applied(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock).replace("workers = 2", "workers = 1")
    with gateway(tmp_path, pki, mock, text) as running:
        assert put(running, without_second(text), version_of(running)).json()["version"] == 2
    applied = running.config.read_text()
    assert applied == without_second(text)
    with gateway(tmp_path, pki, mock, applied) as running:
        assert version_of(running) == 2
        assert status_with(running, OTHER_KEY) == 401
        assert running.api("POST", "/api/config/rollback").json()["version"] == 3
        wait_for(lambda: in_force(running, 3))
        assert status_with(running, OTHER_KEY) == 200
