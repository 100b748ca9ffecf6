"""The mock's configuration file.

certificate = "mock.pem"             # served on every port, with its chain
private_key = "mock.key"
identity = "127.0.0.1:0"             # the metadata endpoint (IMDS), plain HTTP
entra = "127.0.0.1:0"                # the token endpoint, HTTPS
control = "127.0.0.1:0"
token_life = "24h"

[[instances]]
name = "swc-ptu"
address = "127.0.0.1:0"              # 0: any free port; instances may share one address
region = "Sweden Central"
tier = "provisioned"
api_key = "…"                        # accepted beside tokens of this mock's own endpoints
deployments = [{ name = "gpt-4o", first_token = "20ms", between_tokens = "25ms", jitter = "0ms" }]
"""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from proxy.config.structs import Seconds, Table
from proxy.config.units import parse_duration


class MockConfigError(Exception):
    """A file that is no configuration of the mock; the message names file, key and remedy."""


class Deployment(Table, frozen=True, kw_only=True):
    """`tokens_per_minute` 0: no limit. `capacity`: requests at a time that a provisioned one takes, 0: any."""

    name: str
    first_token: Seconds = Seconds(0.0)
    between_tokens: Seconds = Seconds(0.0)
    jitter: Seconds = Seconds(0.0)
    tokens_per_minute: int = 0
    capacity: int = 0
    framing: Literal["usual", "chunked", "close"] = "usual"


class Instance(Table, frozen=True, kw_only=True):
    name: str
    address: str = "127.0.0.1:0"
    region: str = "Sweden Central"
    tier: Literal["provisioned", "standard"] = "standard"
    api_key: str | None = None
    deployments: tuple[Deployment, ...]


class MockConfig(Table, frozen=True, kw_only=True):
    certificate: str
    private_key: str
    identity: str = "127.0.0.1:0"
    entra: str = "127.0.0.1:0"
    control: str = "127.0.0.1:0"
    token_life: Seconds = Seconds(86400.0)
    remember: int = 10_000
    instances: tuple[Instance, ...]


def load(path: Path) -> MockConfig:
    """Raises `MockConfigError`."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        config = msgspec.convert(raw, MockConfig, dec_hook=_convert)
    except OSError as error:
        raise MockConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MockConfigError(f"{path}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise MockConfigError(f"{path}: {error}; see `bench.mock.config` for the keys") from None
    folder = path.resolve().parent
    return msgspec.structs.replace(
        config, certificate=str(folder / config.certificate), private_key=str(folder / config.private_key)
    )


def dump(config: MockConfig) -> str:
    """The file that `load` reads as `config`."""
    lines = [f"{name} = {_toml(getattr(config, name))}" for name in config.__struct_fields__ if name != "instances"]
    for instance in config.instances:
        lines.append("[[instances]]")
        for name in instance.__struct_fields__:
            value = getattr(instance, name)
            if value is not None and name != "deployments":
                lines.append(f"{name} = {_toml(value)}")
        for deployment in instance.deployments:
            lines.append("[[instances.deployments]]")
            lines += [f"{name} = {_toml(getattr(deployment, name))}" for name in deployment.__struct_fields__]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, Seconds):
        return f'"{value * 1000:.3f}ms"'
    return msgspec.json.encode(value).decode()


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    raise ValueError('a duration is a string such as "25ms"')
