"""Keys and mixtures of credentials that are no good, through the real listener: refused, recorded by rule, in peace."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from proxy.config.load import parse
from proxy.identity import key as form
from proxy.supervisor.store.keys import KeyStore
from tests.e2e.gateway import KEY, Gateway, config_text, gateway, hashed, wait_for
from tests.e2e.test_failures import newest, split
from tests.e2e.test_hostile import CHAT, request
from tests.e2e.test_life import serving

CLIENTS = """
[[clients]]
name = "turbine"
tenant = "power"
keys = true
[[clients.grants]]
models = ["*"]
operations = ["*"]
[[clients]]
name = "meter"
keys = true
[[clients.grants]]
models = ["*"]
operations = ["*"]
[[clients]]
name = "leaving"
keys = true
"""


def issued(running: Gateway, client: str, **more: str) -> tuple[str, str]:
    """A new key and its id."""
    response = running.api("POST", "/api/keys", json={"client": client, **more})
    assert response.status_code == 201, response.text
    return response.json()["key"], response.json()["issued"]["id"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("keyed"), pki, mock, config_text(pki, mock, clients=CLIENTS)) as running:
        yield running


@pytest.fixture(scope="module")
def words(keyed: Gateway) -> dict[str, str]:
    """Every kind of key and what is near to one, by a word for it."""
    live, live_id = issued(keyed, "turbine")
    second, second_id = issued(keyed, "turbine", expires="1d")
    others, _ = issued(keyed, "meter")
    revoked, revoked_id = issued(keyed, "meter")
    keyed.api("POST", f"/api/keys/{revoked_id}/revoke").raise_for_status()
    store = KeyStore.open(parse(keyed.config).state, clock=lambda: time.time() - 100)
    expired = store.issue("meter", lifetime=50)
    store.close()
    leaving, leaving_id = issued(keyed, "leaving")
    keyed.config.write_text(keyed.config.read_text().replace('name = "leaving"\nkeys', 'name = "stays"\nkeys'))
    assert keyed.api("POST", "/api/reload").json()["ok"]
    unknown = form.make(b"\x07" * 32)
    wait_for(lambda: _status(keyed, expired.key) == 401 and "expired_key" in _reasons(keyed))
    return {
        "live": live, "live id": live_id, "second": second, "second id": second_id, "others": others,
        "revoked": revoked, "revoked id": revoked_id, "expired": expired.key, "expired id": expired.row.id,
        "leaving": leaving, "leaving id": leaving_id, "unknown": unknown, "in the configuration": KEY,
        "wrong checksum": live[:-1] + ("a" if live[-1] != "a" else "b"), "cut short": live[:-1],
        "drawn out": live + "0", "other case": live[:9] + live[9:].swapcase(), "prefix": "penstock_",
        "upper prefix": live.replace("penstock_", "Penstock_"), "quoted": f'"{live}"',
        "base64": base64.b64encode(live.encode()).decode(), "digest": hashed(live),
        "encoded": live.replace("_", "%5F"), "huge": "penstock_" + "x" * 60_000, "too huge": "x" * 70_000,
        "statement": "' OR '1'='1' --", "pattern": "penstock_%", "in two": live[:30] + " " + live[30:],
        "tab": live[:30] + "\t" + live[30:], "accents": "penstock_schlüssel", "list": f"{live},{live}",
        "basic": base64.b64encode(f"turbine:{live}".encode()).decode(),
    }  # fmt: skip


def _status(running: Gateway, key: str) -> int:
    return split(running.raw(request(b"Connection: close", key=key.encode())))[0]


def _reasons(running: Gateway) -> set[str]:
    return {record["reason"] for record in running.records()}


BEARER, API_KEY, OCP = "authorization: Bearer ", "api-key: ", "ocp-apim-subscription-key: "
# Headers with {words} in them; the status; the record's reason and rule, or its client and fingerprint.
ROWS: list[tuple[list[str], int, str]] = [
    ([API_KEY + "{live}"], 200, "turbine {live id}"),
    ([BEARER + "{live}"], 200, "turbine {live id}"),
    ([OCP + "{live}"], 200, "turbine {live id}"),
    ([API_KEY + "{second}"], 200, "turbine {second id}"),
    ([API_KEY + "{live}", BEARER + "{live}", OCP + "{live}"], 200, "turbine {live id}"),
    ([API_KEY + "{live}", BEARER + "{second}"], 200, "turbine {live id}"),
    ([API_KEY + "   {live}  "], 200, "turbine {live id}"),
    ([API_KEY + "{in the configuration}"], 200, "first sha256:"),
    ([API_KEY + "{wrong checksum}"], 401, "unknown_key key_checksum"),
    ([BEARER + "{wrong checksum}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{cut short}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{drawn out}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{other case}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{prefix}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{pattern}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{huge}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{in two}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{tab}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{accents}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{list}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{encoded}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{upper prefix}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{quoted}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{base64}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{unknown}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{live id}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{digest}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{statement}"], 401, "unknown_key sha256:"),
    ([API_KEY], 401, "unknown_key sha256:"),
    ([API_KEY + "Bearer {live}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{too huge}"], 431, "headers_too_large"),
    ([API_KEY + "{revoked}"], 401, "revoked_key {revoked id}"),
    ([BEARER + "{revoked}"], 401, "revoked_key {revoked id}"),
    ([API_KEY + "{expired}"], 401, "expired_key {expired id}"),
    ([API_KEY + "{leaving}"], 401, "unknown_key {leaving id}: its client takes no keys"),
    ([API_KEY + "{live}", BEARER + "{others}"], 401, "credentials_disagree key and key of different clients"),
    ([OCP + "{live}", API_KEY + "{others}"], 401, "credentials_disagree key and key of different clients"),
    ([API_KEY + "{live}", OCP + "{in the configuration}"], 401, "credentials_disagree"),
    ([API_KEY + "{live}", BEARER + "{revoked}"], 401, "revoked_key {revoked id}"),
    ([API_KEY + "{revoked}", BEARER + "{live}"], 401, "revoked_key {revoked id}"),
    ([API_KEY + "{live}", BEARER + "{unknown}"], 401, "unknown_key sha256:"),
    ([API_KEY + "{live}", OCP + "{wrong checksum}"], 401, "unknown_key key_checksum"),
    ([API_KEY + "{live}", OCP], 401, "unknown_key sha256:"),
    ([API_KEY + "{live}", BEARER + "eyJhbGciOiJub25lIn0.e30."], 401, "invalid_token"),
    ([API_KEY + "{live}", API_KEY + "{live}"], 400, "duplicate_credential"),
    ([BEARER + "{live}", BEARER + "{others}"], 400, "duplicate_credential"),
    ([BEARER + "{in two}"], 401, "unsupported_credential"),
    ([BEARER.strip() + "{live}"], 401, "unsupported_credential"),
    (["authorization: Basic {basic}"], 401, "unsupported_credential"),
    (["authorization: {live}"], 401, "unsupported_credential"),
    (["authorization: ApiKey {live}"], 401, "unsupported_credential"),
    (["cookie: api-key={live}"], 401, "no_credential"),
    (["x-api-key: {live}"], 401, "no_credential"),
    (["api_key: {live}"], 401, "no_credential"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "status", "says"), ROWS, ids=[f"{' '.join(row[0])} {row[1]}" for row in ROWS])
def test_keys(
    keyed: Gateway, words: dict[str, str], mock: MockProcess, headers: list[str], status: int, says: str
) -> None:
    mock.forget()
    lines = [line.format_map(words).encode() for line in headers]
    answer = keyed.raw(request(b"Connection: close", *lines, key=None))
    found, head, body = split(answer)
    assert found == status
    if status == 401:
        assert b"www-authenticate: " in head
        assert json.loads(body)["error"]["code"] == "401"
    record = newest(keyed, head)
    if status == 200:
        assert f"{record['client']} {record['credential']['fingerprint']}".startswith(says.format_map(words))
        assert record["credential"]["kind"] == "key"
    else:
        assert f"{record['reason']} {record['rule']}".startswith(says.format_map(words))
        assert (record["decision"], record["client"]) == ("refused", None)
        assert mock.received() == []
    for word in ("live", "second", "others", "revoked", "expired", "leaving", "unknown", "in the configuration"):
        assert words[word].encode() not in answer + json.dumps(record).encode()


@pytest.mark.parametrize("name", ["api-key", "subscription-key", "Api-Key", "api%2Dkey", "access_token"])
def test_a_key_in_the_query_is_refused_and_scrubbed(keyed: Gateway, words: dict[str, str], name: str) -> None:
    target = CHAT + f"?{name}={words['live']}".encode()
    status, head, _ = split(keyed.raw(request(b"Connection: close", target=target, key=words["live"].encode())))
    assert status == 400
    record = newest(keyed, head)
    assert record["reason"] in ("credential_in_query", "bad_target")
    assert words["live"] not in json.dumps(record)


@pytest.mark.parametrize(
    ("certificate", "key", "status", "says"),
    [
        ("turbine-7", "live", 401, "credentials_disagree"),
        ("turbine-7", "in the configuration", 200, "first"),
        ("turbine-7", "revoked", 401, "revoked_key {revoked id}"),
        ("turbine-7", "wrong checksum", 401, "unknown_key key_checksum"),
        ("billing", "live", 200, "turbine {live id}"),
        ("billing", "expired", 401, "expired_key {expired id}"),
    ],
)
def test_a_key_beside_a_certificate(
    keyed: Gateway, words: dict[str, str], certificate: str, key: str, status: int, says: str
) -> None:
    data = request(b"Connection: close", key=words[key].encode())
    found, head, _ = split(keyed.raw(data, certificate))
    assert found == status
    record = newest(keyed, head)
    shown = (
        (record["client"], record["credential"]["fingerprint"]) if status == 200 else (record["reason"], record["rule"])
    )
    assert " ".join(map(str, shown)).startswith(says.format_map(words))


def test_nothing_shows_a_key(keyed: Gateway, words: dict[str, str]) -> None:
    shown = keyed.log + keyed.api("GET", "/api/keys").text + keyed.api("GET", "/api/status").text
    shown += keyed.api("GET", "/").text + keyed.api("GET", "/metrics").text + json.dumps(keyed.records())
    for file in (keyed.folder / "state").iterdir():
        if file.is_file():
            shown += file.read_bytes().decode("latin-1")
    for word in ("live", "second", "others", "revoked", "expired", "leaving"):
        assert words[word] not in shown
        assert words[word][9:40] not in shown
    assert f"key_issued: {words['live id']} of client turbine" in keyed.log
    assert f"key_revoked: {words['revoked id']} of client meter" in keyed.log
    assert words["live id"] in keyed.api("GET", "/").text


def test_a_worker_that_comes_later_knows_all_keys(keyed: Gateway, words: dict[str, str]) -> None:
    before = {worker["pid"] for worker in serving(keyed, 2) or []}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: before.isdisjoint({worker["pid"] for worker in serving(keyed, 2) or [{"pid": min(before)}]}))
    assert [_status(keyed, words[word]) for word in ("live", "second", "revoked", "expired")] == [200, 200, 401, 401]
