"""Backends while the gateway runs: seen as they are, drained without an error, weighed and set aside by hand."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, free_port, gateway, wait_for
from tests.e2e.test_failures import ask, split
from tests.e2e.test_life import serving, workers


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    """A gateway whose two backends have one priority."""
    mock.clear()
    text = config_text(pki, mock).replace("priority = 1", "priority = 0")
    with gateway(tmp_path_factory.mktemp("backends"), pki, mock, text) as made:
        yield made


@pytest.fixture(autouse=True)
def as_before(running: Gateway, mock: MockProcess) -> Iterator[None]:
    yield
    mock.clear()
    for backend in ("swc", "frc"):
        act(running, backend, "undrain")
        act(running, backend, "breaker", state="closed")
        act(running, backend, "weight", deployment="gpt-4o", weight=None)


def act(running: Gateway, backend: str, action: str, **wanted: Any) -> httpx.Response:
    response = running.api("POST", f"/api/backends/{backend}/{action}", json=wanted)
    assert response.status_code == 200, response.text
    return response


def deployment(running: Gateway, backend: str, name: str = "gpt-4o") -> dict[str, Any]:
    every: list[dict[str, Any]] = running.api("GET", "/api/backends").json()["deployments"]
    return next(each for each in every if (each["backend"], each["deployment"]) == (backend, name))


def answered_by(running: Gateway, model: str = "gpt-4o") -> str:
    status, head, _ = split(running.raw(ask(1, model)))
    assert status == 200
    return head.partition(b"x-penstock-backend: ")[2].partition(b"\r\n")[0].decode()


def only(running: Gateway, backend: str) -> bool:
    """Whether nobody else answers, once all workers have heard what was set."""
    return wait_for(lambda: {answered_by(running) for _ in range(10)} == {backend}, within=60)


class Load:
    """Asks all the time until told to stop; `seen` are the answers: status, and who gave it."""

    def __init__(self, running: Gateway, threads: int = 3) -> None:
        self.seen: list[tuple[int, str]] = []
        self._running = running
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        with self._running.client() as client:
            while not self._stop.is_set():
                answer = client.post("/openai/v1/chat/completions", json=body)
                self.seen.append((answer.status_code, answer.headers.get("x-penstock-backend", "")))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> list[tuple[int, str]]:
        """So many further answers."""
        since = len(self.seen)
        wait_for(lambda: len(self.seen) >= since + count, within=60)
        return self.seen[since:]

    def backends(self, count: int) -> set[str]:
        return {backend for _, backend in self.more(count)}


def test_a_backend_is_drained_under_load_and_nobody_notices(running: Gateway) -> None:
    with Load(running) as load:
        wait_for(lambda: load.backends(8) == {"swc", "frc"}, within=60)
        told = act(running, "swc", "drain").json()["deployments"]
        assert {each["drained"] for each in told} <= {"draining", "drained"}
        load.more(6)  # what was under way has ended
        assert load.backends(40) == {"frc"}
        wait_for(lambda: deployment(running, "swc")["drained"] == "drained")
        assert deployment(running, "frc")["drained"] is None
        act(running, "swc", "undrain")
        wait_for(lambda: "swc" in load.backends(8), within=60)
    assert {status for status, _ in load.seen} == {200}


def test_what_a_deployment_does_is_seen(running: Gateway, mock: MockProcess) -> None:
    mock.fault("error", instance="swc", status=500)
    act(running, "frc", "drain")
    running.raw(ask(3))
    seen = wait_for(lambda: (d := deployment(running, "swc"))["errors"] and d)
    assert (seen["errors"][0]["text"], seen["error_share"] > 0) == ("backend_error", True)
    mock.clear()
    act(running, "swc", "breaker", state="closed")
    for _ in range(3):
        assert answered_by(running) == "swc"
    seen = wait_for(lambda: (d := deployment(running, "swc"))["first_byte"] and d["tokens_per_minute"] and d)
    assert 0 < seen["first_byte"]["p50"] <= seen["first_byte"]["p99"]
    assert seen["in_flight"] == 0
    metrics = running.api("GET", "/metrics").text
    assert 'penstock_backend_drained{backend="frc",deployment="gpt-4o"} 1' in metrics
    assert 'penstock_backend_in_flight{backend="swc",deployment="gpt-4o"} 0' in metrics


def test_a_weight_of_nothing_and_back(running: Gateway) -> None:
    told = act(running, "swc", "weight", deployment="gpt-4o", weight=0).json()["deployments"]
    assert [(each["deployment"], each["weight"], each["weights"]) for each in told] == [("gpt-4o", 0, {"gpt-4o": 1})]
    assert only(running, "frc")
    assert deployment(running, "swc", "slow")["weight_set"] is False, "the others are as they were"
    act(running, "swc", "weight", deployment="gpt-4o", weight=5, over="1s")
    assert deployment(running, "swc")["weight_goal"] == 5
    wait_for(lambda: deployment(running, "swc")["weight_goal"] is None)
    assert deployment(running, "swc")["weight"] == 5
    wait_for(lambda: answered_by(running) == "swc", within=60)


def test_a_backend_is_set_aside_by_hand_and_taken_back(running: Gateway) -> None:
    told = act(running, "swc", "breaker", state="open", **{"for": "10m"}).json()["deployments"]
    assert {(each["state"], each["reason"], each["held"]) for each in told} == {("open", "by_hand", True)}
    assert only(running, "frc")
    act(running, "frc", "drain")
    wait_for(lambda: httpx.get(running.health + "/readyz").status_code == 503)
    act(running, "swc", "breaker", state="closed", deployment="gpt-4o")
    wait_for(lambda: split(running.raw(ask(1)))[0] == 200)
    assert answered_by(running) == "swc"
    assert deployment(running, "swc")["held"] is False
    assert deployment(running, "swc", "slow")["held"] is True, "only one was closed"
    assert httpx.get(running.health + "/readyz").status_code == 200


def test_all_drained_is_an_honest_503(running: Gateway) -> None:
    act(running, "swc", "drain")
    act(running, "frc", "drain")
    wait_for(lambda: split(running.raw(ask(1)))[0] != 200)
    status, head, _ = split(running.raw(ask(1)))
    assert (status, b"retry-after: " in head) == (503, True)


def test_what_is_set_outlives_workers_and_reloads(running: Gateway) -> None:
    act(running, "swc", "drain")
    for pid in [worker["pid"] for worker in workers(running)]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(worker["restarts"] for worker in workers(running)) and serving(running, 2), within=60)
    assert only(running, "frc")
    assert running.api("POST", "/api/reload").json()["ok"]
    assert only(running, "frc")
    assert deployment(running, "swc")["drained"] == "drained"


def test_it_is_explained(running: Gateway) -> None:
    act(running, "swc", "drain")
    question = {"client": "first", "target": "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"}
    told = running.api("POST", "/api/explain", json=question).json()
    by_backend = {each["backend"]: each for each in told["backends"]}
    assert (by_backend["swc"]["turn"], by_backend["frc"]["turn"]) == (None, 1)
    assert "somebody has drained it" in by_backend["swc"]["why"]
    assert "in flight" in by_backend["frc"]["why"]


@pytest.mark.parametrize(
    ("backend", "action", "wanted", "expected"),
    [
        ("nowhere", "drain", {}, (404, "UnknownBackend")),
        ("swc", "drain", {"deployment": "gpt-9"}, (404, "UnknownDeployment")),
        ("swc", "breaker", {"state": "open", "for": "0s"}, (400, "BadRequest")),
        ("swc", "breaker", {"state": "open", "for": "soon"}, (400, "BadRequest")),
        ("swc", "breaker", {"state": "open", "for": "8d"}, (400, "BadRequest")),
        ("swc", "weight", {"deployment": "gpt-4o", "weight": -1}, (400, "BadRequest")),
        ("swc", "weight", {"deployment": "gpt-4o", "weight": 2_000_000}, (400, "BadRequest")),
        ("swc", "weight", {"deployment": "gpt-9", "weight": 1}, (404, "UnknownDeployment")),
    ],
)
def test_what_cannot_be_done_is_refused_and_recorded(
    running: Gateway, backend: str, action: str, wanted: dict[str, Any], expected: tuple[int, str]
) -> None:
    response = running.api("POST", f"/api/backends/{backend}/{action}", json=wanted)
    assert (response.status_code, response.json()["error"]["code"]) == expected
    message = response.json()["error"]["message"]
    record = running.record(lambda r: r["source"] == "admin" and r["rule"] == message)
    assert (record["decision"], record["status"], record["end"]) == ("refused", expected[0], "refused")
    assert record["operation"].startswith("admin.backends.")


def test_what_is_done_is_in_the_audit_log_which_stays_whole(running: Gateway) -> None:
    act(running, "swc", "drain", deployment="gpt-4o")
    record = running.record(lambda r: r["operation"] == "admin.backends.drain" and r["deployment"] == "gpt-4o")
    assert record["rule"] == "swc/gpt-4o drained: nothing new is sent there"
    assert (record["client"], record["source"], record["decision"], record["status"]) == (None, "admin", "allowed", 200)
    assert (record["backend"], record["reason"], record["end"]) == ("swc", None, "complete")
    assert running.api("POST", "/api/reload").json()["ok"]
    assert running.record(lambda r: r["operation"] == "admin.reload")["rule"].endswith("is in force")
    unknown = running.api("POST", "/api/keys/key-unknown/revoke")
    assert unknown.status_code == 404
    assert running.record(lambda r: r["operation"] == "admin.keys.revoke")["reason"] == "unknown_key"
    assert "backend_drained" in running.log
    verified = penstock(running, "audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def penstock(running: Gateway, *arguments: str, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "proxy", *arguments, "--config", str(config or running.config)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)


def test_the_table_is_printed_once_where_nobody_looks_on(running: Gateway) -> None:
    ended = penstock(running, "backends")
    assert (ended.returncode, ended.stderr) == (0, "")
    heading, *rows = ended.stdout.splitlines()
    assert heading.split()[:4] == ["BACKEND", "DEPLOYMENT", "REGION", "STATE"]
    assert rows[0].split()[:4] == ["swc", "gpt-4o", "swedencentral", "closed"]
    assert len(rows) == 10
    assert "\x1b" not in ended.stdout
    shown = json.loads(penstock(running, "backends", "--json").stdout)
    assert {each["backend"] for each in shown["deployments"]} == {"swc", "frc"}


def test_commands_drain_set_aside_and_weigh(running: Gateway) -> None:
    assert "swc/gpt-4o is drain" in penstock(running, "backends", "drain", "swc").stdout
    assert deployment(running, "swc")["drained"] is not None
    assert "drained" in penstock(running, "backends", "--once").stdout
    assert penstock(running, "backends", "undrain", "swc", "--deployment", "gpt-4o").stdout == (
        "swc/gpt-4o is used again\n"
    )
    assert deployment(running, "swc", "slow")["drained"] == "drained"
    assert "swc/gpt-4o is set aside until 2" in penstock(running, "backends", "open", "swc", "--for", "10m").stdout
    assert "no longer set aside" in penstock(running, "backends", "close", "swc").stdout
    ended = penstock(running, "backends", "weight", "frc", "gpt-4o", "4", "--over", "10m")
    assert ended.stdout == "frc/gpt-4o has the weight 1, on its way to 4\n"
    ended = penstock(running, "backends", "weight", "frc", "gpt-4o", "configured")
    assert ended.stdout == "frc/gpt-4o has the weight 1, as configured\n"
    ended = penstock(running, "backends", "drain", "nowhere")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "one of: frc, swc" in ended.stderr


def test_who_cannot_ask_is_told_why(running: Gateway, tmp_path: Path) -> None:
    text = running.config.read_text()
    config = tmp_path / "penstock.toml"
    config.write_text(text)
    ended = penstock(running, "backends", config=config)
    assert ended.returncode == 1
    assert "the admin token cannot be read" in ended.stderr
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").write_text("another-token-that-is-long-enough-0123456789")
    (tmp_path / "state" / "admin.token").chmod(0o600)
    ended = penstock(running, "backends", config=config)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"the gateway at {running.admin} refuses the token of ")
    config.write_text(text.replace(running.admin.removeprefix("http://"), f"127.0.0.1:{free_port()}"))
    ended = penstock(running, "backends", "drain", "swc", config=config)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("no gateway answers at http://127.0.0.1:")
    assert ended.stderr.count("\n") == 1


def test_on_a_terminal_the_table_lives_until_it_is_interrupted(running: Gateway) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "proxy", "backends", "--config", str(running.config)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen, interrupted = b"", False
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 65536):
            seen += part
            if seen.count(b"BACKEND") >= 3 and not interrupted:
                interrupted = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    assert process.wait(60) == 0
    assert seen.count(b"gpt-4o") >= 6
    assert b"Traceback" not in seen
    assert b"\x1b[32mclosed" in seen
