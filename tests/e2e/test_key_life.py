"""A key's life while the gateway serves: issued, used, rotated without an outage, revoked within a second."""

import contextlib
import math
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.config.load import parse
from proxy.supervisor.store.keys import KeyStore
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import split
from tests.e2e.test_hostile import BODY, request
from tests.e2e.test_keys import CLIENTS, issued
from tests.e2e.test_life import serving, workers

CLIENTS_EACH = 50
LONG, SHORT = 120, 6  # tokens of a stream, at 20 a second


def ask(running: Gateway, key: str) -> int:
    return split(running.raw(request(b"Connection: close", key=key.encode())))[0]


def penstock(running: Gateway, *arguments: str) -> str:
    """What a command says on standard output."""
    command = [sys.executable, "-m", "proxy", "keys", *arguments, "--config", str(running.config)]
    return subprocess.run(command, capture_output=True, timeout=60, check=True, text=True).stdout


class Client:
    """Streams one answer after another over one connection."""

    def __init__(self, running: Gateway, key: str, tokens: int) -> None:
        self._running = running
        self._request = request(key=key.encode(), body=BODY.replace(b'"gpt-4o"', b'"slow"').replace(
            b'"max_tokens":1', b'"max_tokens":%d,"stream":true' % tokens))  # fmt: skip
        self._stream: trio.SSLStream[trio.SocketStream]
        self.whole = 0
        self.last_accepted = -math.inf

    async def connect(self) -> None:
        plain = await trio.open_tcp_stream("127.0.0.1", self._running.port)
        self._stream = trio.SSLStream(plain, self._running.context(), server_hostname="localhost")
        await self._stream.do_handshake()

    async def leave(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def ask(self) -> int:
        """One request and all of its answer; the status."""
        began = time.monotonic()
        await self._stream.send_all(self._request)
        received = await self._stream.receive_some()
        status = int(received[9:12])
        accepted = status == 200
        if accepted:
            self.last_accepted = began
        while not received.endswith(b"[DONE]\n\n\r\n0\r\n\r\n" if accepted else b"}}"):
            part = await self._stream.receive_some()
            assert part, "cut short"
            received += part
        self.whole += accepted
        return status

    async def ask_once(self) -> None:
        await self.connect()
        await self.ask()

    async def ask_until_refused(self) -> None:
        await self.connect()
        while await self.ask() == 200:
            pass


async def test_a_key_is_revoked_while_a_hundred_clients_stream_over_two_workers(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    with gateway(tmp_path, pki, mock, config_text(pki, mock, clients=CLIENTS)) as running:
        wait_for(lambda: serving(running, 2))
        doomed_key, doomed_id = issued(running, "turbine")
        spared_key, _ = issued(running, "turbine")
        doomed = [Client(running, doomed_key, SHORT) for _ in range(CLIENTS_EACH)]
        spared = [Client(running, spared_key, LONG) for _ in range(CLIENTS_EACH)]
        store = KeyStore.open(parse(running.config).state)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for client in doomed:
                    nursery.start_soon(client.ask_until_refused)
                while not all(client.whole for client in doomed):
                    await trio.sleep(0.02)
                for client in spared:
                    nursery.start_soon(client.ask_once)
                while not all(client.last_accepted > 0 for client in spared):
                    await trio.sleep(0.02)
                await trio.to_thread.run_sync(wait_for, lambda: all(w["streams"] for w in workers(running)))
                await trio.to_thread.run_sync(store.revoke, doomed_id)  # as another process does
                revoked = time.monotonic()
                assert not all(client.whole for client in spared), "they stream all the while"
            for client in doomed + spared:
                await client.leave()
        store.close()
        assert max(client.last_accepted for client in doomed) - revoked < 1
        assert [client.whole for client in spared] == [1] * CLIENTS_EACH, "nobody else is disturbed"
        refused = wait_for(lambda: _refused(running, CLIENTS_EACH))
        assert {(record["reason"], record["rule"]) for record in refused} == {("revoked_key", doomed_id)}


def _refused(running: Gateway, count: int) -> list[dict[str, Any]] | None:
    found = [record for record in running.records() if record["status"] == 401]
    return found if len(found) == count else None


def test_a_rotation_without_an_outage(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    text = config_text(pki, mock, clients=CLIENTS)
    with gateway(tmp_path, pki, mock, text) as running:
        old = penstock(running, "issue", "--client", "turbine").strip()
        wait_for(lambda: ask(running, old) == 200)
        statuses: set[int] = set()
        current = [old]
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                statuses.add(ask(running, current[0]))

        client = threading.Thread(target=keep_asking)
        client.start()
        new = penstock(running, "rotate", "--client", "turbine").strip()
        wait_for(lambda: all(ask(running, new) == 200 for _ in range(8)))
        assert ask(running, old) == 200
        current[0] = new
        old_id, new_id = (key["id"] for key in running.api("GET", "/api/keys").json()["keys"])
        asked = time.time()
        penstock(running, "revoke", old_id)
        wait_for(lambda: ask(running, old) == 401)
        stop.set()
        client.join()
        assert statuses == {200}
        used = wait_for(lambda: _last_used(running, new_id))
        assert used > asked - 60
        running.config.write_text(text.replace('tenant = "power"\nkeys = true', 'tenant = "power"'))
        assert not running.api("POST", "/api/reload").json()["ok"], "it has no other credential"
        running.config.write_text(text.replace('name = "turbine"', 'name = "turbine-8"'))
        assert running.api("POST", "/api/reload").json()["ok"]
        wait_for(lambda: ask(running, new) == 401)
        assert [key["state"] for key in running.api("GET", "/api/keys").json()["keys"]] == ["revoked", "suspended"]
        running.config.write_text(text)
        assert running.api("POST", "/api/reload").json()["ok"]
        wait_for(lambda: ask(running, new) == 200)
    store = KeyStore.open(parse(running.config).state)
    assert next(row for row in store.all() if row.id == new_id).last_used is not None, "written down at the end"
    store.close()


def _last_used(running: Gateway, key_id: str) -> float | None:
    keys = running.api("GET", "/api/keys").json()["keys"]
    return next((key["last_used"] for key in keys if key["id"] == key_id), None)


def test_a_supervisor_that_is_killed_while_keys_change_leaves_a_good_store(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    text = config_text(pki, mock, clients=CLIENTS).replace("workers = 2", "workers = 1")
    acknowledged: list[str] = []
    with gateway(tmp_path, pki, mock, text) as running:
        done = threading.Semaphore(0)
        changing = threading.Thread(target=_change_for_ever, args=(running, acknowledged, done))
        changing.start()
        for _ in range(12):
            assert done.acquire(timeout=30)
        running.process.kill()
        running.process.wait()
        changing.join()
    database = sqlite3.connect(tmp_path / "state" / "penstock.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    store = KeyStore.open(parse(running.config).state)
    revoked = {row.id for row in store.all() if row.revoked is not None}
    assert len(acknowledged) >= 12
    assert revoked.issuperset(acknowledged)
    store.close()


def _change_for_ever(running: Gateway, acknowledged: list[str], done: threading.Semaphore) -> None:
    with contextlib.suppress(httpx.TransportError, ssl.SSLError):
        while True:
            _, key_id = issued(running, "turbine")
            running.api("POST", f"/api/keys/{key_id}/revoke").raise_for_status()
            acknowledged.append(key_id)
            done.release()


def test_the_gateway_does_not_start_without_the_pepper_of_its_keys(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    config = tmp_path / "penstock.toml"
    config.write_text(config_text(pki, mock, clients=CLIENTS))
    KeyStore.open(parse(config).state).close()
    pepper = tmp_path / "state" / "pepper"
    pepper.unlink()
    ended = subprocess.run(
        [sys.executable, "-m", "proxy", "serve", "--config", str(config)], capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert b"is gone; put it back" in ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert not pepper.exists()
