"""Every value of a configuration with the path of its key, in the order of the file's tables. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.config.problem import within
from proxy.config.structs import Table


class Entry(NamedTuple):
    """`value` is what `table` has under `name`; `key` is the path from the top."""

    key: str
    table: Table
    name: str
    value: object


def walk(table: Table, at: str = "") -> Iterator[Entry]:
    for name in table.__struct_fields__:
        value = getattr(table, name)
        key = within(at, name)
        yield Entry(key, table, name, value)
        yield from _inside(value, key)


def _inside(value: object, key: str) -> Iterator[Entry]:
    if isinstance(value, Table):
        yield from walk(value, key)
    elif isinstance(value, tuple):
        for index, element in enumerate(value):
            yield from _inside(element, f"{key}[{index}]")
    elif isinstance(value, dict):
        for name, element in value.items():
            yield from _inside(element, within(key, name))
