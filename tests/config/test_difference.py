"""What differs: nothing of the same, each key under its own name, and no secret in what is shown."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.pki import Pki
from proxy.config.contents import Content, contents
from proxy.config.difference import FIXED, Change, Side, difference, sentence, summary
from proxy.config.load import parse
from proxy.config.shown import plain, shown
from proxy.config.structs import (
    Audit,
    Bytes,
    Client,
    ClientCertificates,
    Config,
    Credential,
    Grant,
    Issuer,
    Limits,
    Listen,
    Seconds,
    SecretRef,
    Table,
)
from tests.config.conftest import VALID


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return read(tmp_path_factory.mktemp("difference"), VALID)


def read(folder: Path, text: str) -> Config:
    path = folder / "penstock.toml"
    path.write_text(text)
    return parse(path)


def changes(old: Config, new: Config) -> list[Change]:
    return difference(Side(old), Side(new))


@pytest.mark.parametrize(
    ("was", "becomes", "key", "old", "new", "effect"),
    [
        ('head = "1.5s"', 'head = "20s"', "listen.bounds.head", '"1.5s"', '"20s"', "applies"),
        ('"16MiB"', '"64KiB"', "listen.bounds.json_body", '"16MiB"', '"64KiB"', "applies"),
        ("= 600", "= 900", "clients.turbine-7.limits.requests_per_minute", "600", "900", "applies"),
        (
            'tenant = "power"\n',
            "",
            "clients.turbine-7.tenant",
            '"power"',
            "not set",
            "applies",
        ),
        ('"chat.completions", ', "", "clients.turbine-7.grants[0].operations", None, '["embeddings"]', "ends"),
        ("weight = 3", "weight = 1", "models.gpt-4o.deployments.fra/gpt-4o.weight", "3", "1", "applies"),
        ('tier = "provisioned"', 'tier = "standard"', "backends.swc.tier", '"provisioned"', '"standard"', "applies"),
        ('kind = "managed_identity"', 'kind = "azure_cli"', "credentials.gateway.kind", None, '"azure_cli"', "applies"),
        ('["127.0.0.1:8443", "[::1]:8443"]', '"127.0.0.1:8443"', "listen.address", None, None, "restart"),
        ('token = { file = "state/admin.token" }', 'token = { env = "T" }', "admin.token.file", None, None, "restart"),
        ('mode = "optional"', 'mode = "required"', "listen.client_certificates.mode", None, '"required"', "ends"),
        ('san_dns = ["billing', 'san_dns = ["bills', "clients.billing.certificate.san_dns", None, None, "ends"),
        ('headers = ["x-team"]', 'headers = ["x-crew"]', "forward.headers", '["x-team"]', '["x-crew"]', "applies"),
    ],
)
def test_one_key(
    tmp_path: Path, was: str, becomes: str, key: str, old: str | None, new: str | None, effect: str
) -> None:
    assert was in VALID
    found = changes(read(tmp_path, VALID), read(tmp_path, VALID.replace(was, becomes, 1)))
    change = next(change for change in found if change.key.replace('"', "") == key)
    assert change.effect == effect
    assert old in (None, change.old)
    assert new in (None, change.new)
    assert len(found) == 1 or key == "admin.token.file"


def test_what_has_a_name_is_known_by_it(valid: Config) -> None:
    def turned(table: Any, name: str) -> Any:
        return msgspec.structs.replace(table, **{name: tuple(reversed(getattr(table, name)))})

    other = turned(turned(turned(valid, "clients"), "backends"), "models")
    other = msgspec.structs.replace(other, models=tuple(turned(model, "deployments") for model in other.models))
    assert changes(valid, other) == []


def test_what_comes_and_goes(valid: Config) -> None:
    without = msgspec.structs.replace(valid, clients=valid.clients[1:], models=valid.models[:1])
    gone = {change.key: change for change in changes(valid, without)}
    assert {key: (change.kind, change.effect) for key, change in gone.items()} == {
        "clients.turbine-7": ("removed", "ends"),
        "models.text-embedding-3-small": ("removed", "ends"),
    }
    assert "from the next request on" in gone["clients.turbine-7"].note
    come = changes(without, valid)
    assert [(change.kind, change.effect) for change in come] == [("added", "applies")] * 2
    assert come[0].new is not None
    assert 'tenant = "power"' in come[0].new


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ab", "b", [("removed", "clients.c.grants[0]")]),
        ("b", "ab", [("added", "clients.c.grants[0]")]),
        ("ab", "ba", [("added", "clients.c.grants[0]"), ("removed", "clients.c.grants[1]")]),
        ("abc", "axc", [("changed", "clients.c.grants[1].models")]),
    ],
)
def test_grants_are_told_apart_by_what_stayed(old: str, new: str, expected: list[tuple[str, str]]) -> None:
    def config(names: str) -> Config:
        grants = tuple(Grant(models=(name,), operations=("*",)) for name in names)
        return Config(listen=Listen(certificate="s"), clients=(Client(name="c", keys=True, grants=grants),))

    found = changes(config(old), config(new))
    assert sorted((change.kind, change.key) for change in found) == sorted(expected)


def test_files_count_by_what_is_in_them(pki: Pki, tmp_path: Path) -> None:
    roots, secret = tmp_path / "roots.pem", tmp_path / "secret"
    config = Config(
        listen=Listen(certificate="s", client_certificates=ClientCertificates(mode="optional", roots=(str(roots),))),
        credentials={"keyed": Credential(kind="api_key", key=SecretRef(file=str(secret)))},
    )
    roots.write_bytes(pki.client_root.read_bytes())
    secret.write_text("hunter2-the-first")
    before = contents([roots, secret])
    assert difference(Side(config, before), Side(config, contents([roots, secret]))) == []
    roots.write_bytes(pki.server_root.read_bytes())
    secret.write_text("hunter2-the-second")
    found = difference(Side(config, before), Side(config, contents([roots, secret])))
    first, second = found
    assert (first.key, first.kind, first.effect) == ("listen.client_certificates.roots", "content", "ends")
    assert first.old is not None
    assert first.old.startswith("sha256:")
    assert (second.key, second.old, second.new) == ("credentials.keyed.key.file", None, None)
    assert "hunter2" not in repr((found, before))
    assert sentence(second) == "credentials.keyed.key.file: another content"


def test_what_may_open_a_door_is_not_shown(valid: Config) -> None:
    secret = "hunter2"
    old = msgspec.structs.replace(valid, audit=Audit(webhook=f"https://u:{secret}@hooks.example/{secret}?k={secret}"))
    new = msgspec.structs.replace(valid, audit=Audit(webhook=f"https://u:{secret}@hooks.example/{secret}2"))
    for found in (changes(valid, old), changes(old, new), changes(new, valid)):
        change = next(change for change in found if change.key == "audit.webhook")
        assert "hooks.example" in sentence(change)
        assert change.old != change.new
        assert secret not in repr(found)
    assert secret not in repr(plain(old))
    assert secret not in shown(SecretRef(env=secret)) + str(plain(SecretRef(env=secret)))
    assert shown(SecretRef(env="AZURE_KEY")) == '{ env = "AZURE_KEY" }'
    assert shown(("sha256:" + "ab" * 32,), "key_hashes") == '["sha256:abababababab…"]'


def test_one_line_whatever_the_text() -> None:
    assert shown("a\nb\x1b[31m") == '"a\\nb\\x1b[31m"'
    assert len(shown("x" * 100_000)) < 300
    assert len(shown(tuple("x" * 100 for _ in range(1000)))) < 2_100


def test_summary(valid: Config) -> None:
    assert summary([]) == "no key has changed"
    found = changes(valid, msgspec.structs.replace(valid, clients=(), forward=type(valid.forward)()))
    assert summary(found).startswith("clients.turbine-7 removed: ")
    assert summary(found).endswith(f"and {len(found) - 1} more")


def test_fixed_keys_are_keys(valid: Config) -> None:
    for key in FIXED:
        value: Any = valid
        for name in key.split("."):
            value = getattr(value, name)


# Properties.

names = st.sampled_from(["a", "b", "c.d", "é", 'quo"te', "x" * 300])
seconds = st.floats(0.001, 1e6, allow_nan=False).map(Seconds)
limits = st.builds(
    Limits, requests_per_minute=st.none() | st.integers(1, 9), tokens_per_minute=st.none() | st.integers(1, 9)
)
grants = st.builds(Grant, models=st.lists(names, max_size=3).map(tuple), max_tokens=st.none() | st.integers(1, 9))
clients = st.builds(
    Client,
    name=names,
    keys=st.booleans(),
    key_hashes=st.lists(names, max_size=2).map(tuple),
    grants=st.lists(grants, max_size=4).map(tuple),
    limits=limits,
)
issuers = st.builds(
    Issuer,
    name=names,
    issuer=names,
    audiences=st.just(("a",)),
    leeway=seconds,
    required_claims=st.dictionaries(names, names, max_size=2),
)
configs = st.builds(
    Config,
    listen=st.builds(Listen, certificate=st.just("server.pem"), workers=st.integers(0, 3)),
    audit=st.builds(Audit, rotate_at=st.integers(1, 1 << 30).map(Bytes), webhook=st.none() | names),
    clients=st.lists(clients, max_size=4, unique_by=lambda client: client.name).map(tuple),
    issuers=st.lists(issuers, max_size=3, unique_by=lambda issuer: issuer.name).map(tuple),
    credentials=st.dictionaries(names, st.just(Credential(kind="managed_identity")), max_size=2),
)


@given(configs)
def test_nothing_differs_from_itself(config: Config) -> None:
    files = {"server.pem": Content(b"1", ())}
    assert difference(Side(config, files), Side(config, files)) == []


@given(configs, configs)
def test_what_differs_is_found_and_one_line_each(old: Config, new: Config) -> None:
    found = changes(old, new)
    by_name = [_sorted(config) for config in (old, new)]
    assert bool(found) == (by_name[0] != by_name[1])
    for change in found:
        line = sentence(change)
        assert line.isprintable()
        assert change.old != change.new
    back = changes(new, old)
    assert {change.key for change in found if "[" not in change.key} == {c.key for c in back if "[" not in c.key}


@given(configs, st.randoms(use_true_random=False))
def test_every_key_shows_under_its_own(config: Config, random: Any) -> None:
    for name, value in (("head", Seconds(77)), ("requests", 77)):
        bounds = msgspec.structs.replace(config.listen.bounds, **{name: value})
        other = msgspec.structs.replace(config, listen=msgspec.structs.replace(config.listen, bounds=bounds))
        assert [change.key for change in changes(config, other)] == [f"listen.bounds.{name}"]
    if config.clients:
        index = random.randrange(len(config.clients))
        client = config.clients[index]
        other_client = msgspec.structs.replace(client, tenant="another")
        moved = [*config.clients[:index], *config.clients[index + 1 :], other_client]
        found = changes(config, msgspec.structs.replace(config, clients=tuple(moved)))
        assert [(change.new, change.key.endswith(".tenant")) for change in found] == [('"another"', True)]


def _sorted(config: Config) -> Config:
    return msgspec.structs.replace(
        config,
        clients=tuple(sorted(config.clients, key=lambda client: client.name)),
        issuers=tuple(sorted(config.issuers, key=lambda issuer: issuer.name)),
    )


def test_every_field_of_every_table_can_be_shown() -> None:
    """Also those that no file of these tests sets."""
    for kind in _subclasses(Table):
        required = {field.name: "x" for field in msgspec.structs.fields(kind) if field.required}
        table = kind(**required)
        assert shown(table)
        assert msgspec.json.encode(plain(table))


def _subclasses(kind: type[Table]) -> list[type[Table]]:
    found = kind.__subclasses__()
    return list(itertools.chain(found, *(_subclasses(each) for each in found)))
