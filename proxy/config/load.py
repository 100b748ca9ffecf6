"""From a file to a configuration, or to every reason why it is none.

Three steps, each of which finds all there is to find before the next is tried: the syntax, the types (`shape`), and
what types cannot say (`implemented`, `validate`).
"""

import tomllib
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec

from proxy.config.files import Unreadable, read
from proxy.config.paths import absolute
from proxy.config.problem import ConfigError, Problem
from proxy.config.shape import misfits
from proxy.config.structs import Bytes, Config, Seconds
from proxy.config.units import parse_duration, parse_size

__all__ = ["ConfigError", "Problem", "content", "judged", "load", "parse"]

_FILE = 8 << 20
_MISFITS = 101
"""More than are told: each may cost a search for what was meant."""
_DOTS = 256


def load(path: Path) -> Config:
    """The configuration in `path`, valid, with its paths absolute. Raises `ConfigError`."""
    return judged(content(path), path)


def content(path: Path) -> bytes:
    """The file as it is. Raises `ConfigError` for one that cannot be read."""
    try:
        return read(path, _FILE)
    except Unreadable as error:
        raise ConfigError.of(path, "", str(error), "name a readable file") from None


def judged(text: bytes, path: Path) -> Config:
    """The configuration that `path` would have with this content, valid. Raises `ConfigError`."""
    from proxy.config.implemented import unimplemented
    from proxy.config.validate import problems

    config = _typed(text, path)
    found = [*unimplemented(config), *problems(config, datetime.now(UTC))]
    if found:
        raise ConfigError(path, found)
    return config


def parse(path: Path) -> Config:
    """The file as types, before anything the types cannot say is judged. Raises `ConfigError`."""
    return _typed(content(path), path)


def _typed(text: bytes, path: Path) -> Config:
    raw = _toml(text, path)
    try:
        config = msgspec.convert(raw, Config, dec_hook=_convert)
    except msgspec.ValidationError as error:
        found = list(islice(misfits(raw, Config), _MISFITS))
        raise ConfigError(path, found or [Problem("", str(error), "see the README's configuration")]) from None
    return absolute(config, path.resolve().parent)


def _toml(text: bytes, path: Path) -> dict[str, object]:
    try:
        if _is_deep(text):  # tomllib takes the square of a dotted key's length
            raise RecursionError
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError.of(path, "", f"is not UTF-8 (at byte {error.start})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.of(path, "", f"is not valid TOML: {error}", "mend the syntax there") from None
    except RecursionError:
        raise ConfigError.of(path, "", "is nested too deeply", "no key needs more than four levels") from None
    except ValueError:  # a number with thousands of digits, a date such as 30 February
        raise ConfigError.of(path, "", "has a number or date that is out of range", "mend the value") from None


def _is_deep(text: bytes) -> bool:
    """Whether there may be a key of very many parts: it would stand in one line, and before a `=` if there is one."""
    return any(part.count(b".") > _DOTS for line in text.splitlines() for part in line.split(b"="))


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    if kind is Bytes and isinstance(value, str | int):
        return Bytes(parse_size(value))
    raise ValueError("not of the right type")
