"""The bench's own files of TOML, scenarios and plans: found by name or path, and read as the struct that they are."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.failure import BenchError
from proxy.config.problem import ConfigError, Problem
from proxy.config.shape import misfits
from proxy.config.structs import Seconds
from proxy.config.units import parse_duration

Struct = TypeVar("Struct", bound=msgspec.Struct)


def found(name: str, known: Mapping[str, Path]) -> Path:
    """The file of one that is known, or a path that ends in `.toml`. Raises `BenchError` for a name of nothing."""
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise BenchError(f"'{name}' is unknown; there are: {', '.join(known)}; or name a file that ends in .toml")
    return path


def read(path: Path, kind: type[Struct], problems: Callable[[Struct], Iterable[Problem]]) -> Struct:
    """What is in a file. `problems` says what the types cannot. Raises `BenchError`: file, key, what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: is not valid TOML: {error}; mend the syntax there") from None
    try:
        converted = msgspec.convert(raw, kind, dec_hook=_convert, strict=True)
    except msgspec.ValidationError as error:
        misfit = list(misfits(raw, kind)) or [Problem("", str(error), f"see `{kind.__module__}`")]
        raise BenchError(str(ConfigError(path, misfit))) from None
    wrong = list(problems(converted))
    if wrong:
        raise BenchError(str(ConfigError(path, wrong)))
    return converted


def _convert(kind: type, value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(parse_duration(value))
    raise ValueError("not of the right type")
