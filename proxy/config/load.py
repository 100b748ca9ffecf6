"""From a file to a configuration, or to every reason why it is none.

A problem names the file, the key's path, what was found, and what is allowed. Values of secrets are never repeated.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from proxy.config import structs
from proxy.config.structs import Bytes, Config, Seconds
from proxy.config.units import parse_duration, parse_size


class Problem(NamedTuple):
    """One thing that is wrong. `key` is a path such as `clients[2].grants[0].models`, empty for the file itself."""

    key: str
    found: str
    remedy: str


class ConfigError(Exception):
    """A file that is no valid configuration, with all its problems."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = list(problems)
        super().__init__("\n".join(self.lines()))

    @classmethod
    def of(cls, file: Path, key: str, found: str, remedy: str) -> "ConfigError":
        return cls(file, [Problem(key, found, remedy)])

    def lines(self) -> list[str]:
        """One line a problem: `FILE: KEY: what was found; what to do`."""
        return [
            f"{self.file}: {problem.key + ': ' if problem.key else ''}{problem.found}; {problem.remedy}"
            for problem in self.problems
        ]


def load(path: Path) -> Config:
    """The configuration in `path`, valid, with its paths absolute. Raises `ConfigError`."""
    from proxy.config.implemented import unimplemented
    from proxy.config.validate import problems

    config = parse(path)
    found = [*unimplemented(config), *problems(config)]
    if found:
        raise ConfigError(path, found)
    return config


def parse(path: Path) -> Config:
    """The file as types, before anything the types cannot say is judged. Raises `ConfigError`."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError.of(path, "", f"cannot be read ({error.strerror})", "name a readable file") from None
    except UnicodeDecodeError:
        raise ConfigError.of(path, "", "is not UTF-8", "save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError.of(path, "", f"is not valid TOML: {error}", "mend the syntax there") from None
    try:
        config = msgspec.convert(raw, Config, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ConfigError(path, [_explain(str(error), raw)]) from None
    return _absolute(config, path.resolve().parent)


def _convert(kind: type, value: object) -> object:
    if kind is Seconds:
        if not isinstance(value, str):
            raise ValueError('a duration is a string such as "30s"')
        return Seconds(parse_duration(value))
    if kind is Bytes:
        if not isinstance(value, str | int):
            raise ValueError('a size is a string such as "32MiB" or a number of bytes')
        return Bytes(parse_size(value))
    raise NotImplementedError(kind)


_AT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*?)`)?$", re.S)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _explain(message: str, raw: dict[str, object]) -> Problem:
    """msgspec's message, in the words of the file."""
    match = _AT.match(message)
    assert match is not None
    what, key = match["what"], _spelled((match["path"] or "").lstrip("."), raw)
    unknown = _UNKNOWN.fullmatch(what)
    if unknown is not None:
        name = unknown[1]
        table = key.rpartition(".")[2].partition("[")[0]
        allowed = sorted(_keys_of(table))
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(allowed)}" if allowed else "remove it"
        return Problem(f"{key}.{name}".lstrip("."), "unknown key", hint)
    missing = _MISSING.fullmatch(what)
    if missing is not None:
        return Problem(f"{key}.{missing[1]}".lstrip("."), "missing", "set it")
    if "got `str`" in what and "object" in what and _is_secret(key):
        return Problem(key, "an inline secret", 'give a reference: { env = "NAME" } or { file = "path" }')
    return Problem(key, what[:1].lower() + what[1:], "see the README's configuration")


def _spelled(path: str, raw: dict[str, object]) -> str:
    """msgspec's path; `[...]` stands for a key of a table that is keyed by name."""
    return path.replace("[...]", ".*") if path else ""


def _is_secret(key: str) -> bool:
    return key.rpartition(".")[2] in ("secret", "key", "token", "pepper")


def _keys_of(table: str) -> tuple[str, ...]:
    kinds: dict[str, type[structs.Table]] = {
        "": structs.Config, "listen": structs.Listen, "health": structs.Health, "bounds": structs.Bounds,
        "client_certificates": structs.ClientCertificates, "certificates": structs.CertificatePair,
        "admin": structs.Admin, "state": structs.State, "audit": structs.Audit, "issuers": structs.Issuer,
        "clients": structs.Client, "certificate": structs.CertificateMatch, "token": structs.TokenMatch,
        "grants": structs.Grant, "limits": structs.Limits, "backends": structs.Backend, "models": structs.Model,
        "deployments": structs.Deployment, "routing": structs.Routing, "breaker": structs.Breaker,
        "forward": structs.Forward, "credentials": structs.Credential, "*": structs.Credential,
    }  # fmt: skip
    kind = kinds.get(table)
    return kind.__struct_fields__ if kind is not None else ()


_PATHS = frozenset(("certificate", "private_key", "ca", "path", "file"))
_PATH_LISTS = frozenset(("roots", "intermediates"))


def _absolute(config: Config, folder: Path) -> Config:
    """The configuration with every path made absolute: relative ones are relative to the file."""
    resolved = _resolve(config, folder)
    assert isinstance(resolved, Config)
    return resolved


def _resolve(value: object, folder: Path) -> object:
    if isinstance(value, msgspec.Struct):
        changes: dict[str, object] = {}
        for name in value.__struct_fields__:
            field = getattr(value, name)
            if name in _PATHS and isinstance(field, str):
                changes[name] = str(folder / field)
            elif name in _PATH_LISTS and isinstance(field, tuple):
                changes[name] = tuple(str(folder / entry) for entry in field)
            elif isinstance(field, msgspec.Struct | tuple | dict):
                changes[name] = _resolve(field, folder)
        return msgspec.structs.replace(value, **changes) if changes else value
    if isinstance(value, tuple):
        return tuple(_resolve(entry, folder) for entry in value)
    if isinstance(value, dict):
        return {key: _resolve(entry, folder) for key, entry in value.items()}
    return value
