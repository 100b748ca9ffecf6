"""`penstock explain`: what is printed, for each kind of credential; and what it says of use it cannot be put to."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.mock.mint import KeyPair, TokenIssuer
from certs.pki import Pki, build
from proxy import cli
from proxy.commands import explain as command
from proxy.config.load import parse
from proxy.identity.key import make
from proxy.supervisor.identity.discovery import KeysUnavailable
from proxy.supervisor.store.keys import KeyStore
from tests.config.conftest import VALID
from tests.e2e.gateway import hashed

CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
KEY = "the-key-of-turbine-7"
CLIENTS = """
[[clients]]
name = "people"
token = { issuer = "contoso", client = "app" }
keys = true
[[clients.grants]]
models = ["*"]
operations = ["embeddings"]
roles = ["indexer"]
[[clients.grants]]
models = ["gpt-*"]
operations = ["chat.completions"]
scopes = ["chat.read", "chat.write"]
max_tokens = 256
streaming = "required"
[[issuers]]
name = "contoso"
issuer = "https://login.contoso.example"
audiences = ["api://penstock"]
[credentials.gateway]
"""

Explain = Callable[..., str]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = build(tmp_path_factory.mktemp("explain"))
    (made.directory / "azure.key").write_text("an-azure-key\n")
    zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
    text = VALID.replace(zeros, hashed(KEY)).replace("\n[credentials.gateway]\n", CLIENTS)
    (made.directory / "penstock.toml").write_text(text)
    (made.directory / "key").write_text(KEY + "\n")
    return made


@pytest.fixture
def run(pki: Pki, capsys: pytest.CaptureFixture[str]) -> Explain:
    def explain(*arguments: object, code: int = 0) -> str:
        config = pki.directory / "penstock.toml"
        assert cli.main(["explain", "--config", str(config), *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert KEY not in out + err
        return err if code else out

    return explain


def test_a_key_that_was_issued(run: Explain, pki: Pki, tmp_path: Path) -> None:
    config = parse(pki.directory / "penstock.toml")
    (tmp_path / "key").write_text(make(bytes(32)))
    assert "refused: 401 unknown_key" in run("--key", tmp_path / "key", CHAT)
    assert not Path(config.state.path).exists(), "to explain makes no store"
    store = KeyStore.open(config.state)
    issued = store.issue("people")
    (tmp_path / "key").write_text(issued.key)
    told = run("--key", tmp_path / "key", CHAT)
    assert "client      people\n" in told
    assert f"credential  key {issued.row.id}\n" in told
    assert issued.key not in told
    store.revoke(issued.row.id)
    store.close()
    told = run("--key", tmp_path / "key", CHAT)
    assert f"refused: 401 revoked_key\n            rule: {issued.row.id}\n" in told
    pepper = Path(config.state.pepper.file or "")
    pepper.rename(tmp_path / "away")
    assert "put it back" in run("--key", tmp_path / "key", CHAT, code=1)


def test_a_key(run: Explain, pki: Pki) -> None:
    assert run("--key", pki.directory / "key", CHAT) == (
        "decision    allowed by grants[0]\n"
        "client      turbine-7, tenant power\n"
        f"credential  key {hashed(KEY)[:19]}\n"
        "request     chat.completions with gpt-4o\n"
        "grants      grants[0]: allows\n"
        "limits      requests_per_minute 600\n"
        "backends    1. swc/gpt-4o-ptu (swedencentral, provisioned): priority 0\n"
        "            -  fra/gpt-4o (francecentral, standard): never: not in the client's regions\n"
        "notes       no body was given: the request is judged as if it asked for nothing in particular\n"
    )


def test_a_certificate(run: Explain, pki: Pki) -> None:
    text = run("--certificate", pki.pairs["billing"].certificate, "/openai/v1/models", "--method", "GET")
    assert text.startswith("decision    allowed\nclient      billing\ncredential  certificate sha256:")
    assert "request     models\nmodels      gpt-4o\n            text-embedding-3-small\nnotes       its path: " in text
    path = "CN=billing,O=Contoso, issued by CN=Devices CA,O=Contoso, issued by CN=Devices Root,O=Contoso"
    assert text.endswith(
        f"{path}\n            whether the certificate was revoked was not checked: the running gateway knows\n"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "not valid at validation time"),
        ("not-yet-valid", "not valid at validation time"),
        ("wrong-eku", "required EKU not found"),
        ("untrusted", "candidates exhausted"),
        ("self-signed", "basicConstraints.cA must not be asserted"),
    ],
)
def test_a_certificate_that_the_handshake_would_refuse(run: Explain, pki: Pki, name: str, why: str) -> None:
    text = run("--certificate", pki.pairs[name].certificate, CHAT)
    assert text.startswith("decision    refused: 401 ")
    assert why in text
    assert "notes       the handshake would fail, and no request would come of it\n" in text


def token_file(folder: Path, **claims: object) -> Path:
    issuer = TokenIssuer("https://login.contoso.example", KeyPair("k"))
    file = folder / "token"
    file.write_bytes(issuer.mint(azp="app", oid="ann", **claims))  # type: ignore[arg-type]
    return file


def test_a_token_at_its_word(run: Explain, tmp_path: Path) -> None:
    (tmp_path / "body").write_text(json.dumps({"stream": True}))
    token = token_file(tmp_path, scp="chat.write", roles=None)
    text = run("--token", token, "--body", tmp_path / "body", CHAT)
    fingerprint = next(line for line in text.splitlines() if line.startswith("credential"))
    assert fingerprint.startswith("credential  token sha256:")
    assert text.replace(fingerprint, "credential  …") == (
        "decision    allowed by grants[1]\n"
        "client      people\n"
        "credential  …\n"
        "user        ann\n"
        "scopes      chat.write\n"
        "request     chat.completions with gpt-4o\n"
        "grants      grants[0]: no, operations: chat.completions is not among them\n"
        "            grants[1]: allows\n"
        "sets        max_completion_tokens = 256\n"
        "backends    1. swc/gpt-4o-ptu (swedencentral, provisioned): priority 0\n"
        "            2. fra/gpt-4o (francecentral, standard): priority 1\n"
        "notes       the token's signature was not checked, its claims are taken at their word: --online checks it\n"
    )


def test_a_token_without_the_scope(run: Explain, tmp_path: Path) -> None:
    text = run("--token", token_file(tmp_path, scp="mail", roles=None), CHAT)
    assert text.startswith(
        "decision    refused: 403 scope_missing\n"
        "            rule: grants[1].scopes: none of chat.read, chat.write\n"
        "            the client reads: This needs a token with a scope that grants this operation and model.\n"
    )


def test_a_token_whose_claims_are_not_good(run: Explain, tmp_path: Path) -> None:
    text = run("--token", token_file(tmp_path, exp=time.time() - 3600), CHAT)
    assert "decision    refused: 401 invalid_token\n            rule: contoso:expired\n" in text


def test_a_token_checked_with_its_issuers_keys(run: Explain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def out(_issuer: object) -> None:
        raise KeysUnavailable("no answer within 5 s")

    monkeypatch.setattr(command, "fetch_keys", out)
    err = run("--online", "--token", token_file(tmp_path), CHAT, code=1)
    assert err.startswith("the keys of issuer contoso cannot be fetched: no answer within 5 s; ")


def test_json_is_the_same_for_programs(run: Explain, pki: Pki) -> None:
    told = json.loads(run("--json", "--key", pki.directory / "key", CHAT))
    assert (told["decision"], told["rule"], told["identity"]["client"]) == ("allowed", "grants[0]", "turbine-7")
    assert [(backend["backend"], backend["turn"]) for backend in told["backends"]] == [("swc", 1), ("fra", None)]


def test_nothing_shown(run: Explain) -> None:
    assert run(CHAT).startswith("decision    refused: 401 no_credential\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"two words", "the key must be one line of visible ASCII characters, without spaces\n"),
        (b"x" * (65 << 10), "has more than 65536 bytes\n"),
    ],
)
def test_what_is_no_key(run: Explain, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "key").write_bytes(content)
    assert run("--key", tmp_path / "key", CHAT, code=1).endswith(says)


def test_files_of_no_use(run: Explain, tmp_path: Path) -> None:
    assert "cannot be read" in run("--token", tmp_path / "absent", CHAT, code=1)
    (tmp_path / "pem").write_text("nothing")
    assert "holds no certificate that can be read" in run("--certificate", tmp_path / "pem", CHAT, code=1)
    assert "standard input can be one of" in run("--token", "-", "--key", "-", CHAT, code=1)
