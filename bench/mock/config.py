"""The mock's configuration file.

certificate = "mock.pem"             # served on every TLS port, with its chain; relative to this file
private_key = "mock.key"
identity = "127.0.0.1:0"             # the metadata endpoint (IMDS), plain HTTP
entra = "127.0.0.1:0"                # the token endpoint, HTTPS
issuers = "127.0.0.1:0"              # issuers of tokens, HTTPS: https://localhost:PORT/NAME
vault = "127.0.0.1:0"                # a Key Vault, HTTPS, always called by number
revocation = "127.0.0.1:0"           # CRLs and OCSP, plain HTTP
control = "127.0.0.1:0"              # faults, what was received, counts; plain HTTP, loopback only
token_life = "24h"
client_ids = []                      # that the token endpoints know; none: any
# client_secret = "…"                # that Entra accepts; absent: any
# client_certificate = "app.pem"     # whose key signs assertions that Entra accepts; absent: any
# federated_issuer = "cluster"       # the one of `issuers` whose tokens Entra takes for an application; absent: any
remember = 10000                     # requests, for tests that ask what was received

[[authorities]]                       # whose certificates can be revoked here
name = "devices"
certificate = "devices.pem"
private_key = "devices.key"

[[instances]]
name = "swc-ptu"                     # also its place among instances that share a port: https://swc-ptu.localhost:PORT
address = "127.0.0.1:0"              # 0: any free port, its own; instances with one address share it
region = "Sweden Central"
tier = "provisioned"                 # or "standard"
api_key = "a-key"                    # accepted beside tokens of this mock's own endpoints; absent: tokens only
# client_root = "root.pem"           # only who shows a certificate under it gets past the handshake; absent: anyone

[[instances.deployments]]
name = "gpt-4o"
first_token = "20ms"                 # until the head and the first event, and until an answer that is not streamed
between_tokens = "25ms"              # from one event to the next
jitter = "0ms"                       # up to so much more, each time
default_tokens = 16                  # content events where the request sets no maximum
tokens_per_minute = 0                # 0: any; charged at admission, by estimate
capacity = 32                        # requests at a time, 0: any
framing = "usual"                    # "chunked": whole answers too; "close": it ends with the connection
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from bench.mock.faults import is_instance
from bench.mock.revocation import AuthorityFiles
from proxy.config.structs import Seconds, Table
from proxy.config.units import parse_duration

_PATHS = ("certificate", "private_key", "client_certificate", "client_root")

T = TypeVar("T", bound=Table)


class MockConfigError(Exception):
    """A file that is no configuration of the mock; each line names file, key, what was found and what is allowed."""


class Deployment(Table, frozen=True, kw_only=True):
    name: str
    first_token: Seconds = Seconds(0.0)
    between_tokens: Seconds = Seconds(0.0)
    jitter: Seconds = Seconds(0.0)
    default_tokens: int = 16
    tokens_per_minute: int = 0
    capacity: int = 0
    framing: Literal["usual", "chunked", "close"] = "usual"


class Instance(Table, frozen=True, kw_only=True):
    name: str
    address: str = "127.0.0.1:0"
    region: str = "Sweden Central"
    tier: Literal["provisioned", "standard"] = "standard"
    api_key: str | None = None
    client_root: str | None = None
    deployments: tuple[Deployment, ...]


class MockConfig(Table, frozen=True, kw_only=True):
    certificate: str
    private_key: str
    identity: str = "127.0.0.1:0"
    entra: str = "127.0.0.1:0"
    issuers: str = "127.0.0.1:0"
    vault: str = "127.0.0.1:0"
    revocation: str = "127.0.0.1:0"
    control: str = "127.0.0.1:0"
    token_life: Seconds = Seconds(86400.0)
    client_ids: tuple[str, ...] = ()
    client_secret: str | None = None
    client_certificate: str | None = None
    federated_issuer: str | None = None
    remember: int = 10_000
    authorities: tuple[AuthorityFiles, ...] = ()
    instances: tuple[Instance, ...]


def load(path: Path) -> MockConfig:
    """The configuration in a file, its paths absolute. Raises `MockConfigError`."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        config = msgspec.convert(raw, MockConfig, dec_hook=_convert)
    except OSError as error:
        raise MockConfigError(f"{path}: cannot be read ({error.strerror}); name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MockConfigError(f"{path}: is not valid TOML: {error}; mend the syntax there") from None
    except msgspec.ValidationError as error:
        raise MockConfigError(f"{path}: {_explain(str(error))}") from None
    folder = path.resolve().parent
    config = msgspec.structs.replace(
        _placed(config, folder),
        authorities=tuple(_placed(one, folder) for one in config.authorities),
        instances=tuple(_placed(one, folder) for one in config.instances),
    )
    problems = [f"{path}: {problem}" for problem in _problems(config)]
    if problems:
        raise MockConfigError("\n".join(problems))
    return config


def _placed(table: T, folder: Path) -> T:
    given = {name: getattr(table, name, None) for name in _PATHS}
    return msgspec.structs.replace(table, **{name: str(folder / path) for name, path in given.items() if path})


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8443` or `[::1]:0`. Raises `ValueError`."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError('an address is a host and a port, such as "127.0.0.1:8443" or "[::1]:0"')
    return host, int(port)


def dump(config: MockConfig) -> str:
    """The file that `load` reads as `config`."""
    return "\n".join(_dumped(config)) + "\n"


def _dumped(table: Table, path: str = "") -> Iterator[str]:
    nested: list[tuple[str, tuple[Table, ...]]] = []
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, tuple) and value and isinstance(value[0], Table):
            nested.append((f"{path}{name}", value))
        elif isinstance(value, Seconds):
            yield f'{name} = "{value * 1000:.3f}ms"'
        elif value is not None:
            yield f"{name} = {msgspec.json.encode(value).decode()}"
    for key, entries in nested:
        for entry in entries:
            yield f"[[{key}]]"
            yield from _dumped(entry, f"{key}.")


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    if kind is Seconds:
        raise ValueError('a duration is a string such as "25ms"')
    raise NotImplementedError(kind)


_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>.*?)`)?$", re.S)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _explain(message: str) -> str:
    """msgspec's message as key, what was found, and what is allowed."""
    match = _AT.match(message)
    assert match is not None
    what, key = match["what"], match["key"] or ""
    table = {"": MockConfig, "instances": Instance, "authorities": AuthorityFiles}.get(
        re.sub(r"\[.*?\]", "", key), Deployment
    )
    unknown, missing = _UNKNOWN.fullmatch(what), _MISSING.fullmatch(what)
    if unknown is not None:
        return f"{f'{key}.{unknown[1]}'.lstrip('.')}: unknown key; allowed: {', '.join(table.__struct_fields__)}"
    if missing is not None:
        return f"{f'{key}.{missing[1]}'.lstrip('.')}: missing; set it"
    return f"{key}: {what[:1].lower()}{what[1:]}; see `bench.mock.config` for what is allowed"


