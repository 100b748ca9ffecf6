"""From a file to a configuration: what loads, how it is refused, and that nothing else ever happens."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.pki import Pki
from proxy.config.load import ConfigError, load, parse
from proxy.config.problem import Problem
from proxy.config.shape import misfits
from proxy.config.structs import Bytes, Config, Seconds
from tests.config.conftest import MINIMAL, VALID, Judge, changed


def test_a_valid_file_loads_with_its_units_and_its_paths_absolute(pki: Pki) -> None:
    path = pki.directory / "valid.toml"
    path.write_text(VALID)
    config = load(path)
    listen, folder = config.listen, pki.directory
    assert listen.bounds.json_body == 16 << 20
    assert type(listen.bounds.json_body) is Bytes
    assert listen.bounds.head == 1.5
    assert type(listen.bounds.head) is Seconds
    assert config.models[0].first_byte == Seconds(1200)
    assert listen.certificate == str(folder / "server.pem")
    assert listen.certificates[0].private_key == str(folder / "mock.key")
    assert listen.client_certificates.roots == (str(folder / "client-root.pem"),)
    assert config.admin.token.file == str(folder / "state/admin.token")
    assert config.audit.path == str(folder / "log/audit.jsonl")
    assert config.backends[0].ca == str(folder / "server-root.pem")
    key = config.credentials["keyed"].key
    assert key is not None
    assert key.file == str(folder / "azure.key")


def test_the_least_there_can_be_is_a_certificate(judge: Judge) -> None:
    assert judge(MINIMAL) == []


def test_an_absolute_path_stays(pki: Pki, judge: Judge) -> None:
    assert judge(MINIMAL.replace('"server.key"', f'"{pki.directory}/server.key"')) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[listen\n", r"is not valid TOML: .*line 1, column 8.*; mend the syntax there"),
        (b"a = 1\na = 2\n", r"is not valid TOML: .*line 2.*"),
        (b"\xff", r"is not UTF-8 \(at byte 0\); save it as UTF-8"),
        (b"a = " + b"[" * 5000, "is nested too deeply; .*"),
        (b"a = " + b"9" * 5000, "has a number or date that is out of range; mend the value"),
        (b"a = 2026-02-30", r"is not valid TOML: .*line 1.*|has a number or date that is out of range; .*"),
        (b"#" * (9 << 20), "has more than 8388608 bytes; name a readable file"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "penstock.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert re.fullmatch(f"{re.escape(str(path))}: {says}", str(caught.value))


@pytest.mark.parametrize(("name", "why"), [("absent.toml", "No such file or directory"), ("", "Is a directory")])
def test_what_is_no_file(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"cannot be read \({why}\); name a readable file"):
        load(tmp_path / name)


TYPES = [
    (changed('head = "1.5s"', 'heda = "1.5s"'), "listen.bounds.heda: unknown key; did you mean head?"),
    (changed("tenant", "tennant"), "clients[0].tennant: unknown key; did you mean tenant?"),
    (
        changed('tier = "provisioned"', "zzzzzz = 1"),
        "backends[0].zzzzzz: unknown key; one of: ca, client_certificate, ",
    ),
    (changed("[forward]", "[forwarding]"), "forwarding: unknown key; did you mean forward?"),
    (changed("kind", "knid"), "credentials.gateway.knid: unknown key; did you mean kind?"),
    (changed('name = "swc"\n', ""), "backends[0].name: missing; give a string"),
    ("", "listen: missing; give a table"),
    (changed('head = "1.5s"', "head = 1.5"), "listen.bounds.head: found a number with a fraction; give a duration "),
    (changed('head = "1.5s"', 'head = "soon"'), 'listen.bounds.head: "soon"; a duration is a number and '),
    (changed('"16MiB"', '"16MB"'), 'listen.bounds.json_body: "16MB"; a size is a number of bytes, '),
    (changed('"16MiB"', "true"), "listen.bounds.json_body: found true or false; give a size such as"),
    (changed("600", '"600"'), "clients[0].limits.requests_per_minute: found a string; give a number"),
    (changed("600", "600.0"), "clients[0].limits.requests_per_minute: found a number with a fraction; give a number"),
    (changed('"optional"', '"maybe"'), 'listen.client_certificates.mode: "maybe"; one of: "off", "optional",'),
    (changed('["gpt-4o", "text-embedding-3-*"]', '"gpt-4o"'), "clients[0].grants[0].models: found a string; give a"),
    (changed('"gpt-4o", "text-', '1, "text-'), "clients[0].grants[0].models[0]: found a number; give a string"),
    (changed('"none"', "2026-01-01"), "audit.user: found a date; give a string"),
    (changed('["127.0.0.1:8443", "[::1]:8443"]', "1"), "listen.address: found a number; give a string or a list"),
    (changed("[credentials.gateway]", '[credentials."a b"]').replace("kind", "k", 1), 'credentials."a b".k: unknown'),
]


@pytest.mark.parametrize(("text", "says"), TYPES)
def test_what_does_not_fit_the_types(judge: Judge, text: str, says: str) -> None:
    assert any(line.startswith(says) for line in judge(text)), judge(text)


def test_every_misfit_is_told_at_once(judge: Judge) -> None:
    text = changed('head = "1.5s"', "heda = 1\nbody = false").replace('tier = "provisioned"', 'tier = "gold"')
    assert [line.partition(":")[0] for line in judge(text)] == [
        "listen.bounds.heda",
        "listen.bounds.body",
        "backends[0].tier",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (changed('{ file = "azure.key" }', '"hunter2"'), "credentials.keyed.key"),
        (changed('{ file = "state/admin.token" }', '"hunter2"'), "admin.token"),
        (changed("[audit]", '[state]\npepper = "hunter2"\n[audit]'), "state.pepper"),
        (changed('{ file = "azure.key" }', "{ value = 'hunter2' }"), "credentials.keyed.key.value"),
        (
            changed("[credentials.gateway]", "[credentials]\nmine = 'hunter2'\n[credentials.gateway]"),
            "credentials.mine",
        ),
        (changed('key_hashes = ["sha256:', 'key_hashes = ["hunter2'), "clients[0].key_hashes[0]"),
        (changed('key_hashes = ["sha256:' + "0" * 63 + '1"]', 'key_hashes = "hunter2"'), "clients[0].key_hashes"),
        (changed("https://aoai-swc", "https://me:hunter2@aoai-swc"), "backends[0].url"),
        (changed('{ file = "azure.key" }', "{ env = 'hunter2' }"), "credentials.keyed.key"),
    ],
)
def test_an_inline_secret_is_refused_and_not_repeated(judge: Judge, text: str, key: str) -> None:
    lines = judge(text)
    assert any(line.startswith(f"{key}: ") for line in lines), lines
    assert "hunter2" not in "\n".join(lines)


def test_an_inline_secret_is_told_what_to_be_instead(judge: Judge) -> None:
    assert judge(changed('{ file = "azure.key" }', '"hunter2"')) == [
        "credentials.keyed.key: an inline secret; secrets come by reference, never inline: "
        'give { env = "NAME" } or { file = "path" }'
    ]


def test_an_error_holds_a_bounded_number_of_bounded_printable_lines(tmp_path: Path) -> None:
    error = ConfigError(tmp_path, (Problem("k\n", "\x1b[31m" + "x" * 10_000, "r") for _ in range(10_000)))
    lines = error.lines()
    assert len(lines) == 101
    assert "more problems than these 100" in lines[-1]
    assert all(line.isprintable() and len(line) < 2000 for line in lines)
    assert str(error).splitlines() == lines


# Whatever is done to a valid file, it is a configuration or a `ConfigError`.


def outcome(path: Path) -> list[str] | None:
    """What is wrong, None if it is a configuration."""
    try:
        load(path)
    except ConfigError as error:
        return error.lines()
    return None


def attempt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    lines = outcome(path)
    assert lines is None or (lines and all(line.isprintable() for line in lines))


@given(st.data())
def test_cut_and_spliced(pki: Pki, data: st.DataObject) -> None:
    content = VALID.encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 60)))
    inserted = data.draw(
        st.binary(max_size=20) | st.sampled_from([b'"', b"[", b"]", b"=", b"\n", b"{}", b"1e400", b"\0"])
    )
    attempt(pki.directory / "mangled.toml", content[:start] + inserted + content[end:])


@given(st.data())
def test_values_replaced(pki: Pki, data: st.DataObject) -> None:
    """Each right-hand side in turn, by values that are valid TOML and mostly wrong."""
    lines = VALID.splitlines()
    number = data.draw(st.sampled_from([i for i, line in enumerate(lines) if " = " in line]))
    value = data.draw(
        st.sampled_from(
            ['""', '"\\u0000"', '"a\\nb"', '"*"', "-1", "0", "inf", "nan", str(1 << 64), "true", "[]", "[[]]", "{}"]
            + ['"' + "x" * 5000 + '"', '"https://["', '"[::"', '"sha256:"', '["CN"]', "2026-01-01", "12:00:00"]
            + ["{ env = '' }", "{ env = '=' }", "{ file = '' }", "{ file = '/' }", "{ issuer = '=' }", '"\U0001f600"']
        )
    )
    lines[number] = lines[number].partition(" = ")[0] + " = " + value
    attempt(pki.directory / "mangled.toml", "\n".join(lines).encode())


@given(st.data())
def test_the_types_and_their_explanation_agree(data: st.DataObject) -> None:
    """`misfits` finds something exactly where msgspec does."""
    raw = tomllib.loads(VALID)
    table: dict[str, object] = raw
    while isinstance(inner := table[key := data.draw(st.sampled_from(sorted(table)))], dict) and data.draw(
        st.booleans()
    ):
        table = inner
    table[key] = data.draw(
        st.sampled_from([None, 1, True, 1.5, "x", "1s", "off", "any", [], ["x"], [1], {}, {"file": "f"}, {"env": 1}])
    )
    if table[key] is None:
        del table[key]
    try:
        msgspec.convert(raw, Config, dec_hook=_hook)
    except msgspec.ValidationError:
        assert list(misfits(raw, Config))
    else:
        assert not list(misfits(raw, Config))


def _hook(kind: type, value: object) -> object:
    from proxy.config.load import _convert

    return _convert(kind, value)


def test_a_parsed_file_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text(MINIMAL)
    assert parse(path).listen.certificate == str(tmp_path / "server.pem")
