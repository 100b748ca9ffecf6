"""The audit trail of a running gateway: chained, proven whole over crashes, and true to who asked for what."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, split
from tests.supervisor.receiver import Receiver, receiver

Ended = subprocess.CompletedProcess[str]


def penstock(*arguments: object) -> Ended:
    command = [sys.executable, "-m", "proxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def verified(running: Gateway, *more: str) -> Ended:
    return penstock("audit", "verify", "--config", running.config, *more)


def load(running: Gateway, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            running.raw(ask(1))
        except OSError:
            return


def test_the_log_is_proven_whole_while_it_is_written_and_after_the_supervisor_was_killed(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    text = config_text(pki, mock, more='[audit]\nrotate_at = "8KiB"')
    stop = threading.Event()
    with gateway(tmp_path, pki, mock, text) as running:
        threads = [threading.Thread(target=load, args=(running, stop)) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(list((tmp_path / "log").glob("audit-*.jsonl"))) >= 2)
        ended = verified(running)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith("whole: ")
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        stop.set()
        for thread in threads:
            thread.join()
        assert verified(running).returncode == 0
    with gateway(tmp_path, pki, mock, text) as running:
        assert split(running.raw(ask(1)))[0] == 200
        report = wait_for(lambda: _whole(running))
        files = [*(tmp_path / "log").iterdir()]
        assert report["records"] == sum(len(file.read_bytes().splitlines()) for file in files)
        assert "tampered" not in running.log
        key = tmp_path / "state" / "audit.key"
        assert key.stat().st_mode & 0o077 == 0
        assert key.read_text().strip() not in running.log
        _tampering_shows(tmp_path, running)


def _whole(running: Gateway) -> dict[str, Any] | None:
    ended = verified(running, "--json")
    report: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == 0, report
    return report if report["last"] == running.records()[-1]["seq"] else None


def _tampering_shows(folder: Path, running: Gateway) -> None:
    oldest = min((folder / "log").glob("audit-*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))
    content = oldest.read_text()
    oldest.write_text(content.replace('"client":"first"', '"client":"other"', 1))
    ended = verified(running)
    assert ended.returncode == 1
    assert ended.stderr == f"{oldest}:1: the record was changed: its hash does not fit\n"
    assert ended.stdout.startswith("NOT WHOLE: ")
    oldest.write_text(content)
    places = ("--log", folder / "log" / "audit.jsonl", "--checkpoint", folder / "state" / "audit.checkpoint")
    assert penstock("audit", "verify", *places, "--key", folder / "state" / "audit.key").returncode == 0
    ended = penstock("audit", "verify", *places, "--key", folder / "state" / "admin.token")
    assert ended.returncode == 2
    assert "the key fits neither" in ended.stderr
    assert penstock("audit", "verify", *places).returncode == 2


@contextlib.contextmanager
def no_room_to_write(running: Gateway) -> Iterator[None]:
    """The audit log can grow no further: a disk that is full, but for the name of the error."""
    pid = running.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, ((running.folder / "log" / "audit.jsonl").stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_with_required_a_request_that_cannot_be_recorded_is_refused(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    with gateway(tmp_path, pki, mock, config_text(pki, mock, more="[audit]\nrequired = true")) as running:
        log = tmp_path / "log" / "audit.jsonl"
        assert split(running.raw(ask(1)))[0] == 200
        running.record(lambda r: r["status"] == 200)
        assert log.stat().st_blocks * 512 > 10 << 20, "room is held ahead"
        with no_room_to_write(running):
            assert split(running.raw(ask(1)))[0] in (200, 503), "it had room when it began"
            head = wait_for(lambda: _refused(running))
            assert b"retry-after: 1\r\n" in head
            before = len(mock.received())
            assert split(running.raw(ask(1)))[0] == 503
            assert len(mock.received()) == before, "refused before anything was forwarded"
            assert running.log.count("the audit log cannot be written") == 1
        wait_for(lambda: split(running.raw(ask(1)))[0] == 200)
        assert running.record(lambda r: r["reason"] == "audit_unavailable")["rule"] == "audit.required"
        wait_for(lambda: "the audit log is written again" in running.log)
        ended = verified(running)
        assert ended.returncode == 0, ended


def _refused(running: Gateway) -> bytes | None:
    status, head, _ = split(running.raw(ask(1)))
    return head if status == 503 else None


def test_without_required_requests_go_on_and_are_recorded_later(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with gateway(tmp_path, pki, mock) as running:
        assert split(running.raw(ask(1)))[0] == 200
        running.record(lambda r: r["status"] == 200)
        with no_room_to_write(running):
            for _ in range(5):
                assert split(running.raw(ask(1)))[0] == 200
            wait_for(lambda: "the audit log cannot be written" in running.log)
            wait_for(lambda: "penstock_audit_failures_total" in running.api("GET", "/metrics").text)
            assert len(running.records()) == 1
        wait_for(lambda: len(running.records()) == 6 or None)
        assert verified(running).returncode == 0


def test_guessing_is_slowed_down_and_who_shares_the_address_is_not(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock).replace("workers = 2", "workers = 1").replace('failure_delay = "0s"', "")
    with gateway(tmp_path, pki, mock, text) as running, running.client() as honest, running.client("wrong") as guesser:
        chat = {"model": "gpt-4o", "messages": [], "max_tokens": 1}
        path = "/openai/v1/chat/completions"
        found = [guesser.post(path, json=chat) for _ in range(14)]
        assert {answer.status_code for answer in found} == {401}
        slow = threading.Thread(target=guesser.post, args=(path,), kwargs={"json": chat})
        slow.start()
        assert honest.post(path, json=chat).status_code == 200
        slow.join()
        wait_for(lambda: len(running.records()) == 16 or None)
        refused = [record["duration_ms"] for record in running.records() if record["status"] == 401]
        assert refused[-1] >= 100
        shown = wait_for(lambda: _told(running, "authentication_delays_total"))
        assert 'penstock_authentication_failures_total{reason="unknown_key"} 15\n' in shown
        assert 1 <= int(shown.partition("\npenstock_authentication_delays_total ")[2].partition("\n")[0]) <= 5


def _told(running: Gateway, metric: str) -> str | None:
    text = running.api("GET", "/metrics").text
    return text if metric in text and 'unknown_key"} 15' in text else None


def test_a_webhook_hears_what_happens(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with receiver() as hook:
        text = config_text(pki, mock, more=f'[audit]\nwebhook = "{hook.url}/hunter2"')
        with gateway(tmp_path, pki, mock, text) as running:
            os.kill(wait_for(lambda: running.api("GET", "/api/status").json()["workers"])[0]["pid"], signal.SIGKILL)
            lost = wait_for(lambda: _posted(hook, "worker_lost"))
            assert (lost["severity"], lost["facts"]["worker"]) == ("error", 0)
            running.process.send_signal(signal.SIGHUP)
            assert wait_for(lambda: _posted(hook, "configuration_reloaded"))["facts"] == {
                "version": 2,
                "source": "file",
            }
            running.config.write_text(text + "[nonsense]\n")
            assert "nonsense" in wait_for(lambda: _posted(hook, "configuration_refused"))["message"]
            mock.fault("error", instance="swc", status=403, code="403", times=1)
            running.raw(ask(1))
            opened = wait_for(lambda: _posted(hook, "breaker_opened"))
            assert opened["facts"] == {"backend": "swc", "deployment": "gpt-4o", "reason": "misconfigured"}
            with no_room_to_write(running):
                running.raw(ask(1))
                assert wait_for(lambda: _posted(hook, "audit_log"))["severity"] == "error"
            assert "hunter2" not in running.log
            assert "penstock_events_dropped_total 0\n" in running.api("GET", "/metrics").text
    mock.clear()


def _posted(hook: Receiver, kind: str) -> dict[str, Any] | None:
    return next((body for body in hook.bodies if body["kind"] == kind), None)