def _problems(config: MockConfig) -> Iterator[str]:
    """What the types cannot say."""
    addresses = [("identity", config.identity), ("entra", config.entra), ("revocation", config.revocation)]
    addresses += [("issuers", config.issuers), ("vault", config.vault), ("control", config.control)]
    addresses += [(f"instances[{n}].address", instance.address) for n, instance in enumerate(config.instances)]
    for key, address in addresses:
        try:
            host, _ = parse_address(address)
            if key == "control" and not ipaddress.ip_address(host).is_loopback:
                yield f"{key}: '{host}' is reached from other machines; allowed: a loopback address"
        except ValueError as error:
            yield f"{key}: '{address}' is no address; {error}"
    if not config.instances:
        yield "instances: none; give one at least"
    yield from _doubles("instances", [instance.name for instance in config.instances])
    roots: dict[str, str | None] = {}
    for n, instance in enumerate(config.instances):
        if not is_instance(instance.name):
            yield f"instances[{n}].name: '{instance.name}' names a token endpoint; allowed: any other name"
        if not instance.address.endswith(":0") and roots.setdefault(instance.address, instance.client_root) != (
            instance.client_root
        ):
            yield f"instances[{n}].client_root: another at the same address has not the same; give each an address"
        if "\r" in instance.region or "\n" in instance.region or not instance.region.isascii():
            yield f"instances[{n}].region: it goes into a header; allowed: one line of ASCII"
        yield from _doubles(f"instances[{n}].deployments", [one.name for one in instance.deployments])
        for m, deployment in enumerate(instance.deployments):
            for key in ("default_tokens", "tokens_per_minute", "capacity"):
                if getattr(deployment, key) < 0:
                    yield f"instances[{n}].deployments[{m}].{key}: {getattr(deployment, key)}; allowed: 0 and more"


def _doubles(key: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for n, name in enumerate(names):
        if name in seen:
            yield f"{key}[{n}].name: '{name}' is there twice; give each its own"
        seen.add(name)
