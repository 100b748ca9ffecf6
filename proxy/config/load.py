"""From a file to a configuration, or to every reason why it is none.

Three steps, each of which finds all there is to find before the next is tried: the syntax, the types (`shape`), and
what types cannot say (`implemented`, `validate`).
"""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from proxy.config.files import Unreadable, read
from proxy.config.paths import absolute
from proxy.config.problem import ConfigError, Problem
from proxy.config.shape import misfits
from proxy.config.structs import Bytes, Config, Seconds
from proxy.config.units import parse_duration, parse_size

__all__ = ["ConfigError", "Problem", "load", "parse"]

_FILE = 8 << 20


def load(path: Path) -> Config:
    """The configuration in `path`, valid, with its paths absolute. Raises `ConfigError`."""
    from proxy.config.implemented import unimplemented
    from proxy.config.validate import problems

    config = parse(path)
    found = [*unimplemented(config), *problems(config, datetime.now(UTC))]
    if found:
        raise ConfigError(path, found)
    return config


def parse(path: Path) -> Config:
    """The file as types, before anything the types cannot say is judged. Raises `ConfigError`."""
    raw = _toml(path)
    try:
        config = msgspec.convert(raw, Config, dec_hook=_convert)
    except msgspec.ValidationError as error:
        found = list(misfits(raw, Config))
        raise ConfigError(path, found or [Problem("", str(error), "see the README's configuration")]) from None
    return absolute(config, path.resolve().parent)


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read(path, _FILE).decode("utf-8"))
    except Unreadable as error:
        raise ConfigError.of(path, "", str(error), "name a readable file") from None
    except UnicodeDecodeError as error:
        raise ConfigError.of(path, "", f"is not UTF-8 (at byte {error.start})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.of(path, "", f"is not valid TOML: {error}", "mend the syntax there") from None
    except RecursionError:
        raise ConfigError.of(path, "", "is nested too deeply", "no key needs more than four levels") from None
    except ValueError:  # a number with thousands of digits, a date such as 30 February
        raise ConfigError.of(path, "", "has a number or date that is out of range", "mend the value") from None


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    if kind is Bytes and isinstance(value, str | int):
        return Bytes(parse_size(value))
    raise ValueError("not of the right type")
