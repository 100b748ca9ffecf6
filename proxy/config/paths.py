"""Paths in the file are relative to the file; in memory all are absolute. Pure."""

from pathlib import Path
from typing import TypeVar

import msgspec

from proxy.config.structs import Table

_PATHS = frozenset(
    ("certificate", "private_key", "ca", "path", "file", "token_file", "client_certificate", "client_key")
)
_LISTS_OF_PATHS = frozenset(("roots", "intermediates", "crls"))

T = TypeVar("T", bound=Table)


def absolute(table: T, folder: Path) -> T:
    """The table with every path under `folder` that is not absolute; URLs stay as they are."""
    changes: dict[str, object] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if name in _PATHS and isinstance(value, str):
            changes[name] = _joined(folder, value)
        elif name in _LISTS_OF_PATHS:
            changes[name] = tuple(_joined(folder, entry) for entry in value)
        else:
            changes[name] = _inside(value, folder)
    return msgspec.structs.replace(table, **changes)


def _inside(value: object, folder: Path) -> object:
    if isinstance(value, Table):
        return absolute(value, folder)
    if isinstance(value, tuple):
        return tuple(_inside(entry, folder) for entry in value)
    if isinstance(value, dict):
        return {name: _inside(entry, folder) for name, entry in value.items()}
    return value


def _joined(folder: Path, path: str) -> str:
    return path if path.startswith(("http://", "https://")) else str(folder / path)
