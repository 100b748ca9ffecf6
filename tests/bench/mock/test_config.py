"""The file: its own documentation is an example, and what is wrong is said where."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from bench.mock import config as mock_config
from bench.mock.config import MockConfig, MockConfigError, dump, load, parse_address

LEAST = """certificate = "c.pem"
private_key = "k.pem"
[[instances]]
name = "a"
[[instances.deployments]]
name = "d"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mock.toml"
    path.write_text(text)
    return path


def test_the_example_in_the_documentation_is_one(tmp_path: Path) -> None:
    text = (mock_config.__doc__ or "").partition("\n")[2]
    config = load(write(tmp_path, text))
    (instance,) = config.instances
    assert (instance.tier, instance.deployments[0].between_tokens) == ("provisioned", 0.025)
    known = {*MockConfig.__struct_fields__, *instance.__struct_fields__, *instance.deployments[0].__struct_fields__}
    assert all(name in text for name in known), "every key is documented"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, LEAST))
    assert config.certificate == str(tmp_path / "c.pem")


def test_dump_is_what_load_reads(tmp_path: Path, config: MockConfig) -> None:
    assert load(write(tmp_path, dump(config))) == config
    assert "client_secret" not in tomllib.loads(dump(msgspec.structs.replace(config, client_secret=None)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("certificate =", "sertificate ="), "sertificate: unknown key; allowed: certificate, private_key"),
        (('private_key = "k.pem"\n', ""), "private_key: missing; set it"),
        (('name = "a"', 'name = "a"\nzone = 1'), "instances[0].zone: unknown key; allowed: name, address, region"),
        (('name = "d"', 'name = "d"\npace = 1'), "instances[0].deployments[0].pace: unknown key; allowed: name, first"),
        (('name = "d"', 'name = "d"\njitter = 5'), 'jitter: a duration is a string such as "25ms"'),
        (('name = "d"', 'name = "d"\njitter = "5"'), "jitter: a duration is a number and ms, s, m, h or d"),
        (('name = "d"', 'name = "d"\ncapacity = -1'), "instances[0].deployments[0].capacity: -1; allowed: 0 and more"),
        (('name = "a"', 'name = "a"\ntier = "gold"'), "instances[0].tier: invalid enum value 'gold'"),
        (('name = "a"', 'name = "a"\naddress = "here"'), "instances[0].address: 'here' is no address"),
        (('name = "a"', 'name = "a"\nregion = "Sverige\\r\\nx: y"'), "instances[0].region: it goes into a header"),
        (('name = "a"', 'name = "entra"'), "instances[0].name: 'entra' names a token endpoint"),
        (
            ("certificate =", 'control = "0.0.0.0:0"\ncertificate ='),
            "control: '0.0.0.0' is reached from other machines",
        ),
        (
            ('name = "d"', 'name = "d"\n[[instances.deployments]]\nname = "d"'),
            "deployments[1].name: 'd' is there twice",
        ),
        (("certificate =", "certificate"), "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_where(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = write(tmp_path, LEAST.replace(*change))
    with pytest.raises(MockConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MockConfigError, match="cannot be read"):
        load(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8443", ("::1", 8443)), ("host:65535", ("host", 65535))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":80", "host:", "host:x", "host:65536", "host:-1"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="an address is"):
        parse_address(text)
