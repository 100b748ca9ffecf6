"""`penstock keys`: the key alone on standard output, one clear sentence for what cannot be, whatever else is wrong."""

import json
import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy import cli
from proxy.identity.key import is_whole

FORK = multiprocessing.get_context("fork")
# The certificate is not there: what has expired or gone must not keep anyone from revoking a key.
CONFIG = """
[listen]
certificate = "gone.pem"
[[clients]]
name = "turbine-7"
keys = true
[[clients]]
name = "meter"
keys = true
[[clients]]
name = "billing"
key_hashes = []
"""
Said = tuple[int, str, str]
Keys = Callable[..., Said]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def keys(config: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    def run(action: str, *arguments: str) -> Said:
        code = cli.main(["keys", action, "--config", str(config), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def listed(keys: Keys, *arguments: str) -> list[dict[str, object]]:
    code, out, err = keys("list", "--json", *arguments)
    assert (code, err) == (0, "")
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_a_key_is_shown_alone_and_once(keys: Keys, config: Path) -> None:
    code, out, err = keys("issue", "--client", "turbine-7", "--expires", "90d", "--note", "line 7")
    assert code == 0
    assert is_whole(out.strip().encode())
    assert out.count("\n") == 1
    (key,) = listed(keys)
    assert (key["client"], key["state"], key["note"], key["last_used"]) == ("turbine-7", "live", "line 7", None)
    assert err.startswith(f'{key["id"]} is issued to client "turbine-7" and expires 20')
    assert out.strip() not in err + keys("list")[1] + keys("list", "--json")[1]


def test_a_rotation_says_which_key_to_revoke_when(keys: Keys) -> None:
    keys("issue", "--client", "turbine-7")
    (first,) = listed(keys)
    code, out, err = keys("rotate", "--client", "turbine-7")
    assert (code, is_whole(out.strip().encode())) == (0, True)
    assert f"{first['id']} stays live; when nobody uses it any more: penstock keys revoke {first['id']}\n" in err
    assert keys("revoke", str(first["id"])) == (0, f'{first["id"]} of client "turbine-7" is revoked\n', "")
    assert keys("revoke", str(first["id"]))[0] == 0
    second = next(key for key in listed(keys) if key["state"] == "live")
    code, _, err = keys("rotate", "--client", "turbine-7", "--old-expires", "7d")
    assert code == 0
    assert f"{second['id']} ends 20" in err
    assert [key["state"] for key in listed(keys)] == ["revoked", "live", "live"]


def test_a_table_of_keys(keys: Keys) -> None:
    assert keys("list") == (0, "ID  CLIENT  STATE  CREATED  EXPIRES  LAST USED  NOTE\n", "")
    keys("issue", "--client", "turbine-7", "--note", "line 7")
    keys("issue", "--client", "meter")
    head, meter, turbine = keys("list")[1].splitlines()
    assert head.split() == ["ID", "CLIENT", "STATE", "CREATED", "EXPIRES", "LAST", "USED", "NOTE"]
    assert turbine.split()[1:3] == ["turbine-7", "live"]
    assert turbine.endswith("never    never      line 7")
    assert keys("list", "--client", "meter")[1].splitlines()[1].split() == meter.split()


def test_what_cannot_be_is_one_sentence(keys: Keys, config: Path) -> None:
    keys("issue", "--client", "turbine-7")
    keys("issue", "--client", "turbine-7")
    first, second = (str(key["id"]) for key in listed(keys))
    two = f'client "turbine-7" has two live keys already, {first} and {second}: revoke one first\n'
    for action, arguments, says in (
        ("issue", ["--client", "turbine-7"], two),
        ("rotate", ["--client", "turbine-7"], two),
        ("rotate", ["--client", "meter"], 'client "meter" has no live key to rotate: issue one\n'),
        ("issue", ["--client", "nobody"], 'no client is named "nobody": one of: billing, meter, turbine-7\n'),
        (
            "issue",
            ["--client", "billing"],
            'client "billing" takes no issued keys: set keys = true for it in the configuration\n',
        ),
        ("revoke", ["key-1"], "no key has this id: see the list of keys\n"),
        ("revoke", ["penstock_" + "x" * 49], "no key has this id: see the list of keys\n"),
    ):
        assert keys(action, *arguments) == (1, "", says)
    assert len(listed(keys)) == 2


@pytest.mark.parametrize("action", ["issue", "rotate", "list", "revoke"])
def test_a_store_that_cannot_be_used_is_one_sentence(keys: Keys, config: Path, action: str) -> None:
    arguments = {"issue": ["--client", "meter"], "rotate": ["--client", "meter"], "revoke": ["key-1"]}.get(action, [])
    keys("issue", "--client", "meter")
    pepper = config.parent / "state" / "pepper"
    pepper.rename(pepper.with_name("away"))
    code, out, err = keys(action, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "pepper (state.pepper) that the keys" in err
    (config.parent / "state" / "penstock.db").write_bytes(b"x" * 4096)
    code, out, err = keys(action, *arguments)
    assert (code, out, err) == (1, "", f"{config.parent}/state/penstock.db: is no database\n")
    config.write_text("[listen\n")
    code, out, err = keys(action, *arguments)
    assert (code, out) == (1, "")
    assert "is not valid TOML" in err


def test_a_client_that_is_gone_leaves_keys_to_be_revoked(keys: Keys, config: Path) -> None:
    keys("issue", "--client", "meter")
    config.write_text(CONFIG.replace("meter", "renamed"))
    (key,) = listed(keys)
    assert key["state"] == "suspended"
    assert keys("revoke", str(key["id"]))[0] == 0


def test_a_reader_who_leaves_knows_which_key_was_lost(config: Path) -> None:
    script = f"{sys.executable} -m proxy keys issue --config {config} --client meter | true"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.stderr.startswith(b"key-")
    assert b"Traceback" not in ended.stderr
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m proxy keys issue --config {config} --client meter >&-"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, b"there is no standard output to show anything on\n")


def test_a_command_that_is_killed_at_any_point_leaves_a_good_store(keys: Keys, config: Path) -> None:
    arguments = ["--config", str(config)]
    for moment in range(24):
        process = FORK.Process(target=cli.main, args=(["keys", "issue", *arguments, "--client", "turbine-7"],))
        process.start()
        process.join(moment / 1000)
        process.kill()
        process.join()
        for key in listed(keys):
            if key["state"] == "live" and moment % 4 == 0:
                keys("revoke", str(key["id"]))
    database = sqlite3.connect(config.parent / "state" / "penstock.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    assert sum(key["state"] == "live" for key in listed(keys)) <= 2
    assert keys("issue", "--client", "meter")[0] == 0


def test_commands_of_many_processes_at_once(keys: Keys, config: Path) -> None:
    """Issue, list and revoke, all at the same time, each in a process of its own."""

    def work() -> None:
        cli.main(["keys", "issue", "--config", str(config), "--client", "turbine-7"])
        cli.main(["keys", "list", "--config", str(config)])
        cli.main(["keys", "issue", "--config", str(config), "--client", "meter"])

    processes = [FORK.Process(target=work) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [key["client"] for key in listed(keys)] == ["meter"] * 2 + ["turbine-7"] * 2
