"""The processes: workers killed, a supervisor gone, drains, reloads, and records that outlive them all."""

import contextlib
import json
import os
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.mock import answers
from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, payload, split
from tests.e2e.test_hostile import request


class Stream(threading.Thread):
    """A client of a long stream, which keeps what it got."""

    def __init__(self, running: Gateway, tokens: int) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.tokens = tokens
        self.received = b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            self.received = self.running.raw(ask(self.tokens, "slow", stream=True))

    @property
    def whole(self) -> bool:
        text, complete = payload(self.received.partition(b"\r\n\r\n")[2])
        return complete and text.endswith(answers.DONE)


def workers(running: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.api("GET", "/api/status").json()["workers"]
    return found


def serving(running: Gateway, count: int) -> list[dict[str, Any]] | None:
    found = [worker for worker in workers(running) if worker["state"] == "serving"]
    return found if len(found) == count else None


def test_a_worker_that_is_killed(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with gateway(tmp_path, pki, mock) as running:
        wait_for(lambda: serving(running, 2))
        streams = [Stream(running, 60) for _ in range(16)]
        wait_for(lambda: sum(worker["streams"] for worker in workers(running)) == 16)
        loads = {worker["pid"]: worker["streams"] for worker in workers(running)}
        victim = max(loads, key=lambda pid: loads[pid])
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        slowest = 0.0
        for _ in range(30):
            began = time.monotonic()
            assert split(running.raw(ask(1)))[0] == 200
            slowest = max(slowest, time.monotonic() - began)
        wait_for(lambda: serving(running, 2))
        assert time.monotonic() - killed < 10
        for stream in streams:
            stream.join(20)
        assert sum(stream.whole for stream in streams) == 16 - loads[victim]
        records = wait_for(lambda: _ended(running, "worker_lost", loads[victim]))
        assert all(r["decision"] == "allowed" and r["client"] == "first" for r in records)
        assert all(r["tokens"]["estimated"] for r in records)
        every = running.records()
        numbers = [record["seq"] for record in every]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({record["request_id"] for record in every}) == len(numbers)
        assert slowest < 10


def _ended(running: Gateway, end: str, count: int) -> list[dict[str, Any]] | None:
    found = [record for record in running.records() if record["end"] == end]
    return found if len(found) == count else None


def test_a_drain_finishes_what_streams(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with gateway(tmp_path, pki, mock) as running:
        stream = Stream(running, 40)
        wait_for(lambda: any(worker["streams"] for worker in workers(running)))
        with running.connect() as idle:
            running.process.send_signal(signal.SIGTERM)
            idle.settimeout(10)
            assert idle.recv(100) == b"", "an idle connection is closed at once"
        stream.join(20)
        assert stream.whole
        assert running.process.wait(15) == 0
        assert [r["end"] for r in running.records()] == ["complete"]
        with pytest.raises(OSError):
            running.connect()


def test_a_drain_is_bounded(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock, listen='[listen.bounds]\ndrain = "300ms"')
    with gateway(tmp_path, pki, mock, text) as running:
        stream = Stream(running, 2000)
        wait_for(lambda: any(worker["streams"] for worker in workers(running)))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0
        stream.join(5)
        assert not stream.whole
        (record,) = running.records()
        assert record["end"] == "drained"


def test_a_supervisor_that_is_killed_takes_its_workers_along_after_a_drain(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    text = config_text(pki, mock)
    with gateway(tmp_path, pki, mock, text) as running:
        stream = Stream(running, 30)
        wait_for(lambda: any(worker["streams"] for worker in workers(running)))
        pids = [worker["pid"] for worker in workers(running)]
        running.process.kill()
        running.process.wait(5)
        stream.join(20)
        assert stream.whole, "what streamed was finished"
        wait_for(lambda: not any(_alive(pid) for pid in pids) or None)
        before = running.records()
    with gateway(tmp_path, pki, mock, text) as again:
        record = again.record(lambda r: r["model"] == "slow")
        assert record["end"] == "complete"
        assert len(again.records()) == len(before) + (0 if any(r["model"] == "slow" for r in before) else 1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", ["signal", "file", "api"])
def test_reload(tmp_path: Path, pki: Pki, mock: MockProcess, how: str) -> None:
    text = config_text(pki, mock)
    with gateway(tmp_path, pki, mock, text) as running, running.connect() as open_before:
        open_before.settimeout(15)
        stream = Stream(running, 40)
        wait_for(lambda: any(worker["streams"] for worker in workers(running)))
        changed = text.replace('models = ["*"]', 'models = ["slow"]')
        if how == "file":
            running.config.write_text(changed)
        else:
            stamp = running.config.stat()
            running.config.write_text(changed)
            os.utime(running.config, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            if how == "signal":
                running.process.send_signal(signal.SIGHUP)
            else:
                assert running.api("POST", "/api/reload").json()["ok"] is True
        wait_for(lambda: all(worker["version"] >= 2 for worker in workers(running)) or None)
        open_before.sendall(request())
        assert open_before.recv(4096).startswith(b"HTTP/1.1 403 "), "an open connection is under the new version"
        stream.join(20)
        assert stream.whole, "what streamed went on under the old one"


def test_a_bad_configuration_changes_nothing(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock)
    with gateway(tmp_path, pki, mock, text) as running:
        for bad, key in (
            (text.replace("workers = 2", "wrkers = 2"), "listen.wrkers"),
            (text.replace("workers = 2", "workers = 1"), "listen.workers"),
            (text.replace('credential = "gateway"', 'credential = "none"'), "backends[0].credential"),
            ("not toml at all [", "TOML"),
        ):
            running.config.write_text(bad)
            result = running.api("POST", "/api/reload").json()
            assert result["ok"] is False
            assert key in result["error"]
            assert split(running.raw(ask(1)))[0] == 200
        assert {worker["version"] for worker in workers(running)} == {1}


def test_limits_hold_over_both_workers(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock).replace(
        '[[clients]]\nname = "second"', '[clients.limits]\nrequests_per_minute = 20\n[[clients]]\nname = "second"'
    )
    with gateway(tmp_path, pki, mock, text) as running:
        wait_for(lambda: serving(running, 2))
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(split(running.raw(ask(1)))[0])) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert statuses.count(200) == 20
        assert statuses.count(429) == 30
        status, head, _ = split(running.raw(ask(1)))
        assert status == 429
        assert 50 < int(head.partition(b"retry-after: ")[2].partition(b"\r\n")[0]) <= 61
        wait_for(lambda: len(running.records()) == 51)
        assert {r["reason"] for r in running.records() if r["status"] == 429} == {"requests_per_minute"}


def test_concurrency_and_shedding(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock).replace(
        '[[clients]]\nname = "second"', '[clients.limits]\nconcurrent_requests = 3\n[[clients]]\nname = "second"'
    )
    with gateway(tmp_path, pki, mock, text) as running:
        streams = [Stream(running, 20) for _ in range(3)]
        wait_for(lambda: sum(worker["streams"] for worker in workers(running)) == 3)
        assert split(running.raw(ask(1)))[0] == 429
        for stream in streams:
            stream.join(20)
            assert stream.whole
        wait_for(lambda: split(running.raw(ask(1)))[0] == 200)


def test_past_the_bound_of_requests_it_sheds(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock, listen="[listen.bounds]\nrequests = 2").replace("workers = 2", "workers = 1")
    with gateway(tmp_path, pki, mock, text) as running:
        streams = [Stream(running, 20) for _ in range(2)]
        wait_for(lambda: sum(worker["streams"] for worker in workers(running)) == 2)
        status, head, body = split(running.raw(ask(1)))
        assert status == 503
        assert b"retry-after: 1\r\n" in head
        assert json.loads(body)["error"]["code"] == "ServiceUnavailable"
        assert running.record(lambda r: r["status"] == 503)["end"] == "shed"
        for stream in streams:
            stream.join(20)
            assert stream.whole, "what was admitted goes on undisturbed"


def test_timeouts(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    bounds = '[listen.bounds]\nhead = "300ms"\nbody_idle = "300ms"\nfirst_byte = "300ms"\nstream_idle = "300ms"\n'
    text = config_text(pki, mock, listen=bounds + 'handshake = "300ms"\nkeep_alive = "300ms"')
    with gateway(tmp_path, pki, mock, text) as running:
        with running.connect() as silent:
            silent.settimeout(10)
            assert silent.recv(100) == b""
        with running.connect() as half:
            half.sendall(b"POST / HTTP/1.1\r\n")
            half.settimeout(10)
            assert half.recv(1000).startswith(b"HTTP/1.1 408 ")
        with running.connect() as bodiless:
            bodiless.sendall(request()[:-5])
            bodiless.settimeout(10)
            assert bodiless.recv(1000).startswith(b"HTTP/1.1 408 ")
        mock.fault("hang", times=1)
        status, _, _ = split(running.raw(ask(3)))
        assert status == 504
        assert running.record(lambda r: r["status"] == 504)["end"] == "timeout"
        mock.fault("hang_stream", times=1)
        text_, complete = payload(split(running.raw(ask(3, stream=True)))[2])
        assert not complete
        assert b"BackendFailed" in text_
        assert running.record(lambda r: r["reason"] == "stream_idle")["end"] == "timeout"
        mock.clear()


def test_health_metrics_and_tokens(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with gateway(tmp_path, pki, mock) as running:
        split(running.raw(ask(3)))
        expected = (
            'penstock_tokens_total{client="first",tenant="power",model="gpt-4o",kind="completion",estimated="false"} 3'
        )
        wait_for(lambda: expected in running.api("GET", "/metrics").text)
        assert (running.folder / "state" / "admin.token").stat().st_mode & 0o077 == 0


def test_the_identity_endpoint_is_out(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    mock.identity_mode("down")
    text = config_text(pki, mock)
    try:
        with gateway(tmp_path, pki, mock, text, ready=False) as running:
            status, head, _ = split(running.raw(ask(1)))
            assert status == 503
            assert running.record(lambda r: r["status"] == 503)["reason"] == "credential_unavailable"
            mock.identity_mode("ok")
            wait_for(lambda: split(running.raw(ask(1)))[0] == 200)
            assert b"x-request-id" in head
            assert "mock-token" not in running.log
    finally:
        mock.identity_mode("ok")
