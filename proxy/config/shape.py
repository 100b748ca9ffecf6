"""Where a file does not fit the types: every place, by the types themselves.

msgspec stops at the first misfit and says so in its own words; when it has, this walks the file beside the types and
names them all in the words of the file. A value is quoted only where it is one of a few names: anything else could be
a secret in the wrong place. Pure.
"""

import difflib
from collections.abc import Iterator
from datetime import date, datetime, time
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from proxy.config.problem import Problem, one_of, quoted, within
from proxy.config.structs import Bytes, Seconds, SecretRef, Table
from proxy.config.units import parse_duration, parse_size

REFERENCE = '{ env = "NAME" } or { file = "path" }'

_FOUND: dict[type, str] = {
    bool: "true or false", int: "a number", float: "a number with a fraction", str: "a string", list: "a list",
    dict: "a table", datetime: "a date and time", date: "a date", time: "a time",
}  # fmt: skip


def misfits(value: object, kind: Any, key: str = "") -> Iterator[Problem]:
    """Everything in `value`, as TOML gave it, that is no `kind`."""
    options = [option for option in _options(kind) if option is not NoneType]
    fitting = next((option for option in options if type(value) in _forms(option)), None)
    if fitting is not None:
        yield from _inside(value, fitting, key)
    elif SecretRef in options and isinstance(value, str):
        yield Problem(key, "an inline secret", f"secrets come by reference, never inline: give {REFERENCE}")
    else:
        yield Problem(key, f"found {_FOUND[type(value)]}", "give " + " or ".join(_wanted(option) for option in options))


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Table)


def _forms(kind: Any) -> tuple[type, ...]:
    """What a `kind` is in TOML."""
    if _is_table(kind) or get_origin(kind) is dict:
        return (dict,)
    if get_origin(kind) is tuple:
        return (list,)
    if get_origin(kind) is Literal or kind is Seconds:
        return (str,)
    if kind is Bytes:
        return (str, int)
    return (kind,)


def _wanted(kind: Any) -> str:
    if kind is SecretRef:
        return REFERENCE
    if kind is Seconds:
        return 'a duration such as "30s"'
    if kind is Bytes:
        return 'a size such as "32MiB"'
    return _FOUND[_forms(kind)[0]]


def _inside(value: Any, kind: Any, key: str) -> Iterator[Problem]:
    """The misfits of a value whose outermost form is right."""
    if _is_table(kind):
        yield from _of_table(value, kind, key)
    elif get_origin(kind) is dict:
        for name, element in value.items():
            yield from misfits(element, get_args(kind)[1], within(key, name))
    elif get_origin(kind) is tuple:
        for index, element in enumerate(value):
            yield from misfits(element, get_args(kind)[0], f"{key}[{index}]")
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            yield Problem(key, quoted(value), one_of(quoted(name) for name in get_args(kind)))
    elif kind in (Seconds, Bytes):
        try:
            parse_duration(value) if kind is Seconds else parse_size(value)
        except ValueError as error:
            yield Problem(key, quoted(str(value)), str(error))


def _of_table(value: dict[str, object], kind: type[Table], key: str) -> Iterator[Problem]:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, element in value.items():
        if name in fields:
            yield from misfits(element, fields[name].type, within(key, name))
        else:
            yield Problem(within(key, name), "unknown key", _nearest(name, list(fields)))
    for name, field in fields.items():
        if field.required and name not in value:
            wanted = " or ".join(_wanted(option) for option in _options(field.type) if option is not NoneType)
            yield Problem(within(key, name), "missing", f"give {wanted}")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1)
    return f"did you mean {near[0]}?" if near else one_of(known)
