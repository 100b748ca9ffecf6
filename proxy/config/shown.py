"""A configuration's values as people may see them: as the file would have them, and never a secret. Pure.

Secrets are references, and shown as such. An address is shown without what may be one: user and password, the query,
and the path where the path itself opens the door.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from proxy.config.problem import line, within
from proxy.config.structs import Bytes, Seconds, SecretRef, Table
from proxy.config.units import duration, size

NOT_SHOWN = "…"
NOT_SET = "not set"
_TEXT = 200
_ENTRIES = 20
_WHOLE = 2_000
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRET_PATHS = frozenset(("webhook", "redis"))
_HASHES = frozenset(("key_hashes",))


def shown(value: object, name: str = "") -> str:
    """One line for the value of a key of this name."""
    return line(_written(value, name), _WHOLE)


def plain(value: object, name: str = "") -> object:
    """The value for JSON: tables as objects, absent keys as null; durations and sizes as the file writes them."""
    if isinstance(value, Table):
        return {field: plain(getattr(value, field), field) for field in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(entry, name) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [plain(entry, name) for entry in value]
    if isinstance(value, Seconds):
        return duration(value)
    if isinstance(value, Bytes):
        return size(value)
    return _text(value, name) if isinstance(value, str) else value


def _written(value: object, name: str) -> str:
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Seconds):
        return f'"{duration(value)}"'
    if isinstance(value, Bytes):
        return f'"{size(value)}"'
    if isinstance(value, str):
        return _quoted(_text(value, name))
    if isinstance(value, tuple):
        return f"[{_listed([_written(entry, name) for entry in value])}]"
    if isinstance(value, dict):
        return _braced([f"{within('', key)} = {_written(entry, name)}" for key, entry in value.items()])
    if isinstance(value, SecretRef):
        return _reference(value)
    if isinstance(value, Table):
        return _braced([f"{field} = {_written(entry, field)}" for field, entry in _given(value)])
    return str(value)


def _given(table: Table) -> Iterator[tuple[str, object]]:
    """What differs from a key's default, or has none."""
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        if field.required or value != default:
            yield field.name, value


def _braced(entries: list[str]) -> str:
    return f"{{ {_listed(entries)} }}" if entries else "{}"


def _listed(entries: list[str]) -> str:
    more = [f"and {len(entries) - _ENTRIES} more"] if len(entries) > _ENTRIES else []
    return ", ".join(entries[:_ENTRIES] + more)


def _reference(ref: SecretRef) -> str:
    """A variable whose name is unusual may be a secret in the wrong place."""
    if ref.env is not None:
        return f"{{ env = {_quoted(ref.env if _VARIABLE.fullmatch(ref.env) else NOT_SHOWN)} }}"
    return f"{{ file = {_quoted(ref.file or '')} }}"


def _text(text: str, name: str) -> str:
    if name == "env":
        return text if _VARIABLE.fullmatch(text) else NOT_SHOWN
    if name in _HASHES:
        return text[:19] + NOT_SHOWN
    if _ADDRESS.match(text):
        return _address(text, hides_path=name in _SECRET_PATHS)
    return text


def _address(text: str, *, hides_path: bool) -> str:
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return NOT_SHOWN
    path = NOT_SHOWN if hides_path and parts.path not in ("", "/") else parts.path
    user = f"{NOT_SHOWN}@" if "@" in parts.netloc else ""
    more = f"?{NOT_SHOWN}" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{host}{'/' if path == NOT_SHOWN else ''}{path}{more}"


def _quoted(text: str) -> str:
    cut = text if len(text) <= _TEXT else text[:_TEXT] + NOT_SHOWN
    return '"' + cut.replace("\\", "\\\\").replace('"', '\\"') + '"'
