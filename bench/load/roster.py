"""A file of those who ask, as TOML or JSON: `identities`, a list with the fields of `bench.load.job.Identity`.

[[identities]]
client = "turbine-7"             # its name, by which mixes and replayed logs know it
certificate = "turbine-7.pem"    # with its chain; paths are relative to the file
private_key = "turbine-7.key"
weight = 3                       # how often it asks, beside the others

[[identities]]
client = "dashboard"
api_key = "…"                    # or token = "…"
"""

import tomllib
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.load.job import Identity

_PATHS = ("certificate", "private_key")


class _Roster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identities: tuple[dict[str, object], ...]


def identities(path: Path) -> tuple[Identity, ...]:
    """Those in the file, at least one. Raises `BenchError`, which names file, key and remedy."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
        entries = msgspec.convert(raw, _Roster).identities
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror}); name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: is not valid TOML: {error}; mend the syntax there") from None
    except msgspec.ValidationError as error:
        raise BenchError(f"{path}: {error}; see `bench.load.roster` for what is allowed") from None
    except msgspec.DecodeError as error:
        raise BenchError(f"{path}: is not valid JSON: {error}; mend the syntax there") from None
    if not entries:
        raise BenchError(f"{path}: identities: none; give one at least")
    return tuple(_identity(path, f"identities[{number}]", entry) for number, entry in enumerate(entries))


def _identity(path: Path, key: str, entry: dict[str, object]) -> Identity:
    unknown = sorted(set(entry) - set(Identity.__struct_fields__))
    if unknown:
        allowed = ", ".join(Identity.__struct_fields__)
        raise BenchError(f"{path}: {key}.{unknown[0]}: unknown key; allowed: {allowed}")
    try:
        one = msgspec.convert(entry, Identity)
    except msgspec.ValidationError as error:
        raise BenchError(f"{path}: {key}: {error}; see `bench.load.roster` for what is allowed") from None
    given = {name: getattr(one, name) for name in _PATHS}
    return msgspec.structs.replace(
        one, **{name: str(path.resolve().parent / value) for name, value in given.items() if value is not None}
    )
